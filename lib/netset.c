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
 * The array is searched as a tree of which a node is 16 beginnings; each level holds the first
 * beginning of each node of the level below. Half a million prefixes are 5 levels, all but the last
 * two small enough for a core's own cache. A node is compared as a whole, without branches that
 * would be guessed wrong, so a lookup costs two or three reads from memory and little else.
 */
#include "ipq.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
	NONE = 255, /* no prefix, where else there is the length of one */
	FANOUT4 = 16,
	FANOUT6 = 16,
	LEVELS_MAX = 12,
	PREFIXES_MAX = 1 << 26,
	LINE_MAX_LEN = 128,
	CACHE_LINE = 64,
	HUGE_PAGE = 1 << 21
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

struct node4 {
	uint32_t keys[FANOUT4];
};

struct node6 {
	uint64_t high[FANOUT6], low[FANOUT6];
};

struct tree {
	uint32_t depth;		     /* 0: no prefixes */
	uint32_t counts[LEVELS_MAX]; /* keys of a level; [0] has the beginnings themselves */
	uint32_t starts[LEVELS_MAX]; /* its first node */
	union {
		void *nodes;
		struct node4 *nodes4;
		struct node6 *nodes6;
	};
	uint8_t *lens; /* by index in level 0 */
	size_t bytes;
	void *memory;	/* of nodes and lens */
	size_t map_len; /* 0: memory is from malloc() */
};

struct list {
	struct entry *entries;
	size_t count, capacity;
};

