/*
 * Sets of prefixes.
 *
 * The prefixes of a version cut the address space into segments; all addresses of a segment have
 * the same longest prefix, or none. Finding an address is finding the last segment that does not
 * begin behind it, in an array sorted by their beginnings. So the time depends on the number of
 * segments alone (two a prefix and one, at most), not on how prefixes nest, how long they are, or
 * which of them are crowded together, as it does in tries and in tables indexed by leading bits;
 * and nobody who chooses addresses can make a lookup slow.
 *
 * The array is searched as a tree of which a node is one cache line of 8 beginnings: each level
 * holds the first beginning of each node of the level below. Half a million prefixes are 7 levels,
 * and the upper ones are always in the cache.
 *
 * A beginning is the upper 64 bits of an address: all of an IPv4 address, shifted up, and the
 * network half of an IPv6 one. Where an IPv6 segment begins within a /64, that /64 has a list of
 * its own, of lower halves.
 */
#include "ipq.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	NONE = 255,  /* no prefix, where else there is the length of one */
	SPLIT = 256, /* and from here on: the index of a /64's own list */
	NODE = 8,
	LEVELS_MAX = 12,
	PREFIXES_MAX = 1 << 26,
	LINE_MAX_LEN = 128
};

struct address {
	uint64_t high, low;
};

struct entry {
	struct address first;
	uint8_t len;
};

struct segment {
	struct address first;
	uint8_t len;
};

/* Where the segments within one /64 are in lows and low_lens. */
struct split {
	uint32_t first, count;
};

struct table {
	uint32_t depth;
	uint32_t counts[LEVELS_MAX];
	uint64_t *levels[LEVELS_MAX]; /* [0]: all beginnings; one allocation */
	uint32_t *values;	      /* by index in levels[0] */
	struct split *splits;
	uint64_t *lows;
	uint8_t *low_lens;
	uint32_t count, split_count, low_count;
	size_t bytes;
};

struct list {
	struct entry *entries;
	size_t count, capacity;
};

/* The index is 0 for IPv4, 1 for IPv6. */
struct ipq_netset {
	struct list lists[2]; /* until it is finished */
	struct table tables[2];
	uint32_t count;
	bool finished;
};

/* Addresses */

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

static struct address address_load(int version, const uint8_t *bytes)
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

static struct address entry_last(const struct entry *entry)
{
	return (struct address){entry->first.high | tail(entry->len),
				entry->first.low |
					(entry->len <= 64 ? UINT64_MAX : tail(entry->len - 64))};
}

/* Prefixes to segments */

/* Wide prefixes before those within them. */
static int entry_compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = address_compare(&x->first, &y->first);

	return order ? order : x->len - y->len;
}

struct segments {
	struct segment *all; /* room for two a prefix, and one */
	size_t count;
};

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
	struct entry entries[129];
	unsigned int depth;
};

/* Leaves the innermost prefix: behind it the one around it goes on. */
static void nest_leave(struct nest *nest, struct segments *segments)
{
	struct address next = entry_last(&nest->entries[--nest->depth]);

	if (++next.low == 0 && ++next.high == 0)
		return; /* it was the last address of all */
	segment_add(segments, next, nest->depth > 0 ? nest->entries[nest->depth - 1].len : NONE);
}

/* Sorts the list and cuts the address space by it. */
static void segments_make(struct segments *segments, struct list *list)
{
	struct nest nest = {.depth = 0};
	struct address last;

	qsort(list->entries, list->count, sizeof(*list->entries), entry_compare);
	segment_add(segments, (struct address){0, 0}, NONE);
	for (size_t i = 0; i < list->count; i++) {
		struct entry *entry = &list->entries[i];

		if (i > 0 && entry_compare(entry, entry - 1) == 0)
			continue;
		while (nest.depth > 0) {
			last = entry_last(&nest.entries[nest.depth - 1]);
			if (address_compare(&last, &entry->first) >= 0)
				break;
			nest_leave(&nest, segments);
		}
		nest.entries[nest.depth++] = *entry;
		segment_add(segments, entry->first, entry->len);
	}
	while (nest.depth > 0)
		nest_leave(&nest, segments);
}

/* Segments to a table. This is done twice: first to count, when there is no memory yet. */

static void put(struct table *table, uint64_t high, uint32_t value)
{
	if (table->values) {
		table->levels[0][table->count] = high;
		table->values[table->count] = value;
	}
	table->count++;
}

