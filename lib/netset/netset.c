/*
 * Sets of prefixes.
 *
 * The time of a lookup depends on the number of segments alone (segment.h: two a prefix and one, at
 * most), not on how prefixes nest, how long they are, or which of them are crowded together, as it
 * does in tries and in tables indexed by leading bits.
 */
#include "prefix.h"
#include "segment_tree.h"
#include "lib/packet/packet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIXES_MAX = 1 << 26 };

struct list {
	struct segment *prefixes;
	size_t count, capacity;
};

/* The index is 0 for IPv4, 1 for IPv6. */
struct ipq_netset {
	struct list lists[2]; /* until it is built */
	struct segment_tree trees[2];
	uint32_t count;
	bool is_built;
};

int ipq_netset_new(struct ipq_netset **set)
{
	*set = calloc(1, sizeof(**set));
	return *set ? 0 : -ENOMEM;
}

static void list_free(struct list *list)
{
	free(list->prefixes);
	*list = (struct list){0};
}

void ipq_netset_free(struct ipq_netset *set)
{
	if (!set)
		return;
	for (int i = 0; i < 2; i++) {
		list_free(&set->lists[i]);
		ipq_segment_tree_free(&set->trees[i]);
	}
	free(set);
}

int ipq_netset_add(struct ipq_netset *set, const struct ipq_prefix *prefix)
{
	struct list *list = &set->lists[prefix->version == 6];
	struct segment added;

	if (set->is_built)
		return -EBUSY;
	if (prefix->version != 4 && prefix->version != 6)
		return -EINVAL;
	if (prefix->len > (prefix->version == 4 ? 32 : 128))
		return -ERANGE;
	if (set->count == PREFIXES_MAX)
		return -E2BIG;
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 16;
		struct segment *prefixes = realloc(list->prefixes, capacity * sizeof(*prefixes));

		if (!prefixes)
			return -ENOMEM;
		list->prefixes = prefixes;
		list->capacity = capacity;
	}
	added.first =
		ipq_address_mask(ipq_address_load(prefix->version, prefix->address), prefix->len);
	added.len = prefix->len;
	list->prefixes[list->count++] = added;
	set->count++;
	return 0;
}

int ipq_netset_add_text(struct ipq_netset *set, const char *text, size_t len)
{
	struct ipq_prefix prefix;
	int ret = ipq_prefix_parse(&prefix, text, len);

	return ret < 0 ? ret : ipq_netset_add(set, &prefix);
}

static int list_to_tree(struct list *list, struct segment_tree *tree, int version)
{
	struct segments segments = {.count = 0};
	int ret;

	if (list->count == 0)
		return 0;
	segments.all = malloc((2 * list->count + 1) * sizeof(*segments.all));
	if (!segments.all)
		return -ENOMEM;
	ipq_segments_make(&segments, list->prefixes, list->count);
	ret = ipq_segment_tree_make(tree, version, &segments);
	free(segments.all);
	return ret;
}

int ipq_netset_build(struct ipq_netset *set)
{
	int ret = 0;

	if (set->is_built)
		return 0;
	for (int i = 0; i < 2 && ret == 0; i++)
		ret = list_to_tree(&set->lists[i], &set->trees[i], i == 0 ? 4 : 6);
	for (int i = 0; i < 2; i++)
		if (ret < 0)
			ipq_segment_tree_free(&set->trees[i]);
		else
			list_free(&set->lists[i]);
	set->is_built = ret == 0;
	return ret;
}

uint32_t ipq_netset_count(const struct ipq_netset *set)
{
	return set->count;
}

size_t ipq_netset_memory(const struct ipq_netset *set)
{
	size_t bytes = sizeof(*set);

	for (int i = 0; i < 2; i++)
		bytes += set->trees[i].bytes + set->lists[i].capacity * sizeof(struct segment);
	return bytes;
}

/* Lookup */

bool ipq_netset_has(const struct ipq_netset *set, int version, const uint8_t *address,
		    uint8_t *prefix_len)
{
	uint8_t len = ipq_segment_tree_find(&set->trees[version == 6], version,
					    ipq_address_load(version, address));

	if (len == IPQ_NO_PREFIX)
		return false;
	if (prefix_len)
		*prefix_len = len;
	return true;
}

/* Offsets of the source address in the header; the destination follows it. */
enum { IPV4_SADDR = 12, IPV4_SIZE = 4, IPV6_SADDR = 8, IPV6_SIZE = 16 };

static bool packet_has(const struct ipq_netset *set, struct ipq_packet *packet, size_t which)
{
	const uint8_t *header;

	if (!packet->parsed)
		ipq_header_parse(packet);
	header = packet->data + packet->l3;
	switch (packet->ip_version) {
	case 4: return ipq_netset_has(set, 4, header + IPV4_SADDR + which * IPV4_SIZE, NULL);
	case 6: return ipq_netset_has(set, 6, header + IPV6_SADDR + which * IPV6_SIZE, NULL);
	default: return false;
	}
}

bool ipq_netset_has_saddr(const struct ipq_netset *set, struct ipq_packet *packet)
{
	return packet_has(set, packet, 0);
}

bool ipq_netset_has_daddr(const struct ipq_netset *set, struct ipq_packet *packet)
{
	return packet_has(set, packet, 1);
}

const char *ipq_netset_strerror(int error)
{
	switch (error) {
	case -EINVAL: return "not an address or a prefix, as 10.0.0.0/8 or 2001:db8::/32 is";
	case -ERANGE: return "a prefix length is at most 32 (IPv4) or 128 (IPv6)";
	case -E2BIG: return "too many prefixes";
	default: return strerror(-error);
	}
}
