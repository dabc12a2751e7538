/* Sets of domain names from files. */
#include "domain.h"
#include "lib/lines.h"
#include "lib/netset/netset.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Lines of hosts(5) have several names. */
enum { LINE_MAX_LEN = 4096 };

/* In "a.example##.banner" no comment begins: that is a rule of adblock's, and no name. */
static bool is_comment(int c, size_t len, int before)
{
	return (c == '#' && ipq_is_blank(before)) || (len == 0 && (c == '!' || c == '['));
}

/* Names that hosts(5) gives the machine itself. */
static bool is_own(const char *name, size_t len)
{
	static const char *const own[] = {
		"localhost",	 "localhost.localdomain", "local",	  "broadcasthost",
		"ip6-localhost", "ip6-loopback",	  "ip6-localnet", "ip6-mcastprefix",
		"ip6-allnodes",	 "ip6-allrouters",	  "ip6-allhosts",
	};
	uint8_t address[16];

	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		if (strlen(own[i]) == len && memcmp(own[i], name, len) == 0)
			return true;
	return ipq_address_parse(address, name, len) > 0;
}

/* The next word of a line: moves *text behind it, and gives its length. */
static size_t word(const char **text, const char *end)
{
	const char *begin;

	while (*text < end && ipq_is_blank(**text))
		++*text;
	for (begin = *text; *text < end && !ipq_is_blank(**text);)
		++*text;
	return (size_t)(*text - begin);
}

static int take(void *context, char *text, size_t len)
{
	struct ipq_domainset *set = context;
	const char *at = text, *end = text + len;
	size_t first = word(&at, end);
	uint8_t address[16];
	int ret = 0;

	if (first == len)
		return ipq_domainset_add(set, text, len);
	if (ipq_address_parse(address, text, first) < 0)
		return -EINVAL;
	while (ret >= 0 && at < end) {
		size_t name = word(&at, end);

		if (!is_own(at - name, name))
			ret = ipq_domainset_add(set, at - name, name);
	}
	return ret;
}

/* What tells whether a file is another one than before. */
static int stamp_of(FILE *file, uint64_t stamp[7])
{
	struct stat status;

	if (fstat(fileno(file), &status) < 0)
		return -errno;
	stamp[0] = status.st_dev;
	stamp[1] = status.st_ino;
	stamp[2] = (uint64_t)status.st_size;
	stamp[3] = (uint64_t)status.st_mtim.tv_sec;
	stamp[4] = (uint64_t)status.st_mtim.tv_nsec;
	stamp[5] = (uint64_t)status.st_ctim.tv_sec;
	stamp[6] = (uint64_t)status.st_ctim.tv_nsec;
	return 0;
}

static int lines_load(struct ipq_domainset *set, FILE *file, uint32_t *line)
{
	struct ipq_lines lines = {LINE_MAX_LEN, is_comment, take, set};
	char text[LINE_MAX_LEN];

	return ipq_lines_read(&lines, file, text, line);
}

int ipq_domainset_load(struct ipq_domainset *set, const char *path, uint32_t *line)
{
	struct ipq_domainset_file *own = ipq_domainset_file(set);
	FILE *file = fopen(path, "re");
	int ret;

	*line = 0;
	if (!file)
		return -errno;
	/* Before it is read: what changes meanwhile makes it another file. */
	ret = stamp_of(file, own->stamp);
	if (ret == 0)
		ret = lines_load(set, file, line);
	fclose(file);
	if (ret < 0)
		return ret;
	free(own->path);
	own->path = strdup(path);
	return own->path ? 0 : -ENOMEM;
}

int ipq_domainset_refresh(struct ipq_domainset *set, uint32_t *line)
{
	struct ipq_domainset_file *own = ipq_domainset_file(set);
	struct ipq_domainset *other = NULL;
	uint64_t stamp[7] = {0};
	FILE *file;
	int ret;

	*line = 0;
	if (!own->path)
		return 0;
	file = fopen(own->path, "re");
	ret = file ? stamp_of(file, stamp) : -errno;
	/* What is wrong with a file, or that there is none, is told once. */
	if (memcmp(stamp, own->stamp, sizeof(stamp)) == 0) {
		ret = 0;
		goto cleanup;
	}
	memcpy(own->stamp, stamp, sizeof(stamp));
	if (ret == 0)
		ret = ipq_domainset_new(&other);
	if (ret == 0)
		ret = lines_load(other, file, line);
	if (ret == 0) {
		ipq_domainset_take(set, other);
		other = NULL;
		ret = 1;
	}
cleanup:
	ipq_domainset_free(other);
	if (file)
		fclose(file);
	return ret;
}
