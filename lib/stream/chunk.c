/* The pool that edits and text are in: chunks of 256 bytes. */
#include "table.h"

uint32_t ipq_stream_chunk_take(struct ipq_streams *streams)
{
	uint32_t number = streams->free_chunk;
	union ipq_stream_chunk *chunk = ipq_stream_chunk(streams, number);

	if (chunk) {
		streams->free_chunk = chunk->text.next;
	} else {
		number = streams->head->chunks_used;
		chunk = ipq_stream_chunk(streams, number);
		if (!chunk)
			return NO_CHUNK;
		streams->head->chunks_used = number + 1;
	}
	streams->chunks_free -= streams->chunks_free > 0;
	memset(chunk, 0, sizeof(*chunk));
	return number;
}

void ipq_stream_chunk_give(struct ipq_streams *streams, uint32_t number)
{
	union ipq_stream_chunk *chunk = ipq_stream_chunk(streams, number);

	if (!chunk)
		return;
	chunk->text.next = streams->free_chunk;
	streams->free_chunk = number;
	streams->chunks_free++;
}

static uint32_t chunks_of(uint32_t len)
{
	return len / CHUNK_TEXT + (len % CHUNK_TEXT != 0);
}

/* Writes bytes from a chunk's offset on, into new ones where that is full. */
static void append(struct ipq_streams *streams, uint32_t number, uint32_t offset,
		   const uint8_t *bytes, uint32_t len)
{
	union ipq_stream_chunk *chunk = ipq_stream_chunk(streams, number);

	while (chunk && len) {
		uint32_t room = CHUNK_TEXT - offset, part = len < room ? len : room;

		memcpy(chunk->text.bytes + offset, bytes, part);
		bytes += part;
		len -= part;
		offset = 0;
		if (!len)
			return;
		number = ipq_stream_chunk_take(streams);
		chunk->text.next = number;
		chunk = ipq_stream_chunk(streams, number);
	}
}

uint32_t ipq_stream_text_new(struct ipq_streams *streams, const uint8_t *bytes, uint32_t len)
{
	uint32_t number;

	if (!len || chunks_of(len) > streams->chunks_free)
		return NO_CHUNK;
	number = ipq_stream_chunk_take(streams);
	append(streams, number, 0, bytes, len);
	return number;
}

/* The chunk with the byte at offset of a text, and the offset in it; offset may be behind the last
 * one's bytes. */
static union ipq_stream_chunk *seek(const struct ipq_streams *streams, uint32_t text,
				    uint32_t *offset, uint32_t *number)
{
	union ipq_stream_chunk *chunk = ipq_stream_chunk(streams, text);

	while (chunk && *offset >= CHUNK_TEXT && ipq_stream_chunk(streams, chunk->text.next)) {
		*offset -= CHUNK_TEXT;
		text = chunk->text.next;
		chunk = ipq_stream_chunk(streams, text);
	}
	*number = text;
	return *offset <= CHUNK_TEXT ? chunk : NULL;
}

bool ipq_stream_text_add(struct ipq_streams *streams, uint32_t text, uint32_t len,
			 const uint8_t *bytes, uint32_t more)
{
	uint32_t offset = len, number;
	union ipq_stream_chunk *last = seek(streams, text, &offset, &number);

	if (!last || chunks_of(more) > streams->chunks_free)
		return false;
	append(streams, number, offset, bytes, more);
	return true;
}

void ipq_stream_text_read(const struct ipq_streams *streams, uint32_t text, uint32_t offset,
			  uint8_t *to, uint32_t n)
{
	union ipq_stream_chunk *chunk = seek(streams, text, &offset, &text);

	while (chunk && n) {
		uint32_t room = CHUNK_TEXT - offset, part = n < room ? n : room;

		memcpy(to, chunk->text.bytes + offset, part);
		to += part;
		n -= part;
		offset = 0;
		chunk = ipq_stream_chunk(streams, chunk->text.next);
	}
	memset(to, 0, n);
}

void ipq_stream_text_free(struct ipq_streams *streams, uint32_t text, uint32_t len)
{
	uint32_t next, left = chunks_of(len);

	/* A damaged text may say more than there are. */
	if (left > streams->chunk_count)
		left = streams->chunk_count;
	for (; left; left--) {
		union ipq_stream_chunk *chunk = ipq_stream_chunk(streams, text);

		if (!chunk)
			return;
		next = chunk->text.next;
		ipq_stream_chunk_give(streams, text);
		text = next;
	}
}
