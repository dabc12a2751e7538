/* Edits of a stream against arrays of bytes, by choices that come from anywhere: spec/c/streams.c has a random number
 * for each, spec/fuzz/stream.c a byte. Gives 0, or the line of what did not hold. */
#ifndef SPEC_STREAM_MODEL_H
#define SPEC_STREAM_MODEL_H

#include "lib/stream/stream.h"

#include <stdlib.h>
#include <string.h>

enum {
	MODEL_BYTES = 512,	/* original */
	MODEL_OUTPUT = 1 << 14, /* and output, at most */
	MODEL_TEXT = 700,
	MODEL_CONNECTIONS = 40
};

struct model {
	struct ipq_streams streams;
	struct ipq_stream *stream;
	struct ipq_stream_half *half;
	void *memory;
	size_t size;
	/* What the receiver gets. */
	uint8_t output[MODEL_OUTPUT];
	uint32_t len;
	uint32_t text; /* of it what lies in front of done, and goes out with the byte there */
	/* Where the segment begins that begins at an original byte. */
	uint32_t begins[MODEL_BYTES + 1];
	uint8_t bytes[MODEL_BYTES];
};

#define HOLDS(condition)                 \
	do {                             \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

static inline int model_new(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->size = ipq_streams_size(MODEL_CONNECTIONS);
	m->memory = aligned_alloc(256, (m->size + 255) & ~(size_t)255);
	HOLDS(m->memory);
	memset(m->memory, 0xa5, m->size);
	HOLDS(ipq_streams_init(m->memory, m->size, MODEL_CONNECTIONS) == 0);
	HOLDS(ipq_streams_attach(m->memory, m->size, NULL, &m->streams) == 0);
	m->stream = ipq_stream_new(&m->streams);
	HOLDS(m->stream);
	m->stream->state = IPQ_STREAM_ESTABLISHED;
	m->half = &m->stream->half[0];
	for (uint32_t i = 0; i < MODEL_BYTES; i++)
		m->bytes[i] = (uint8_t)(i * 7 + i / 256 + 1);
	return 0;
}

static inline void model_free(struct model *m)
{
	ipq_streams_detach(&m->streams);
	free(m->memory);
}

/* The original position of the model that is the last one, or the first one, that the function is to give. */
static inline uint32_t model_last(const struct model *m, uint64_t out)
{
	uint32_t at = (uint32_t)m->half->done;

	while (at > m->half->una && m->begins[at] > out)
		at--;
	return at;
}

static inline uint32_t model_first(const struct model *m, uint64_t out)
{
	uint32_t at = (uint32_t)m->half->una;

	while (at < m->half->done && m->begins[at] < out)
		at++;
	return at;
}

/* All three functions, at all positions that are alive. */
static inline int model_positions(const struct model *m)
{
	const struct ipq_stream_half *h = m->half;

	for (uint64_t at = h->una; at <= h->done; at++)
		HOLDS(ipq_stream_output(&m->streams, h, at) == m->begins[at]);
	HOLDS(ipq_stream_output(&m->streams, h, h->done + 5) == m->len + 5);
	for (uint64_t out = h->acked; out + m->text <= m->len; out++) {
		uint64_t at = ipq_stream_original(&m->streams, h, out);
		uint64_t left = ipq_stream_original_left(&m->streams, h, out);

		HOLDS(at == model_last(m, out));
		HOLDS(at < h->una || ipq_stream_output(&m->streams, h, at) <= out);
		HOLDS((left < h->una ? h->una : left) == model_first(m, out));
	}
	return 0;
}

/* A segment, as the sender may send it or send it again, whole or in part. */
static inline int model_segment(const struct model *m, uint32_t a, uint32_t b, uint32_t c,
				uint32_t d)
{
	const struct ipq_stream_half *h = m->half;
	uint64_t span = h->done - h->una;
	uint64_t at = h->una + a % (span + 1), len = b % (h->una + span - at + 1);
	uint64_t first = m->begins[at], last = m->begins[at + len];
	uint64_t from = first + c % (last - first + 1), to = from + d % (last - from + 1);
	uint8_t output[MODEL_OUTPUT];

	memset(output, 0xee, sizeof(output));
	ipq_stream_render(&m->streams, h, at, m->bytes + at, (uint32_t)len, from, to, output);
	HOLDS(memcmp(output, m->output + from, to - from) == 0);
	HOLDS(output[to - from] == 0xee);
	return 0;
}

static inline int model_pass(struct model *m, uint32_t n)
{
	for (; n && m->half->done < MODEL_BYTES && m->len < MODEL_OUTPUT; n--) {
		m->begins[m->half->done] = m->len - m->text;
		m->text = 0;
		m->output[m->len++] = m->bytes[m->half->done++];
		m->begins[m->half->done] = m->len;
	}
	if (m->half->seen < m->half->done)
		m->half->seen = m->half->done;
	return 0;
}

static inline int model_edit(struct model *m, uint32_t removed, uint32_t added, uint32_t seed)
{
	uint32_t at = (uint32_t)m->half->done;
	uint8_t text[MODEL_TEXT];
	int ret;

	removed %= MODEL_BYTES - at + 1;
	added %= MODEL_TEXT;
	if (m->len + added + MODEL_BYTES > MODEL_OUTPUT)
		added = 0;
	for (uint32_t i = 0; i < added; i++)
		text[i] = (uint8_t)(seed + i * 3);
	ret = ipq_stream_edit(&m->streams, m->half, removed, text, added);
	if (ret != 0)
		return m->half->done == at ? 0 : __LINE__;
	memcpy(m->output + m->len, text, added);
	m->len += added;
	m->text += added;
	for (uint32_t i = 0; i < removed; i++) {
		m->begins[at + i] = i ? m->len : m->len - m->text;
		m->begins[at + i + 1] = m->len;
	}
	m->text = removed ? 0 : m->text;
	m->begins[at + removed] = m->len - m->text;
	/* They may have come, or are decided ahead. */
	if (seed & 1)
		m->half->seen = m->half->done;
	return 0;
}

static inline int model_acknowledge(struct model *m, uint32_t n)
{
	uint64_t sent = m->begins[m->half->seen], una = m->half->una;
	uint64_t out = m->half->acked + n % (sent - m->half->acked + 1);
	uint32_t last = model_last(m, out);

	if (last > m->half->seen)
		last = (uint32_t)m->half->seen;

	ipq_stream_acknowledge(&m->streams, m->half, out);
	HOLDS(m->half->acked == out && m->half->una >= una && m->half->una == last);
	/* Text in front of una that is acknowledged belongs to no segment any more. */
	if (ipq_stream_output(&m->streams, m->half, last) == out && m->begins[last] < out)
		m->begins[last] = (uint32_t)out;
	return 0;
}

/* Another process goes on. */
static inline int model_attach(struct model *m)
{
	uint32_t chunks = m->streams.chunks_free;
	uint64_t done = m->half->done;

	ipq_streams_detach(&m->streams);
	HOLDS(ipq_streams_attach(m->memory, m->size, NULL, &m->streams) == 0);
	HOLDS(m->streams.chunks_free == chunks);
	/* It would edit no more. */
	m->half->done = done;
	return 0;
}

/* One step. next(choices) gives a number; what it is for says n. */
static inline int model_step(struct model *m, uint32_t (*next)(void *choices), void *choices)
{
	uint32_t kind = next(choices) % 16, a = next(choices), b = next(choices);

	if (kind < 4)
		return model_pass(m, a % 64);
	if (kind < 6)
		return model_edit(m, 0, a % 32, b);
	if (kind == 6)
		return model_edit(m, a % 40, 0, b);
	if (kind == 7)
		return model_edit(m, a % 8, b, a);
	if (kind < 10)
		return model_acknowledge(m, a);
	if (kind == 10)
		return model_attach(m);
	if (kind < 13)
		return model_positions(m);
	return model_segment(m, a, b, next(choices), next(choices));
}

/* The end: all is acknowledged, and nothing is left of it. */
static inline int model_end(struct model *m)
{
	int ret = model_pass(m, MODEL_BYTES);

	if (ret == 0)
		ret = model_positions(m);
	if (ret == 0 && m->half->done == MODEL_BYTES && !m->text) {
		ret = model_acknowledge(m, m->len - (uint32_t)m->half->acked);
		HOLDS((m->half->alive & 0xffff) == 0);
		HOLDS(m->half->base == (int64_t)m->len - MODEL_BYTES);
		HOLDS(m->streams.chunks_free == m->streams.chunk_count - 1);
	}
	ipq_stream_free(&m->streams, m->stream);
	HOLDS(m->streams.chunks_free == m->streams.chunk_count - 1);
	return ret;
}

#endif
