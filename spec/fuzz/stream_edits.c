/* A stream's edits, by operations of any kind against arrays of bytes; and of what a hostile process has left
 * in their memory. */
#include "fuzz.h"
#include "spec/c/stream_model.h"

static uint32_t next(void *choices)
{
	return take16(choices);
}

/* Bytes over the head, the record or the first chunks. */
static void damage(struct model *m, struct input *in)
{
	uint8_t *parts[] = {m->memory, (uint8_t *)m->stream, (uint8_t *)m->streams.chunks};
	uint32_t part = take8(in) % 3, offset = take16(in) % (part == 2 ? 2048 : 256);
	size_t n = 1 + take8(in) % 16;
	const uint8_t *bytes = take(in, &n);

	memcpy(parts[part] + offset, bytes, n);
}

/* Numbers of a damaged memory may be any, and so may what is made of them. */
static void operate(struct model *m, struct input *in)
{
	struct ipq_stream_half *half = m->half;
	uint8_t output[64];
	uint64_t from = take16(in), at = half->una + take8(in);

	switch (take8(in) % 5) {
	case 0:
		(void)ipq_stream_edit(&m->streams, half, take8(in), m->bytes, take16(in) % 512);
		break;
	case 1: ipq_stream_acknowledge(&m->streams, half, half->acked + from); break;
	case 2: ipq_stream_end(&m->streams, half, at); break;
	case 3: half->done += take8(in); break;
	default:
		from += ipq_stream_output(&m->streams, half, at);
		ipq_stream_render(&m->streams, half, at, m->bytes, 300, from, from + 64, output);
		(void)ipq_stream_original(&m->streams, half, from);
		(void)ipq_stream_original_left(&m->streams, half, from);
		break;
	}
}

static void be_hostile(struct model *m, struct input *in)
{
	while (in->len) {
		damage(m, in);
		if (take8(in) & 1) {
			ipq_streams_detach(&m->streams);
			if (ipq_streams_attach(m->memory, m->size, NULL, &m->streams) < 0)
				return;
		}
		operate(m, in);
	}
	ipq_stream_free(&m->streams, m->stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct model *m = malloc(sizeof(*m));
	struct input in = {bytes, len};
	int is_hostile = take8(&in) & 1, line;

	CHECK(m && model_new(m) == 0);
	for (line = 0; line == 0 && in.len > (is_hostile ? len / 2 : 0);)
		line = model_step(m, next, &in);
	if (line == 0 && is_hostile)
		be_hostile(m, &in);
	else if (line == 0)
		line = model_end(m);
	if (line)
		dprintf(2, "stream_model.h:%d\n", line);
	CHECK(line == 0);
	model_free(m);
	free(m);
	return 0;
}
