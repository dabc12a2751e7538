/* CRYPTO frames put together. */
#include "pieces.h"

#include <stdlib.h>
#include <string.h>

/* Grows what has room for some, so that it has room for count of them. */
static bool make_room(void **memory, uint32_t *room, uint32_t count, size_t size)
{
	uint32_t more = *room ? *room : 4;
	void *grown;

	if (count <= *room)
		return true;
	while (more < count)
		more *= 2;
	grown = realloc(*memory, more * size);
	if (!grown)
		return false;
	*memory = grown;
	*room = more;
	return true;
}

/* Adds what nobody has said before, in front of the piece i. Gives the number of the piece that follows. */
static int add_new(struct ipq_pieces *p, uint32_t *i, struct ipq_piece piece, const uint8_t *bytes)
{
	struct ipq_piece *before = *i > 0 ? &p->all[*i - 1] : NULL;
	uint32_t len = piece.end - piece.start;

	if (!make_room((void **)&p->bytes, &p->size, p->used + len, 1))
		return IPQ_QUIC_NO_MEMORY;
	if (before && before->end == piece.start &&
	    before->at + (before->end - before->start) == p->used) {
		before->end = piece.end;
	} else {
		if (p->count == IPQ_QUIC_PIECES)
			return IPQ_QUIC_TOO_MANY;
		if (!make_room((void **)&p->all, &p->room, p->count + 1, sizeof(p->all[0])))
			return IPQ_QUIC_NO_MEMORY;
		piece.at = p->used;
		memmove(&p->all[*i + 1], &p->all[*i], (p->count - *i) * sizeof(p->all[0]));
		p->all[*i] = piece;
		p->count++;
		++*i;
	}
	memcpy(p->bytes + p->used, bytes, len);
	p->used += len;
	return 0;
}

int ipq_pieces_add(struct ipq_pieces *p, uint64_t offset, const uint8_t *bytes, size_t len)
{
	uint32_t start, end, i = 0;

	if (len > IPQ_CRYPTO_MAX || offset > IPQ_CRYPTO_MAX - len)
		return IPQ_HELLO_TOO_LONG;
	start = (uint32_t)offset;
	end = (uint32_t)(offset + len);
	while (i < p->count && p->all[i].end <= start)
		i++;
	while (start < end) {
		const uint8_t *from = bytes + (start - offset);
		uint32_t to = end;
		int ret;

		if (i < p->count && p->all[i].start <= start) {
			const struct ipq_piece *piece = &p->all[i++];

			to = piece->end < end ? piece->end : end;
			if (memcmp(p->bytes + piece->at + (start - piece->start), from,
				   to - start) != 0)
				return IPQ_QUIC_TWOFOLD;
		} else {
			if (i < p->count && p->all[i].start < end)
				to = p->all[i].start;
			ret = add_new(p, &i, (struct ipq_piece){.start = start, .end = to}, from);
			if (ret < 0)
				return ret;
		}
		start = to;
	}
	return 0;
}

size_t ipq_pieces_copy(const struct ipq_pieces *p, uint8_t *to, size_t room)
{
	size_t len = 0;

	for (uint32_t i = 0; i < p->count && p->all[i].start == len; i++) {
		size_t n = p->all[i].end - p->all[i].start;

		if (n > room - len)
			n = room - len;
		memcpy(to + len, p->bytes + p->all[i].at, n);
		len += n;
	}
	return len;
}

size_t ipq_pieces_memory(const struct ipq_pieces *p)
{
	return p->size + p->room * sizeof(p->all[0]);
}

void ipq_pieces_clear(struct ipq_pieces *p)
{
	free(p->bytes);
	free(p->all);
	*p = (struct ipq_pieces){.count = 0};
}
