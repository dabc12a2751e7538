/* Segments as a tree that is searched. */
#ifndef IPQ_SEGMENT_TREE_H
#define IPQ_SEGMENT_TREE_H

#include "segment.h"

enum { SEGMENT_TREE_LEVELS = 12 };

struct node4;
struct node6;

/* Zeroed memory is one of no prefixes. */
struct segment_tree {
	uint32_t depth;			      /* 0: no prefixes */
	uint32_t counts[SEGMENT_TREE_LEVELS]; /* keys of a level; [0] has the beginnings themselves
					       */
	uint32_t starts[SEGMENT_TREE_LEVELS]; /* its first node */
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

/* Makes a tree of the segments of an IP version. 0 or -ENOMEM. */
int ipq_segment_tree_make(struct segment_tree *tree, int version, const struct segments *segments);
void ipq_segment_tree_free(struct segment_tree *tree);

/* The length of the longest prefix that has the address, or IPQ_NO_PREFIX. */
uint8_t ipq_segment_tree_find(const struct segment_tree *tree, int version, struct address address);

#endif
