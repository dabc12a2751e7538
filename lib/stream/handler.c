/* What a handler does with what its direction says. */
#include "talk.h"

#include <errno.h>
#include <stdlib.h>

static struct ipq_stream *stream_at(struct ipq_streams *streams, uint32_t number)
{
	return number < streams->connections && streams->records[number].state != IPQ_STREAM_NONE
		       ? &streams->records[number]
		       : NULL;
}

static struct ipq_stream_ear *ear_at(struct ipq_streams *streams, uint32_t number,
				     uint32_t direction)
{
	struct ipq_stream_talk *talk =
		number < streams->connections ? streams->talks[number] : NULL;

	return talk ? &talk->ear[direction & 1] : NULL;
}

static bool has_ended(const struct ipq_stream_half *half, const struct ipq_stream_ear *ear)
{
	return half->fin != IPQ_STREAM_FAR && !ipq_stream_before(ear->next, half->fin);
}

/* Bytes up to the end of the line, with what ends it; 0: it has not come. */
static uint64_t line_of(struct ipq_stream_ear *ear)
{
	uint64_t from = ipq_stream_later(ear->scanned, ear->from);
	const uint8_t *start = ear->bytes ? ear->bytes + (from - ear->from) : NULL;
	const uint8_t *end =
		start && from != ear->next ? memchr(start, '\n', ear->next - from) : NULL;

	if (end)
		return (uint64_t)(end - ear->bytes) + 1;
	ear->scanned = ear->next;
	return 0;
}

/* How many bytes are what the handler waits for, as far as they have come; *all: they are all of
 * it. */
static uint64_t heard(const struct ipq_stream_half *half, struct ipq_stream_ear *ear, bool *all)
{
	uint64_t there = ear->next - ear->from, line;

	*all = true;
	if (ear->mode == IPQ_STREAM_PEEK_LINE || ear->mode == IPQ_STREAM_LINE) {
		line = line_of(ear);
		if (line && line <= ear->need) {
			ear->scanned = ear->from;
			return line;
		}
	}
	if (there >= ear->need)
		return ear->need;
	*all = has_ended(half, ear);
	return there;
}

bool ipq_stream_is_ready(const struct ipq_stream_half *half, struct ipq_stream_ear *ear)
{
	bool all;

	if (ear->mode == IPQ_STREAM_DEAF)
		return false;
	if (ear->mode == IPQ_STREAM_ROOM)
		return ipq_stream_count(half) <= IPQ_STREAM_EDITS / 2;
	(void)heard(half, ear, &all);
	return all;
}

uint64_t ipq_stream_undecided(const struct ipq_streams *streams, uint32_t number,
			      uint32_t direction)
{
	const struct ipq_stream_talk *talk = streams->talks[number];
	uint64_t done = streams->records[number].half[direction].done;

	if (!streams->edits || !talk || !ipq_stream_before(done, talk->ear[direction].next))
		return 0;
	return talk->ear[direction].next - done;
}

void ipq_stream_advance(struct ipq_stream_half *half, struct ipq_stream_ear *ear)
{
	bool all;

	if (ear->mode == IPQ_STREAM_READ || ear->mode == IPQ_STREAM_LINE)
		half->done = ipq_stream_later(half->done, ear->from + heard(half, ear, &all));
}

void ipq_stream_turn_back(struct ipq_stream_half *half, struct ipq_stream_ear *ear)
{
	if (half->done == IPQ_STREAM_FAR || !ipq_stream_before(half->fin, half->done) ||
	    !ipq_stream_before(half->fin, ear->from))
		return;
	half->done = half->fin;
	ear->from = ear->next = ear->scanned = half->fin;
}

int ipq_stream_listen(struct ipq_streams *streams, uint32_t number, uint32_t direction)
{
	struct ipq_stream *stream = stream_at(streams, number);
	struct ipq_stream_ear *ear;

	if (!stream || !ipq_stream_talk(streams, number))
		return -ENOMEM;
	ear = ear_at(streams, number, direction);
	*ear = (struct ipq_stream_ear){.mode = IPQ_STREAM_BEGIN, .need = 1};
	stream->half[direction & 1].done = 0;
	return 0;
}

int ipq_stream_ask(struct ipq_streams *streams, uint32_t number, uint32_t direction, uint32_t mode,
		   uint32_t need)
{
	struct ipq_stream *stream = stream_at(streams, number);
	struct ipq_stream_ear *ear = ear_at(streams, number, direction);
	uint64_t n;
	bool all;

	if (!stream || !ear || stream->state == IPQ_STREAM_LOST)
		return 0;
	ear->mode = (uint8_t)mode;
	ear->need = need;
	n = heard(&stream->half[direction & 1], ear, &all);
	ipq_stream_advance(&stream->half[direction & 1], ear);
	return all ? (int)n : -1;
}

const uint8_t *ipq_stream_bytes(struct ipq_streams *streams, uint32_t number, uint32_t direction)
{
	struct ipq_stream_ear *ear = ear_at(streams, number, direction);

	return ear ? ear->bytes : NULL;
}

uint32_t ipq_stream_there(struct ipq_streams *streams, uint32_t number, uint32_t direction)
{
	struct ipq_stream_ear *ear = ear_at(streams, number, direction);

	return ear && ear->bytes && ipq_stream_before(ear->from, ear->next)
		       ? (uint32_t)(ear->next - ear->from)
		       : 0;
}