static void put_low(struct table *table, uint64_t low, uint8_t len)
{
	if (table->values) {
		table->lows[table->low_count] = low;
		table->low_lens[table->low_count] = len;
	}
	table->low_count++;
}

/* The count segments from i on, which begin within one /64, as a list of its own. */
static void put_split(struct table *table, const struct segment *segment, size_t count)
{
	uint32_t first = table->low_count;

	put(table, segment->first.high, SPLIT + table->split_count);
	/* The very first segment begins at 0, so there is one before. */
	if (segment->first.low != 0)
		put_low(table, 0, segment[-1].len);
	for (size_t i = 0; i < count; i++)
		put_low(table, segment[i].first.low, segment[i].len);
	if (table->values)
		table->splits[table->split_count] = (struct split){first, table->low_count - first};
	table->split_count++;
}

static void table_fill(struct table *table, const struct segments *segments)
{
	const struct segment *all = segments->all;
	size_t next;

	table->count = table->split_count = table->low_count = 0;
	for (size_t i = 0; i < segments->count; i = next) {
		uint64_t high = all[i].first.high;

		for (next = i + 1; next < segments->count && all[next].first.high == high;)
			next++;
		if (next == i + 1 && all[i].first.low == 0) {
			put(table, high, all[i].len);
			continue;
		}
		put_split(table, all + i, next - i);
		/* Its last segment goes on behind the /64. */
		if (high != UINT64_MAX &&
		    (next == segments->count || all[next].first.high != high + 1))
			put(table, high + 1, all[next - 1].len);
	}
}

static void table_free(struct table *table)
{
	free(table->levels[0]);
	free(table->values);
	free(table->splits);
	free(table->lows);
	free(table->low_lens);
	*table = (struct table){0};
}

static uint32_t nodes_of(uint32_t count)
{
	return (count + NODE - 1) / NODE;
}

/* Memory for what was counted. 0 or -ENOMEM. */
static int table_alloc(struct table *table)
{
	size_t keys = 0, bytes;
	uint32_t count = table->count;

	for (table->depth = 0; table->depth == 0 || count > 1; count = nodes_of(count)) {
		table->counts[table->depth++] = count;
		keys += (size_t)nodes_of(count) * NODE;
	}
	bytes = keys * sizeof(uint64_t);
	table->levels[0] = aligned_alloc(NODE * sizeof(uint64_t), bytes);
	table->values = calloc(table->count, sizeof(*table->values));
	/* One more, as calloc(0) may give NULL. */
	table->splits = calloc(table->split_count + 1, sizeof(*table->splits));
	table->lows = calloc(table->low_count + 1, sizeof(*table->lows));
	table->low_lens = calloc(table->low_count + 1, sizeof(*table->low_lens));
	if (!table->levels[0] || !table->values || !table->splits || !table->lows ||
	    !table->low_lens)
		return -ENOMEM;
	/* Behind the end of a level there is nothing to be found. */
	memset(table->levels[0], 0xff, bytes);
	for (uint32_t i = 1; i < table->depth; i++)
		table->levels[i] =
			table->levels[i - 1] + (size_t)nodes_of(table->counts[i - 1]) * NODE;
	table->bytes = bytes + table->count * sizeof(*table->values) +
		       table->split_count * sizeof(*table->splits) +
		       table->low_count * (sizeof(*table->lows) + sizeof(*table->low_lens));
	return 0;
}

static int table_make(struct table *table, struct list *list)
{
	struct segments segments = {.count = 0};
	int ret;

	if (list->count == 0)
		return 0;
	segments.all = malloc((2 * list->count + 1) * sizeof(*segments.all));
	if (!segments.all)
		return -ENOMEM;
	segments_make(&segments, list);
	table_fill(table, &segments);
	ret = table_alloc(table);
	if (ret == 0) {
		table_fill(table, &segments);
		for (uint32_t level = 1; level < table->depth; level++)
			for (uint32_t i = 0; i < table->counts[level]; i++)
				table->levels[level][i] = table->levels[level - 1][i * NODE];
	}
	free(segments.all);
	return ret;
}

/* Lookup */

/* How many of a node's keys are not behind x. Eight independent comparisons, no branch. */
static uint32_t rank(const uint64_t *keys, uint64_t x)
{
	return (uint32_t)(keys[0] <= x) + (keys[1] <= x) + (keys[2] <= x) + (keys[3] <= x) +
	       (keys[4] <= x) + (keys[5] <= x) + (keys[6] <= x) + (keys[7] <= x);
}

