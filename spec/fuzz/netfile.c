/* Files of prefixes, read as ipq.h says they are. */
#include "file.h"
#include "prefixes.h"

#include <arpa/inet.h>
#include <errno.h>

enum { LONGEST_TEXT = 64 };

/* Whether the text is an address, and perhaps "/" and a number without leading zeros. */
static bool prefix_read(struct ipq_prefix *prefix, const uint8_t *text, size_t len)
{
	char copy[LONGEST_TEXT] = "", *slash;
	unsigned long bits = 0;

	if (len >= sizeof(copy) || memchr(text, 0, len))
		return false;
	memcpy(copy, text, len);
	slash = strchr(copy, '/');
	if (slash)
		*slash++ = 0;
	*prefix = (struct ipq_prefix){.version = strchr(copy, ':') ? 6 : 4};
	if (inet_pton(prefix->version == 6 ? AF_INET6 : AF_INET, copy, prefix->address) != 1)
		return false;
	prefix->len = prefix->version == 6 ? 128 : 32;
	if (!slash)
		return true;
	if (!*slash || strspn(slash, "0123456789") != strlen(slash) || (*slash == '0' && slash[1]))
		return false;
	bits = strtoul(slash, NULL, 10);
	if (bits > prefix->len)
		return false;
	prefix->len = (uint8_t)bits;
	return true;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool line_read(struct list *list, const uint8_t *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (line[i] == '#' || line[i] == ';')
			len = i;
	for (; len > 0 && is_blank(line[0]); line++)
		len--;
	while (len > 0 && is_blank(line[len - 1]))
		len--;
	if (len == 0)
		return true;
	if (!prefix_read(&list->prefixes[list->count], line, len))
		return false;
	list->count++;
	return true;
}

/* Gives the number of the first line that is wrong, or 0. */
static uint32_t list_read(struct list *list, const uint8_t *p, size_t len)
{
	uint32_t number = 0;
	const uint8_t *end;

	list->count = 0;
	do {
		size_t line_len;

		end = memchr(p, '\n', len);
		line_len = end ? (size_t)(end - p) : len;
		number++;
		if (!line_read(list, p, line_len))
			return number;
		p += line_len + (end != NULL);
		len -= line_len + (end != NULL);
	} while (end);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct list list;
	struct ipq_netset *set;
	size_t lines = 1;
	uint32_t line, wrong;
	int ret;

	for (size_t i = 0; i < len; i++)
		lines += bytes[i] == '\n';
	if (lines > PREFIXES_MAX)
		return 0;
	wrong = list_read(&list, bytes, len);
	CHECK(ipq_netset_new(&set) == 0);
	ret = ipq_netset_load(set, file_of(bytes, len), &line);
	CHECK(wrong ? ret == -EINVAL || ret == -ERANGE : ret == 0);
	CHECK(!wrong || line == wrong);
	CHECK(ipq_netset_count(set) == list.count);
	CHECK(ipq_netset_build(set) == 0);
	look_around(set, &list);
	ipq_netset_free(set);
	return 0;
}
