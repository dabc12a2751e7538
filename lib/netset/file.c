/* Sets of prefixes from files. */
#include "netset.h"
#include "lib/lines.h"

enum { LINE_MAX_LEN = 128 };

static bool is_comment(int c, size_t len, int before)
{
	(void)len;
	(void)before;
	return c == '#' || c == ';';
}

static int take(void *set, char *text, size_t len)
{
	return ipq_netset_add_text(set, text, len);
}

int ipq_netset_load(struct ipq_netset *set, const char *path, uint32_t *line)
{
	struct ipq_lines lines = {LINE_MAX_LEN, is_comment, take, set};
	char text[LINE_MAX_LEN];
	FILE *file = fopen(path, "re");
	int ret;

	*line = 0;
	if (!file)
		return -errno;
	ret = ipq_lines_read(&lines, file, text, line);
	fclose(file);
	return ret;
}
