/* The address space of an IP version, cut by prefixes into segments: all addresses of a segment
 * have the same longest prefix, or none. What the files of netset share. */
#ifndef IPQ_SEGMENT_H
#define IPQ_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

enum { IPQ_NO_PREFIX = 255 /* where else there is the length of one */ };

/* Of either version; an IPv4 address is the upper 32 bits. */
struct address {
	uint64_t high, low;
};

/* A prefix, or where a segment begins and the length of its prefix. */
struct segment {
	struct address first;
	uint8_t len;
};

struct segments {
	struct segment *all;
	size_t count;
};

struct address ipq_address_load(int version, const uint8_t *bytes);

/* The address with the bits behind the first len of 128 cleared. */
struct address ipq_address_mask(struct address address, uint8_t len);

/* Sorts the prefixes and cuts the address space by them. segments->all has room for two a prefix,
 * and one. */
void ipq_segments_make(struct segments *segments, struct segment *prefixes, size_t count);

#endif
