/* Prefixes to segments. */
#include "segment.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static int address_compare(const struct address *a, const struct address *b)
{
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return a->low < b->low ? -1 : a->low > b->low;
}

/* The bits behind the first len of 64. */
static uint64_t tail(unsigned int len)
{
	return len >= 64 ? 0 : UINT64_MAX >> len;
}

struct address ipq_address_mask(struct address address, uint8_t len)
{
	address.high &= ~tail(len);
	address.low &= len <= 64 ? 0 : ~tail(len - 64U);
	return address;
}

struct address ipq_address_load(int version, const uint8_t *bytes)
{
	struct address address = {0, 0};
	uint32_t ipv4;

	if (version == 4) {
		memcpy(&ipv4, bytes, sizeof(ipv4));
		address.high = (uint64_t)be32toh(ipv4) << 32;
		return address;
	}
	memcpy(&address.high, bytes, 8);
	memcpy(&address.low, bytes + 8, 8);
	address.high = be64toh(address.high);
	address.low = be64toh(address.low);
	return address;
}

static struct address prefix_last(const struct segment *prefix)
{
	return (struct address){prefix->first.high | tail(prefix->len),
				prefix->first.low |
					(prefix->len <= 64 ? UINT64_MAX : tail(prefix->len - 64))};
}

/* Wide prefixes before those within them. */
static int prefix_compare(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;
	int order = address_compare(&x->first, &y->first);

	return order ? order : x->len - y->len;
}

/* From first on it is len; what began at the same place is of no length, and forgotten. */
static void segment_add(struct segments *segments, struct address first, uint8_t len)
{
	struct segment *all = segments->all;

	if (segments->count > 0 && address_compare(&all[segments->count - 1].first, &first) == 0)
		segments->count--;
	if (segments->count > 0 && all[segments->count - 1].len == len)
		return;
	all[segments->count++] = (struct segment){first, len};
}

/* The prefixes around a place, each within the one before. */
struct nest {
	struct segment prefixes[129];
	unsigned int depth;
};

/* Leaves the innermost prefix: behind it the one around it goes on. */
static void nest_leave(struct nest *nest, struct segments *segments)
{
	struct address next = prefix_last(&nest->prefixes[--nest->depth]);

	if (++next.low == 0 && ++next.high == 0)
		return; /* it was the last address of all */
	segment_add(segments, next,
		    nest->depth > 0 ? nest->prefixes[nest->depth - 1].len : IPQ_NO_PREFIX);
}

void ipq_segments_make(struct segments *segments, struct segment *prefixes, size_t count)
{
	struct nest nest = {.depth = 0};
	struct address last;

	segments->count = 0;
	qsort(prefixes, count, sizeof(*prefixes), prefix_compare);
	segment_add(segments, (struct address){0, 0}, IPQ_NO_PREFIX);
	for (size_t i = 0; i < count; i++) {
		struct segment *prefix = &prefixes[i];

		if (i > 0 && prefix_compare(prefix, prefix - 1) == 0)
			continue;
		while (nest.depth > 0) {
			last = prefix_last(&nest.prefixes[nest.depth - 1]);
			if (address_compare(&last, &prefix->first) >= 0)
				break;
			nest_leave(&nest, segments);
		}
		nest.prefixes[nest.depth++] = *prefix;
		segment_add(segments, prefix->first, prefix->len);
	}
	while (nest.depth > 0)
		nest_leave(&nest, segments);
}
