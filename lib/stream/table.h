/* The layout of the streams' memory, and what this room's files share. What is read from the memory
 * may be anything where a hostile process has had it: numbers are read once and compared with
 * bounds of struct ipq_streams, and every loop has an end that is not in the memory. */
#ifndef IPQ_STREAM_TABLE_H
#define IPQ_STREAM_TABLE_H

#include "stream.h"

#include <string.h>

#define IPQ_STREAM_FAR	  (UINT64_C(1) << 62)
#define IPQ_STREAM_NOBODY UINT32_MAX

enum {
	CHUNK_SIZE = 256,
	CHUNK_TEXT = CHUNK_SIZE - sizeof(uint32_t),
	CHUNK_EDITS = CHUNK_SIZE / 32,
	CHUNK_NUMBERS = CHUNK_SIZE / sizeof(uint32_t),
	NO_CHUNK = 0
};

/* Text, with the number of the chunk that goes on with it; or edits of a ring; or the numbers of
 * chunks with edits. */
union ipq_stream_chunk {
	struct {
		uint32_t next;
		uint8_t bytes[CHUNK_TEXT];
	} text;
	struct ipq_stream_edit edits[CHUNK_EDITS];
	uint32_t numbers[CHUNK_NUMBERS];
};

struct ipq_stream_head {
	uint64_t magic;
	uint32_t version;
	uint32_t connections;
	uint32_t chunk_count;
	uint32_t used;	      /* records from 0 on that have had a stream */
	uint32_t chunks_used; /* chunks from 1 on that have been in use */
};

_Static_assert(sizeof(union ipq_stream_chunk) == CHUNK_SIZE, "a chunk");
_Static_assert(sizeof(struct ipq_stream_edit) == 32, "eight edits are a chunk");
_Static_assert(sizeof(struct ipq_stream) == 256, "a record is four cache lines");
_Static_assert(sizeof(struct ipq_stream_head) <= IPQ_STREAM_HEAD_SIZE, "the head has its place");
_Static_assert(IPQ_STREAM_EDITS == 2 * CHUNK_NUMBERS * CHUNK_EDITS,
	       "two chunks list all of a ring");

/* Between stores of which a successor may see the first ones alone: what a process had stored when
 * it was killed is a beginning of its program, so that the compiler's order is all that matters. */
static inline void ipq_stream_order(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Chunks (chunk.c) */

/* That chunk; NULL: there is none of that number. */
static inline union ipq_stream_chunk *ipq_stream_chunk(const struct ipq_streams *streams,
						       uint32_t number)
{
	return number != NO_CHUNK && number < streams->chunk_count ? &streams->chunks[number]
								   : NULL;
}

/* A free one, of zeros; NO_CHUNK where there is none. And back. */
uint32_t ipq_stream_chunk_take(struct ipq_streams *streams);
void ipq_stream_chunk_give(struct ipq_streams *streams, uint32_t number);

/* len bytes in chunks of their own: the first one's number; NO_CHUNK where there is no room. */
uint32_t ipq_stream_text_new(struct ipq_streams *streams, const uint8_t *bytes, uint32_t len);
/* Puts bytes behind the len that are there. False: there is no room, and nothing has changed. */
bool ipq_stream_text_add(struct ipq_streams *streams, uint32_t text, uint32_t len,
			 const uint8_t *bytes, uint32_t more);
/* Copies n bytes from offset on. What is not there is 0. */
void ipq_stream_text_read(const struct ipq_streams *streams, uint32_t text, uint32_t offset,
			  uint8_t *to, uint32_t n);
void ipq_stream_text_free(struct ipq_streams *streams, uint32_t text, uint32_t len);

/* Edits (edits.c) */

static inline uint32_t ipq_stream_count(const struct ipq_stream_half *half)
{
	uint32_t count = half->alive & 0xffff;

	return count < IPQ_STREAM_EDITS ? count : IPQ_STREAM_EDITS;
}

/* The place in the ring of the ith of a half's edits that are alive, 0 the oldest. */
static inline uint32_t ipq_stream_place(const struct ipq_stream_half *half, uint32_t i)
{
	return ((half->alive >> 16) + i) % IPQ_STREAM_EDITS;
}

/* Both at once: a successor finds the edit that is pruned, or does not. */
static inline void ipq_stream_set_alive(struct ipq_stream_half *half, uint32_t first,
					uint32_t count)
{
	ipq_stream_order();
	half->alive = first << 16 | count;
	ipq_stream_order();
}

/* The ith of a half's edits that are alive; NULL where the memory is damaged. */
struct ipq_stream_edit *ipq_stream_edit_at(const struct ipq_streams *streams,
					   const struct ipq_stream_half *half, uint32_t i);
/* Whether an edit changes what the segment is that has the bytes from one position to another. */
bool ipq_stream_touches(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			uint64_t at, uint64_t end);
/* Gives back the chunks that the ring is in, which has no edit any more. */
void ipq_stream_ring_free(struct ipq_streams *streams, struct ipq_stream_half *half);

#endif
