/* A set of prefixes that is right because it is simple: a list, searched from one end to the other.
 */
#ifndef IPQ_FUZZ_PREFIXES_H
#define IPQ_FUZZ_PREFIXES_H

#include "fuzz.h"

enum { PREFIXES_MAX = 512 };

struct list {
	struct ipq_prefix prefixes[PREFIXES_MAX];
	uint32_t count;
};

static inline bool prefix_has(const struct ipq_prefix *prefix, const uint8_t *address)
{
	for (int bit = 0; bit < prefix->len; bit++)
		if ((prefix->address[bit / 8] ^ address[bit / 8]) >> (7 - bit % 8) & 1)
			return false;
	return true;
}

/* Asks both. */
static inline void look_up(const struct ipq_netset *set, const struct list *list, uint8_t version,
			   const uint8_t *address)
{
	int longest = -1;
	uint8_t len = 0;
	bool found = ipq_netset_has(set, version, address, &len);

	for (uint32_t i = 0; i < list->count; i++)
		if (list->prefixes[i].version == version && list->prefixes[i].len > longest &&
		    prefix_has(&list->prefixes[i], address))
			longest = list->prefixes[i].len;
	CHECK(found == (longest >= 0) && (!found || len == longest));
}

/* The first or the last address of a prefix. */
static inline void prefix_end(const struct ipq_prefix *prefix, bool is_last, uint8_t *address)
{
	memcpy(address, prefix->address, 16);
	for (int bit = prefix->len; bit < (prefix->version == 4 ? 32 : 128); bit++)
		if (is_last)
			address[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		else
			address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
}

/* The address beside another one. */
static inline void step(int version, uint8_t *address, bool up)
{
	for (int i = version == 4 ? 4 : 16; i-- > 0;) {
		address[i] = (uint8_t)(address[i] + (up ? 1 : -1));
		if (address[i] != (up ? 0 : 0xff))
			return;
	}
}

/* Looks up the ends of all prefixes, and what is beside them. */
static inline void look_around(const struct ipq_netset *set, const struct list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		const struct ipq_prefix *prefix = &list->prefixes[i];
		uint8_t address[16];

		for (int is_last = 0; is_last < 2; is_last++) {
			prefix_end(prefix, is_last, address);
			look_up(set, list, prefix->version, address);
			step(prefix->version, address, is_last);
			look_up(set, list, prefix->version, address);
		}
	}
}

#endif
