/* Sets of domain names against a list of them; and files. */
#include "file.h"
#include "fuzz.h"

#include "lib/names/domain.h"

enum { NAMES_MOST = 200 };

struct names {
	char names[NAMES_MOST][IPQ_DOMAIN_MOST];
	size_t lens[NAMES_MOST], count;
};

static size_t find(const struct names *list, const char *name, size_t len)
{
	size_t i = 0;

	while (i < list->count && (list->lens[i] != len || memcmp(list->names[i], name, len) != 0))
		i++;
	return i;
}

static int add(struct names *list, const char *name, size_t len)
{
	if (find(list, name, len) < list->count)
		return 0;
	memcpy(list->names[list->count], name, len);
	list->lens[list->count++] = len;
	return 1;
}

static int drop(struct names *list, const char *name, size_t len)
{
	size_t i = find(list, name, len);

	if (i == list->count)
		return 0;
	list->count--;
	memcpy(list->names[i], list->names[list->count], IPQ_DOMAIN_MOST);
	list->lens[i] = list->lens[list->count];
	return 1;
}

/* The longest name of the list that this one, which is one of labels in small letters, is or is below. */
static size_t look(const struct names *list, const char *name, size_t len)
{
	size_t best = 0;

	for (size_t i = 0; i < list->count; i++) {
		size_t own_len = list->lens[i];

		if (own_len <= len && own_len > best &&
		    memcmp(name + len - own_len, list->names[i], own_len) == 0 &&
		    (own_len == len || name[len - own_len - 1] == '.'))
			best = own_len;
	}
	return best;
}

static void act(struct ipq_domainset *set, struct names *list, struct input *in)
{
	uint8_t kind = take8(in) % 3;
	size_t len = take8(in);
	const char *text = (const char *)take(in, &len);
	char name[IPQ_DOMAIN_MOST];
	char *copy = own(text, len);
	int size = ipq_domain_read(name, copy, len);

	if (kind == 0 && list->count < NAMES_MOST)
		CHECK(ipq_domainset_add(set, copy, len) ==
		      (size < 0 ? size : add(list, name, (size_t)size)));
	else if (kind == 1)
		CHECK(ipq_domainset_remove(set, copy, len) ==
		      (size < 0 ? size : drop(list, name, (size_t)size)));
	else
		CHECK(ipq_domainset_find(set, copy, len) <= len);
	if (size > 0)
		CHECK(ipq_domainset_find(set, name, (size_t)size) ==
		      look(list, name, (size_t)size));
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct names list;
	struct input in = {bytes, len};
	struct ipq_domainset *set;
	uint32_t line;
	int ret;

	CHECK(ipq_domainset_new(&set) == 0);
	list.count = 0;
	if (take8(&in) & 1) {
		while (in.len > 0)
			act(set, &list, &in);
		CHECK(ipq_domainset_count(set) == list.count);
	} else {
		ret = ipq_domainset_load(set, file_of(in.bytes, in.len), &line);
		CHECK(ret == 0 || line > 0);
		CHECK(ret < 0 || ipq_domainset_refresh(set, &line) == 0);
	}
	ipq_domainset_free(set);
	return 0;
}
