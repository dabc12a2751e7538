/* Sets of prefixes that nest, touch and repeat. */
#include "prefixes.h"

/* A new prefix: anywhere, or at an end of one that is there, or beside it. */
static struct ipq_prefix choose(struct input *in, const struct list *list)
{
	uint8_t kind = take8(in);
	struct ipq_prefix prefix = {.version = kind & 1 ? 6 : 4};
	size_t size = prefix.version == 4 ? 4 : 16;

	if (kind & 2 && list->count) {
		const struct ipq_prefix *other = &list->prefixes[take8(in) % list->count];

		prefix.version = other->version;
		prefix_end(other, kind & 4, prefix.address);
		if (kind & 8)
			step(prefix.version, prefix.address, kind & 4);
	} else {
		const uint8_t *p = take(in, &size);

		memcpy(prefix.address, p, size);
	}
	prefix.len = (uint8_t)(take8(in) % (prefix.version == 4 ? 33 : 129));
	return prefix;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct list list;
	struct input in = {bytes, len};
	struct ipq_netset *set;

	list.count = 0;
	CHECK(ipq_netset_new(&set) == 0);
	while (in.len > 0 && list.count < PREFIXES_MAX) {
		struct ipq_prefix prefix = choose(&in, &list);

		CHECK(ipq_netset_add(set, &prefix) == 0);
		list.prefixes[list.count++] = prefix;
	}
	CHECK(ipq_netset_build(set) == 0 && ipq_netset_count(set) == list.count);
	look_around(set, &list);
	ipq_netset_free(set);
	return 0;
}