static uint8_t split_find(const struct table *table, uint32_t index, uint64_t low)
{
	uint32_t first = table->splits[index].first, count = table->splits[index].count;

	while (count > 1) {
		uint32_t half = count / 2;

		if (table->lows[first + half] <= low)
			first += half;
		count -= half;
	}
	return table->low_lens[first];
}

/* The length of the longest prefix, or NONE. */
static uint8_t table_find(const struct table *table, struct address address)
{
	uint32_t i = 0, value;

	if (table->depth == 0)
		return NONE;
	for (uint32_t level = table->depth; level-- > 0;) {
		/* At least 1: the node was chosen for its first key, and the very first is 0. */
		i = i * NODE + rank(table->levels[level] + (size_t)i * NODE, address.high) - 1;
		/* What is not there counts only where the address is all ones. */
		if (i >= table->counts[level])
			i = table->counts[level] - 1;
	}
	value = table->values[i];
	return value < SPLIT ? (uint8_t)value : split_find(table, value - SPLIT, address.low);
}

bool ipq_netset_has(const struct ipq_netset *set, int version, const uint8_t *address,
		    uint8_t *prefix_len)
{
	uint8_t len = table_find(&set->tables[version == 6], address_load(version, address));

	if (len == NONE)
		return false;
	if (prefix_len)
		*prefix_len = len;
	return true;
}

/* Offsets of the source address in the header; the destination follows it. */
enum { IPV4_SADDR = 12, IPV4_SIZE = 4, IPV6_SADDR = 8, IPV6_SIZE = 16 };

static bool packet_has(const struct ipq_netset *set, struct ipq_packet *packet, unsigned int which)
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

/* The set */

int ipq_netset_new(struct ipq_netset **set)
{
	*set = calloc(1, sizeof(**set));
	return *set ? 0 : -ENOMEM;
}

static void list_free(struct list *list)
{
	free(list->entries);
	*list = (struct list){0};
}

void ipq_netset_free(struct ipq_netset *set)
{
	if (!set)
		return;
	for (int i = 0; i < 2; i++) {
		list_free(&set->lists[i]);
		table_free(&set->tables[i]);
	}
	free(set);
}

int ipq_netset_add(struct ipq_netset *set, const struct ipq_prefix *prefix)
{
	struct list *list = &set->lists[prefix->version == 6];
	struct entry entry = {address_load(prefix->version, prefix->address), prefix->len};

	if (set->finished)
		return -EBUSY;
	if (prefix->version != 4 && prefix->version != 6)
		return -EINVAL;
	if (prefix->len > (prefix->version == 4 ? 32 : 128))
		return -ERANGE;
	if (set->count == PREFIXES_MAX)
		return -E2BIG;
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 16;
		struct entry *entries = realloc(list->entries, capacity * sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		list->entries = entries;
		list->capacity = capacity;
	}
	entry.first.high &= ~tail(entry.len);
	entry.first.low &= entry.len <= 64 ? 0 : ~tail(entry.len - 64);
	list->entries[list->count++] = entry;
	set->count++;
	return 0;
}

int ipq_netset_add_text(struct ipq_netset *set, const char *text, size_t len)
{
	struct ipq_prefix prefix;
	int ret = ipq_prefix_parse(&prefix, text, len);

	return ret < 0 ? ret : ipq_netset_add(set, &prefix);
}

int ipq_netset_finish(struct ipq_netset *set)
{
	int ret = 0;

	if (set->finished)
		return 0;
	for (int i = 0; i < 2 && ret == 0; i++)
		ret = table_make(&set->tables[i], &set->lists[i]);
	for (int i = 0; i < 2; i++)
		if (ret < 0)
			table_free(&set->tables[i]);
		else
			list_free(&set->lists[i]);
	set->finished = ret == 0;
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
		bytes += set->tables[i].bytes + set->lists[i].capacity * sizeof(struct entry);
	return bytes;
}

/* Files */

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

const char *ipq_netset_strerror(int error)
{
	switch (error) {
	case -EINVAL: return "not an address or a prefix, as 10.0.0.0/8 or 2001:db8::/32 is";
	case -ERANGE: return "a prefix length is at most 32 (IPv4) or 128 (IPv6)";
	case -E2BIG: return "too many prefixes";
	default: return strerror(-error);
	}
}
