/* The memory of streams: made, taken over, made sound. */
#include "talk.h"
#include "lib/flow/flow.h"

#include <errno.h>
#include <stdlib.h>

enum { VERSION = 1, CHUNKS_EACH = 3 };

/* "ipqstrms" */
#define MAGIC UINT64_C(0x736d727473717069)

size_t ipq_streams_size(uint32_t connections)
{
	if (!connections || connections > IPQ_STREAMS_MOST)
		return 0;
	return IPQ_STREAM_HEAD_SIZE + (size_t)connections * sizeof(struct ipq_stream) +
	       ((size_t)connections * CHUNKS_EACH + 1) * CHUNK_SIZE;
}

uint32_t ipq_streams_connections(size_t size)
{
	const size_t least = IPQ_STREAM_HEAD_SIZE + CHUNK_SIZE;
	const size_t each = sizeof(struct ipq_stream) + (size_t)CHUNKS_EACH * CHUNK_SIZE;
	size_t connections = size > least ? (size - least) / each : 0;

	return connections < IPQ_STREAMS_MOST ? (uint32_t)connections : IPQ_STREAMS_MOST;
}

int ipq_streams_init(void *memory, size_t size, uint32_t connections)
{
	struct ipq_stream_head *head = memory;

	if (!ipq_streams_size(connections) || ipq_streams_size(connections) > size ||
	    (uintptr_t)memory % CHUNK_SIZE != 0)
		return -EINVAL;
	memset(head, 0, IPQ_STREAM_HEAD_SIZE);
	head->version = VERSION;
	head->connections = connections;
	head->chunk_count = connections * CHUNKS_EACH + 1;
	head->chunks_used = NO_CHUNK + 1;
	ipq_stream_order();
	head->magic = MAGIC;
	return 0;
}

static bool is_ours(const struct ipq_stream_head *head, size_t size)
{
	uint32_t connections = head->connections;

	return head->magic == MAGIC && head->version == VERSION && ipq_streams_size(connections) &&
	       ipq_streams_size(connections) <= size &&
	       head->chunk_count == connections * CHUNKS_EACH + 1;
}

/* Which chunks are somebody's: a byte each. */
struct claims {
	const struct ipq_streams *streams;
	uint8_t *taken;
	uint32_t count;
};

static bool claim(struct claims *claims, uint32_t number)
{
	if (!ipq_stream_chunk(claims->streams, number) || claims->taken[number])
		return false;
	claims->taken[number] = 1;
	claims->count++;
	return true;
}

static bool claim_text(struct claims *claims, const struct ipq_stream_edit *edit)
{
	uint32_t number = edit->text;

	for (uint64_t done = 0; done < edit->added; done += CHUNK_TEXT) {
		if (!claim(claims, number))
			return false;
		number = ipq_stream_chunk(claims->streams, number)->text.next;
	}
	return true;
}

/* The chunks that a ring is in. Those that it cannot have are none of it. */
static void claim_ring(struct claims *claims, struct ipq_stream_half *half)
{
	for (uint32_t i = 0; i < 2; i++) {
		union ipq_stream_chunk *list;

		if (!claim(claims, half->ring[i]))
			half->ring[i] = NO_CHUNK;
		list = ipq_stream_chunk(claims->streams, half->ring[i]);
		for (uint32_t j = 0; list && j < CHUNK_NUMBERS; j++)
			if (!claim(claims, list->numbers[j]))
				list->numbers[j] = NO_CHUNK;
	}
}

/* Whether a half's edits follow from each other, and their text is there. */
static bool claim_half(struct claims *claims, struct ipq_stream_half *half)
{
	uint64_t at, out;

	claim_ring(claims, half);
	for (uint32_t i = 0; i < ipq_stream_count(half); i++) {
		const struct ipq_stream_edit *edit = ipq_stream_edit_at(claims->streams, half, i);

		if (!edit)
			return false;
		if (i == 0)
			half->base = (int64_t)(edit->out - edit->at);
		else if (edit->at < at || edit->out - out != edit->at - at)
			return false;
		if (edit->at >= IPQ_STREAM_FAR || edit->removed >= IPQ_STREAM_FAR ||
		    !claim_text(claims, edit))
			return false;
		at = edit->at + edit->removed;
		out = edit->out + edit->added;
	}
	return true;
}

/* Whether it is a stream of a flow that there is. */
static bool is_live(struct ipq_flows *flows, const struct ipq_stream *stream)
{
	return stream->state != IPQ_STREAM_NONE && stream->state < IPQ_STREAM_STATES &&
	       (!flows || ipq_flows_find(flows, stream->flow, stream->generation));
}

static void forget(struct ipq_streams *streams, struct ipq_stream *stream)
{
	uint32_t number = (uint32_t)(stream - streams->records);

	stream->state = IPQ_STREAM_NONE;
	stream->flow = streams->free_record;
	streams->free_record = number;
}

/* What is left of a stream whose edits cannot be told: neither end can be understood by the other
 * any more. */
static void lose(struct ipq_stream *stream)
{
	stream->state = IPQ_STREAM_LOST;
	ipq_stream_order();
	memset(stream->half, 0, sizeof(stream->half));
}