/* The index is 0 for IPv4, 1 for IPv6. */
struct ipq_netset {
	struct list lists[2]; /* until it is finished */
	struct tree trees[2];
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

/* Segments to a tree */

/* Memory that lookups go through at random. Where it is large, each read would cost a walk through
 * the page tables too, unless the pages are large; and from malloc() they may be small ones that
 * were in use before. NULL where there is none. */
static void *tree_memory(struct tree *tree, size_t bytes)
{
	uint8_t *map;

	if (bytes < HUGE_PAGE) {
		tree->memory = aligned_alloc(CACHE_LINE,
					     (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
		return tree->memory;
	}
	map = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	if (map == MAP_FAILED)
		return NULL;
	tree->memory = map;
	tree->map_len = bytes + HUGE_PAGE;
	map += -(uintptr_t)map % HUGE_PAGE;
	madvise(map, bytes, MADV_HUGEPAGE);
	return map;
}

/* Memory for a tree of count beginnings. 0 or -ENOMEM. */
static int tree_alloc(struct tree *tree, uint32_t count, uint32_t fanout, size_t node_size)
{
	uint32_t nodes = 0, keys = count;

	for (tree->depth = 0; tree->depth == 0 || tree->counts[tree->depth - 1] > fanout;) {
		tree->counts[tree->depth] = keys;
		tree->starts[tree->depth++] = nodes;
		keys = (keys + fanout - 1) / fanout;
		nodes += keys;
	}
	tree->bytes = nodes * node_size + count;
	tree->nodes = tree_memory(tree, tree->bytes);
	if (!tree->nodes)
		return -ENOMEM;
	tree->lens = (uint8_t *)tree->nodes + nodes * node_size;
	/* Behind the end of a level there is nothing to be found. */
	memset(tree->nodes, 0xff, nodes * node_size);
	return 0;
}

static void tree_free(struct tree *tree)
{
	if (tree->map_len)
		munmap(tree->memory, tree->map_len);
	else
		free(tree->memory);
	*tree = (struct tree){0};
}

static void key_set(struct tree *tree, int version, uint32_t level, uint32_t i,
		    struct address first)
{
	struct node4 *node4 = tree->nodes4 + tree->starts[level] + i / FANOUT4;
	struct node6 *node6 = tree->nodes6 + tree->starts[level] + i / FANOUT6;

	if (version == 4) {
		node4->keys[i % FANOUT4] = (uint32_t)(first.high >> 32);
	} else {
		node6->high[i % FANOUT6] = first.high;
		node6->low[i % FANOUT6] = first.low;
	}
}

static int tree_make(struct tree *tree, int version, const struct segments *segments)
{
	uint32_t fanout = version == 4 ? FANOUT4 : FANOUT6;
	size_t step = 1; /* segments from one key of a level to the next */
	int ret = tree_alloc(tree, (uint32_t)segments->count, fanout,
			     version == 4 ? sizeof(struct node4) : sizeof(struct node6));

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < segments->count; i++)
		tree->lens[i] = segments->all[i].len;
	for (uint32_t level = 0; level < tree->depth; level++, step *= fanout)
		for (uint32_t i = 0; i < tree->counts[level]; i++)
			key_set(tree, version, level, i, segments->all[i * step].first);
	return 0;
}

static int list_to_tree(struct list *list, struct tree *tree, int version)
{
	struct segments segments = {.count = 0};
	int ret;

	if (list->count == 0)
		return 0;
	segments.all = malloc((2 * list->count + 1) * sizeof(*segments.all));
	if (!segments.all)
		return -ENOMEM;
	segments_make(&segments, list);
	ret = tree_make(tree, version, &segments);
	free(segments.all);
	return ret;
}

/* Lookup. The ranks say how many of a node's keys are not behind an address: independent
 * comparisons, no branch. */

static uint32_t rank4(const struct node4 *node, uint32_t address)
{
	uint32_t rank = 0;

	for (int i = 0; i < FANOUT4; i++)
		rank += node->keys[i] <= address;
	return rank;
}

static uint32_t rank8(const uint64_t *keys, uint64_t x)
{
	return (uint32_t)(keys[0] <= x) + (keys[1] <= x) + (keys[2] <= x) + (keys[3] <= x) +
	       (keys[4] <= x) + (keys[5] <= x) + (keys[6] <= x) + (keys[7] <= x);
}

static uint32_t rank16(const uint64_t *keys, uint64_t x)
{
	return rank8(keys, x) + rank8(keys + 8, x);
}

/* Lower halves are looked at only where upper ones are equal. */
static uint32_t rank6(const struct node6 *node, struct address address)
{
	uint32_t rank = rank16(node->high, address.high);

	if (rank == 0 || node->high[rank - 1] != address.high)
		return rank;
	if (rank == FANOUT6 && node->high[0] == address.high)
		return rank16(node->low, address.low);
	while (rank > 0 && node->high[rank - 1] == address.high &&
	       node->low[rank - 1] > address.low)
		rank--;
	return rank;
}

/* The length of the longest prefix, or NONE. */
static uint8_t tree_find(const struct tree *tree, int version, struct address address)
{
	uint32_t i = 0;

	if (tree->depth == 0)
		return NONE;
	for (uint32_t level = tree->depth; level-- > 0;) {
		size_t node = tree->starts[level] + i;

		/* At least 1: the node was chosen for its first key, and the very first is 0. */
		if (version == 4)
			i = i * FANOUT4 - 1 +
			    rank4(tree->nodes4 + node, (uint32_t)(address.high >> 32));
		else
			i = i * FANOUT6 - 1 + rank6(tree->nodes6 + node, address);
		/* What is not there counts only where the address is all ones. */
		if (i >= tree->counts[level])
			i = tree->counts[level] - 1;
	}
	return tree->lens[i];
}

bool ipq_netset_has(const struct ipq_netset *set, int version, const uint8_t *address,
		    uint8_t *prefix_len)
{
	uint8_t len = tree_find(&set->trees[version == 6], version, address_load(version, address));

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
		tree_free(&set->trees[i]);
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
		ret = list_to_tree(&set->lists[i], &set->trees[i], i == 0 ? 4 : 6);
	for (int i = 0; i < 2; i++)
		if (ret < 0)
			tree_free(&set->trees[i]);
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
		bytes += set->trees[i].bytes + set->lists[i].capacity * sizeof(struct entry);
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
