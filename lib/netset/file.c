/* Sets of prefixes from files. */
#include "netset.h"

#include <errno.h>
#include <stdio.h>

enum { LINE_MAX_LEN = 128 };

static bool is_blank(int c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Reads a line without its comment and the blanks around it. Gives what ended it: '\n', EOF, or 0
 * where it is too long for a prefix. */
static int line_read(FILE *file, char *text, size_t *len)
{
	bool comment = false;
	int c;

	*len = 0;
	while ((c = getc_unlocked(file)) != EOF && c != '\n') {
		if (c == '#' || c == ';')
			comment = true;
		if (comment || (*len == 0 && is_blank(c)))
			continue;
		if (*len == LINE_MAX_LEN && is_blank(c))
			continue;
		if (*len == LINE_MAX_LEN)
			return 0;
		text[(*len)++] = (char)c;
	}
	while (*len > 0 && is_blank(text[*len - 1]))
		(*len)--;
	return c;
}

static int file_load(struct ipq_netset *set, FILE *file, uint32_t *line)
{
	char text[LINE_MAX_LEN];
	size_t len;
	int end, ret;

	do {
		errno = 0;
		end = line_read(file, text, &len);
		if (ferror(file)) {
			*line = 0;
			return errno ? -errno : -EIO;
		}
		++*line;
		ret = end == 0 ? -EINVAL : 0;
		if (ret == 0 && len > 0)
			ret = ipq_netset_add_text(set, text, len);
	} while (ret == 0 && end != EOF);
	return ret;
}

int ipq_netset_load(struct ipq_netset *set, const char *path, uint32_t *line)
{
	FILE *file = fopen(path, "re");
	int ret;

	*line = 0;
	if (!file)
		return -errno;
	ret = file_load(set, file, line);
	fclose(file);
	return ret;
}
