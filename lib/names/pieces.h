/* What a stream says that comes in pieces and in any order, for the files of this room. */
#ifndef IPQ_PIECES_H
#define IPQ_PIECES_H

#include "quic.h"

enum { IPQ_CRYPTO_MAX = 4 + IPQ_HELLO_MAX };

/* From start up to end the stream says what stands at at. */
struct ipq_piece {
	uint32_t start;
	uint32_t end;
	uint32_t at;
};

/* All that was said, in the order of the stream; pieces do not overlap. Zeros: nothing was. */
struct ipq_pieces {
	struct ipq_piece *all;
	uint8_t *bytes;
	uint32_t count;
	uint32_t room; /* pieces that all has room for */
	uint32_t used; /* bytes */
	uint32_t size; /* bytes that there is room for */
};

/* Adds what stands at offset; a stream has IPQ_CRYPTO_MAX bytes at most. What is said a second
 * time has to be the same. 0, or IPQ_HELLO_TOO_LONG, IPQ_QUIC_TOO_MANY, IPQ_QUIC_TWOFOLD or IPQ_QUIC_NO_MEMORY,
 * which leave it as it was, or with a part of the bytes added. */
int ipq_pieces_add(struct ipq_pieces *pieces, uint64_t offset, const uint8_t *bytes, size_t len);

/* Copies what was said from the stream's begin on, up to the first gap or room bytes. Gives how many these are. */
size_t ipq_pieces_copy(const struct ipq_pieces *pieces, uint8_t *to, size_t room);

/* How many bytes of memory they take. */
size_t ipq_pieces_memory(const struct ipq_pieces *pieces);

/* Forgets all, and gives the memory back. */
void ipq_pieces_clear(struct ipq_pieces *pieces);

#endif
