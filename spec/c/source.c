/* A source in memory for specs and benchmarks: it hands out messages given to it, in batches of
 * given sizes, through the parser that live messages go through. */
#include "lib/queue/messages.h"
#include "lib/queue/queue.h"
#include "lib/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { COMMITTED_HELD_KEPT = 64 };

struct message {
	void *bytes;
	size_t len;
};

struct spec_source {
	struct ipq_source source;
	struct message *messages;
	size_t count, next;
	uint32_t sizes[16]; /* batch sizes, in turn */
	size_t size_count, turn;
	size_t batches; /* left to give */
	bool still;	/* the packets of the last batch again, as they lie */
	uint64_t committed;
	uint64_t committed_held;
	uint64_t kept; /* held packets whose verdicts wait for flush() */
	int flush_error;
	struct ipq_packet
		last_committed_held[COMMITTED_HELD_KEPT]; /* in turn, with bytes of their own */
};

static int receive(struct ipq_source *source, struct ipq_batch *batch)
{
	struct spec_source *s = (struct spec_source *)source;
	uint32_t size;

	if (s->batches == 0)
		return 0;
	s->batches--;
	size = s->sizes[s->turn++ % s->size_count];
	if (s->still) {
		for (uint32_t i = 0; i < size; i++)
			ipq_batch_add(batch);
		return (int)size;
	}
	for (uint32_t i = 0; i < size; i++) {
		struct message *message = &s->messages[s->next++ % s->count];
		uint8_t *slot = batch->slots + (size_t)i * batch->slot_size;

		memcpy(slot, message->bytes, message->len);
		if (ipq_attr_parse(ipq_batch_add(batch), slot, message->len) < 0)
			return -EBADMSG;
	}
	return (int)batch->count;
}

static int commit(struct ipq_source *source, struct ipq_batch *batch)
{
	((struct spec_source *)source)->committed += batch->count;
	return 0;
}

static int commit_held(struct ipq_source *source, struct ipq_batch *batch,
		       struct ipq_packet *packet)
{
	struct spec_source *s = (struct spec_source *)source;

	struct ipq_packet *copy =
		&s->last_committed_held[(s->committed_held + s->kept) % COMMITTED_HELD_KEPT];

	(void)batch;
	free(copy->data);
	*copy = *packet;
	copy->data = malloc(packet->data_len + 1);
	if (!copy->data)
		return -ENOMEM;
	if (packet->data_len)
		memcpy(copy->data, packet->data, packet->data_len);
	if (source->flush)
		s->kept++;
	else
		s->committed_held++;
	return 0;
}

static int flush(struct ipq_source *source)
{
	struct spec_source *s = (struct spec_source *)source;

	if (s->flush_error == 0)
		s->committed_held += s->kept;
	s->kept = 0;
	return s->flush_error;
}

static int stop(struct ipq_source *source)
{
	((struct spec_source *)source)->batches = 0;
	return 0;
}

static void close_(struct ipq_source *source)
{
	struct spec_source *s = (struct spec_source *)source;

	for (size_t i = 0; i < s->count; i++)
		free(s->messages[i].bytes);
	free(s->messages);
	free(s);
}

struct spec_source *spec_source_new(void);
int spec_source_add(struct spec_source *s, const void *bytes, size_t len);
void spec_source_plan(struct spec_source *s, const uint32_t *sizes, size_t size_count,
		      size_t batches);
void spec_source_still(struct spec_source *s, bool still);
void spec_source_keep(struct spec_source *s, int flush_error);
uint64_t spec_source_committed_held(struct spec_source *s);
const struct ipq_packet *spec_source_committed_held_packet(struct spec_source *s, uint64_t number);

struct spec_source *spec_source_new(void)
{
	struct spec_source *s = calloc(1, sizeof(*s));

	if (s)
		s->source = (struct ipq_source){.receive = receive,
						.commit = commit,
						.commit_held = commit_held,
						.stop = stop,
						.close = close_};
	return s;
}

int spec_source_add(struct spec_source *s, const void *bytes, size_t len)
{
	struct message *messages = realloc(s->messages, (s->count + 1) * sizeof(*messages));

	if (!messages)
		return -ENOMEM;
	s->messages = messages;
	messages[s->count].bytes = malloc(len);
	messages[s->count].len = len;
	if (!messages[s->count].bytes)
		return -ENOMEM;
	memcpy(messages[s->count++].bytes, bytes, len);
	return 0;
}

/* The next batches: their sizes in turn, and how many there are. */
void spec_source_plan(struct spec_source *s, const uint32_t *sizes, size_t size_count,
		      size_t batches)
{
	s->size_count = size_count < 16 ? size_count : 16;
	memcpy(s->sizes, sizes, s->size_count * sizeof(*sizes));
	s->turn = 0;
	s->batches = batches;
}

/* From here on no message is copied or parsed: what is left is the filter's own cost. */
void spec_source_still(struct spec_source *s, bool still)
{
	s->still = still;
}

/* From now on verdicts of held packets are sent by flush(), which gives flush_error. */
void spec_source_keep(struct spec_source *s, int flush_error)
{
	s->source.flush = flush;
	s->flush_error = flush_error;
}

/* How many held packets have had their verdict, and number 0, 1, ... of the last 64 as it was
 * then. */
uint64_t spec_source_committed_held(struct spec_source *s)
{
	return s->committed_held;
}

const struct ipq_packet *spec_source_committed_held_packet(struct spec_source *s, uint64_t number)
{
	return &s->last_committed_held[number % COMMITTED_HELD_KEPT];
}

int64_t spec_monotonic_ns(void);
int64_t spec_monotonic_ns(void)
{
	return ipq_monotonic_ns();
}
