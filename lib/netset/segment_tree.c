/*
 * Finding an address is finding the last segment that does not begin behind it, in an array sorted
 * by their beginnings.
 *
 * The array is searched as a tree of which a node is 16 beginnings; each level holds the first
 * beginning of each node of the level below. Half a million prefixes are 5 levels, all but the last
 * two small enough for a core's own cache. A node is compared as a whole, without branches that
 * would be guessed wrong, so a lookup costs two or three reads from memory and little else.
 */
#include "segment_tree.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FANOUT4 = 16, FANOUT6 = 16, CACHE_LINE = 64, HUGE_PAGE = 1 << 21 };

struct node4 {
	uint32_t keys[FANOUT4];
};

struct node6 {
	uint64_t high[FANOUT6], low[FANOUT6];
};

/* Memory that lookups go through at random. Where it is large, each read would cost a walk through
 * the page tables too, unless the pages are large; and from malloc() they may be small ones that
 * were in use before. NULL where there is none. */
static void *tree_memory(struct segment_tree *tree, size_t bytes)
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
static int tree_alloc(struct segment_tree *tree, uint32_t count, uint32_t fanout, size_t node_size)
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

void ipq_segment_tree_free(struct segment_tree *tree)
{
	if (tree->map_len)
		munmap(tree->memory, tree->map_len);
	else
		free(tree->memory);
	*tree = (struct segment_tree){0};
}

static void key_set(struct segment_tree *tree, int version, uint32_t level, uint32_t i,
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

int ipq_segment_tree_make(struct segment_tree *tree, int version, const struct segments *segments)
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

uint8_t ipq_segment_tree_find(const struct segment_tree *tree, int version, struct address address)
{
	uint32_t i = 0;

	if (tree->depth == 0)
		return IPQ_NO_PREFIX;
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