void ipq_stream_pass(struct ipq_streams *streams, uint32_t number, uint32_t direction, uint64_t n)
{
	struct ipq_stream *stream = stream_at(streams, number);
	struct ipq_stream_ear *ear = ear_at(streams, number, direction);
	uint64_t to;

	if (!stream || !ear)
		return;
	to = n < IPQ_STREAM_FAR - ear->from ? ear->from + n : IPQ_STREAM_FAR;
	stream->half[direction & 1].done = ipq_stream_later(stream->half[direction & 1].done, to);
	ipq_stream_move(ear, to);
	ipq_stream_turn_back(&stream->half[direction & 1], ear);
}

int ipq_stream_change(struct ipq_streams *streams, uint32_t number, uint32_t direction,
		      uint64_t removed, const void *text, uint32_t len)
{
	struct ipq_stream *stream = stream_at(streams, number);
	struct ipq_stream_ear *ear = ear_at(streams, number, direction);
	struct ipq_stream_half *half;
	bool is_first;
	int ret;

	if (!stream || !ear || stream->state == IPQ_STREAM_LOST)
		return -ENOSPC;
	half = &stream->half[direction & 1];
	if (half->done == IPQ_STREAM_FAR)
		return -ERANGE;
	is_first = ipq_stream_is_plain(&stream->half[0]) && ipq_stream_is_plain(&stream->half[1]);
	/* A FIN stays. */
	if (half->fin != IPQ_STREAM_FAR && removed > half->fin - half->done)
		removed = half->fin - half->done;
	if (ipq_stream_count(half) == IPQ_STREAM_EDITS) {
		ear->mode = IPQ_STREAM_ROOM;
		return -EAGAIN;
	}
	ret = ipq_stream_edit(streams, half, removed, text, len);
	if (ret < 0)
		return ret;
	if (is_first && (removed || len))
		streams->counts[IPQ_STREAMS_EDITED]++;
	ipq_stream_move(ear, half->done);
	return 0;
}

bool ipq_stream_is_end(struct ipq_streams *streams, uint32_t number, uint32_t direction)
{
	struct ipq_stream *stream = stream_at(streams, number);
	struct ipq_stream_ear *ear = ear_at(streams, number, direction);

	return !stream || !ear || stream->state == IPQ_STREAM_LOST ||
	       (has_ended(&stream->half[direction & 1], ear) && ear->next == ear->from);
}

static bool is_idle(const struct ipq_stream_half *half, const struct ipq_stream_ear *ear)
{
	return ear->mode == IPQ_STREAM_DEAF && !ear->held && !ear->gate && !ear->said &&
	       ipq_stream_count(half) == 0;
}

void ipq_stream_leave(struct ipq_streams *streams, uint32_t number, uint32_t direction)
{
	struct ipq_stream *stream = stream_at(streams, number);
	struct ipq_stream_ear *ear = ear_at(streams, number, direction);

	if (!stream || !ear)
		return;
	stream->half[direction & 1].done = IPQ_STREAM_FAR;
	ear->mode = IPQ_STREAM_DEAF;
	ipq_stream_move(ear, IPQ_STREAM_FAR);
	ipq_stream_release(streams, stream, direction & 1, false);
	ear = ear_at(streams, number, 0);
	/* The most that there are of open connections have nobody who listens any more. */
	if (ear && is_idle(&stream->half[0], ear) && is_idle(&stream->half[1], ear + 1))
		ipq_stream_end_talk(streams, number);
}

void ipq_stream_reset(struct ipq_streams *streams, uint32_t number)
{
	struct ipq_stream *stream = stream_at(streams, number);

	if (stream && stream->state != IPQ_STREAM_LOST)
		stream->state = IPQ_STREAM_TO_RESET;
}

void ipq_stream_fail(struct ipq_streams *streams, uint32_t number, uint32_t direction,
		     uint32_t policy)
{
	if (policy == IPQ_STREAM_RESETS)
		ipq_stream_reset(streams, number);
	ipq_stream_leave(streams, number, direction);
}

bool ipq_stream_is_heard(const struct ipq_streams *streams, uint32_t number, uint32_t direction)
{
	const struct ipq_stream_talk *talk =
		number < streams->connections ? streams->talks[number] : NULL;

	return talk && talk->ear[direction & 1].mode != IPQ_STREAM_DEAF;
}

void ipq_stream_lose(struct ipq_streams *streams, struct ipq_stream *stream)
{
	uint32_t number = (uint32_t)(stream - streams->records);

	stream->state = IPQ_STREAM_LOST;
	ipq_stream_end_talk(streams, number);
	ipq_stream_clear(streams, stream);
}

void ipq_stream_end_talk(struct ipq_streams *streams, uint32_t number)
{
	struct ipq_stream_talk *talk = streams->talks[number];

	if (!talk)
		return;
	for (uint32_t i = 0; i < 2; i++) {
		ipq_stream_release(streams, &streams->records[number], i, true);
		ipq_stream_deafen(&talk->ear[i]);
	}
	free(talk);
	streams->talks[number] = NULL;
}