/* Whoever has listened does no more. */
static void go_on(struct ipq_streams *streams, struct ipq_stream *stream, uint32_t number)
{
	stream->half[0].done = IPQ_STREAM_FAR;
	stream->half[1].done = IPQ_STREAM_FAR;
	if (stream->flow < streams->flow_count)
		streams->of_flow[stream->flow] = number + 1;
}

static int claim_streams(struct ipq_streams *streams, struct claims *claims,
			 struct ipq_flows *flows)
{
	int lost = 0;

	/* From the last one on, so that the first ones are used first. */
	for (uint32_t i = streams->head->used; i-- > 0;) {
		struct ipq_stream *stream = &streams->records[i];

		if (!is_live(flows, stream)) {
			forget(streams, stream);
			continue;
		}
		if (!claim_half(claims, &stream->half[0]) ||
		    !claim_half(claims, &stream->half[1])) {
			lose(stream);
			lost++;
		}
		go_on(streams, stream, i);
	}
	return lost;
}

static void free_others(struct ipq_streams *streams, const struct claims *claims)
{
	streams->chunks_free = streams->chunk_count - 1 - claims->count;
	streams->free_chunk = NO_CHUNK;
	for (uint32_t i = streams->head->chunks_used; i-- > NO_CHUNK + 1;)
		if (!claims->taken[i]) {
			streams->chunks[i].text.next = streams->free_chunk;
			streams->free_chunk = i;
		}
}

/* What is the process' alone. */
static bool make_own(struct ipq_streams *streams, struct ipq_flows *flows)
{
	streams->counts = streams->own_counts;
	streams->flows = flows;
	streams->flow_count = flows ? flows->entries : 0;
	streams->of_flow = calloc(streams->flow_count + 1, sizeof(*streams->of_flow));
	streams->talks = calloc(streams->connections, sizeof(struct ipq_stream_talk *));
	streams->scratch = malloc(SCRATCH_SIZE);
	streams->spare = malloc(IPQ_PACKET_MAX);
	return streams->of_flow && streams->talks && streams->scratch && streams->spare;
}

int ipq_streams_attach(void *memory, size_t size, struct ipq_flows *flows,
		       struct ipq_streams *streams)
{
	struct ipq_stream_head *head = memory;
	struct claims claims = {.streams = streams};
	int lost;

	if (size < IPQ_STREAM_HEAD_SIZE || !is_ours(head, size))
		return -EINVAL;
	*streams = (struct ipq_streams){
		.head = head,
		.records = (struct ipq_stream *)((char *)memory + IPQ_STREAM_HEAD_SIZE),
		.connections = head->connections,
		.chunk_count = head->connections * CHUNKS_EACH + 1,
		.free_record = IPQ_STREAM_NOBODY,
	};
	streams->chunks = (union ipq_stream_chunk *)(streams->records + streams->connections);
	if (head->used > streams->connections)
		head->used = streams->connections;
	if (head->chunks_used > streams->chunk_count || head->chunks_used == NO_CHUNK)
		head->chunks_used = streams->chunk_count;
	claims.taken = calloc(streams->chunk_count, 1);
	if (!claims.taken || !make_own(streams, flows)) {
		free(claims.taken);
		ipq_streams_detach(streams);
		return -ENOMEM;
	}
	lost = claim_streams(streams, &claims, flows);
	streams->counts[IPQ_STREAMS_LOST] += (uint64_t)lost;
	free_others(streams, &claims);
	free(claims.taken);
	return lost;
}

struct ipq_stream *ipq_stream_new(struct ipq_streams *streams)
{
	uint32_t number = streams->free_record;
	struct ipq_stream *stream;

	if (number < streams->connections) {
		streams->free_record = streams->records[number].flow;
	} else {
		number = streams->head->used;
		if (number >= streams->connections)
			return NULL;
		streams->head->used = number + 1;
	}
	stream = &streams->records[number];
	memset(stream, 0, sizeof(*stream));
	return stream;
}

static void free_half(struct ipq_streams *streams, struct ipq_stream_half *half)
{
	for (uint32_t i = 0; i < ipq_stream_count(half); i++) {
		const struct ipq_stream_edit *edit = ipq_stream_edit_at(streams, half, i);

		if (edit)
			ipq_stream_text_free(streams, edit->text, edit->added);
	}
	ipq_stream_ring_free(streams, half);
}

void ipq_stream_clear(struct ipq_streams *streams, struct ipq_stream *stream)
{
	free_half(streams, &stream->half[0]);
	free_half(streams, &stream->half[1]);
}

void ipq_stream_free(struct ipq_streams *streams, struct ipq_stream *stream)
{
	stream->state = IPQ_STREAM_NONE;
	ipq_stream_order();
	ipq_stream_clear(streams, stream);
	forget(streams, stream);
}

void ipq_streams_detach(struct ipq_streams *streams)
{
	for (uint32_t i = 0; streams->talks && i < streams->connections; i++)
		ipq_stream_end_talk(streams, i);
	while (streams->shown)
		ipq_streams_seen(streams);
	free(streams->talks);
	free(streams->of_flow);
	free(streams->scratch);
	free(streams->spare);
	streams->talks = NULL;
	streams->of_flow = NULL;
	streams->scratch = streams->spare = NULL;
}
