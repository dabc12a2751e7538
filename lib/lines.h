/* Files of one entry a line, as sets are read from. */
#ifndef IPQ_LINES_H
#define IPQ_LINES_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What such a file looks like, and who gets its lines. */
struct ipq_lines {
	size_t most; /* bytes of the longest line, without its comment and the blanks around it */
	/* Whether a comment begins with c, which stands behind that many bytes of the line's text, the last
	 * of them before (a blank, where there are none). */
	bool (*is_comment)(int c, size_t len, int before);
	/* Takes a line's text, which is not empty. Less than 0 ends the reading. */
	int (*take)(void *context, char *text, size_t len);
	void *context;
};

static inline bool ipq_is_blank(int c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Reads a line without its comment and the blanks around it. Gives what ended it: '\n', EOF, or 0
 * where it is too long. */
static inline int ipq_line_read(const struct ipq_lines *lines, FILE *file, char *text, size_t *len)
{
	bool is_comment = false;
	int c, before = ' ';

	*len = 0;
	while ((c = getc_unlocked(file)) != EOF && c != '\n') {
		is_comment = is_comment || lines->is_comment(c, *len, before);
		before = c;
		if (is_comment || (*len == 0 && ipq_is_blank(c)))
			continue;
		if (*len == lines->most && ipq_is_blank(c))
			continue;
		if (*len == lines->most)
			return 0;
		text[(*len)++] = (char)c;
	}
	while (*len > 0 && ipq_is_blank(text[*len - 1]))
		(*len)--;
	return c;
}

/* Gives each line of the file to take(). text has room for the longest one. Stops at the first error,
 * which it gives, else 0; *number is then the line's number, or 0 where the file could not be read.
 * -EINVAL is a line that is too long. */
static inline int ipq_lines_read(const struct ipq_lines *lines, FILE *file, char *text,
				 uint32_t *number)
{
	size_t len;
	int end, ret;

	*number = 0;
	do {
		errno = 0;
		end = ipq_line_read(lines, file, text, &len);
		if (ferror(file)) {
			*number = 0;
			return errno ? -errno : -EIO;
		}
		++*number;
		ret = end == 0 ? -EINVAL : 0;
		if (ret == 0 && len > 0)
			ret = lines->take(lines->context, text, len);
	} while (ret >= 0 && end != EOF);
	return ret < 0 ? ret : 0;
}

#endif
