/* What a fuzz target of streams works with: flows and streams in memory, an outbox, a handler for each direction
 * that does as the input says, and what a receiver is to get of that, as bytes. */
#ifndef IPQ_FUZZ_STREAM_WORLD_H
#define IPQ_FUZZ_STREAM_WORLD_H

#include "fuzz.h"
#include "lib/flow/flow.h"
#include "lib/send/send.h"
#include "lib/stream/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter.h>

#define FAR    (UINT64_C(1) << 62)
#define NOBODY UINT32_MAX

enum {
	ENTRIES = 8,
	CONNECTIONS = 6,
	IDS = 8192,
	SAID_MOST = 3000,
	OUTPUT_MOST = 1 << 14,
	STEPS = 40, /* of a handler before it has to wait */
	NOTHING = 0xff
};

/* What becomes of one direction. */
struct handler {
	uint8_t waits; /* enum ipq_stream_wait that it has asked for; NOTHING */
	uint32_t need;
	uint32_t removed; /* of a change that waits for room */
	uint32_t added;
	bool is_changing;
	bool has_left;
	/* What its receiver gets, up to the original position at. */
	uint64_t at;
	uint64_t size; /* bytes that its sender says */
	uint32_t len;
	uint8_t output[OUTPUT_MOST];
};

struct world {
	struct ipq_flows flows;
	struct ipq_streams streams;
	struct ipq_batch batch;
	struct ipq_packet packet;
	struct ipq_outbox *outbox;
	void *flow_memory;
	void *memory;
	size_t size;
	uint8_t *spare;
	struct input in;
	struct handler handlers[2];
	/* A packet goes on to its receiver. */
	void (*deliver)(struct world *w, const uint8_t *bytes, uint32_t len);
	bool is_hostile;
	uint8_t refuses; /* one of so many packets cannot be held; 0: none */
	uint32_t ids;
	uint32_t held;
	uint8_t is_held[IDS];
};

/* What an end says at a position. */
static inline uint8_t said(uint32_t direction, uint64_t at)
{
	return at % 37 == 36 ? '\n' : (uint8_t)('A' + direction * 32 + at % 26);
}

static inline int world_hold(void *owner, struct ipq_packet *packet)
{
	struct world *w = owner;

	CHECK(!packet->held && w->ids + 1 < IDS);
	if (w->refuses && w->ids % w->refuses == 0) {
		w->refuses = 0;
		return -ENOSPC;
	}
	packet->held = 1;
	packet->packet_id = ++w->ids;
	w->is_held[packet->packet_id] = 1;
	w->held++;
	return 0;
}

static inline void world_commit(void *owner, struct ipq_packet *packet)
{
	struct world *w = owner;

	CHECK(packet->packet_id < IDS && w->is_held[packet->packet_id] == 1);
	w->is_held[packet->packet_id] = 2;
	w->held--;
	if (packet->verdict != IPQ_DROP)
		w->deliver(w, packet->data, packet->data_len);
}

static inline void world_attach(struct world *w)
{
	struct ipq_streams before = w->streams;
	int ret = ipq_streams_attach(w->memory, w->size, &w->flows, &w->streams);

	CHECK(w->is_hostile || ret == 0);
	if (ret < 0) {
		CHECK(ipq_streams_init(w->memory, w->size, CONNECTIONS) == 0);
		CHECK(ipq_streams_attach(w->memory, w->size, &w->flows, &w->streams) == 0);
	}
	w->streams.outbox = w->outbox;
	w->streams.hold = world_hold;
	w->streams.commit = world_commit;
	w->streams.owner = w;
	w->streams.now_us = before.now_us;
	w->streams.hold_us = 250000;
	w->streams.peek_most = 512;
	w->streams.buffer_most = 4096;
	w->streams.headroom = 64;
	w->streams.edits = before.edits;
	w->streams.on_limit = before.on_limit;
}

static inline void world_new(struct world *w)
{
	static const uint8_t key[IPQ_FLOW_KEY_SIZE] = {1, 2, 3};
	size_t size = ipq_flows_size(ENTRIES);

	w->flow_memory = aligned_alloc(128, size);
	w->size = ipq_streams_size(CONNECTIONS);
	w->memory = aligned_alloc(256, w->size);
	w->spare = malloc(IPQ_PACKET_MAX);
	CHECK(w->flow_memory && w->memory && w->spare);
	memset(w->flow_memory, 0xa5, size);
	memset(w->memory, 0xa5, w->size);
	CHECK(ipq_flows_init(w->flow_memory, size, ENTRIES, key) == 0);
	CHECK(ipq_flows_attach(w->flow_memory, size, &w->flows) == 0);
	w->batch.packets = &w->packet;
	w->batch.count = 1;
	CHECK(ipq_outbox_new(&w->outbox, &w->batch, 0) == 0);
	w->outbox->reject_rate = 0;
	w->flows.wants_ended = 1;
	CHECK(ipq_streams_init(w->memory, w->size, CONNECTIONS) == 0);
	world_attach(w);
}

static inline void world_free(struct world *w)
{
	ipq_streams_detach(&w->streams);
	CHECK(w->held == 0);
	ipq_outbox_free(w->outbox);
	free(w->spare);
	free(w->memory);
	free(w->flow_memory);
}

/* Passes what is said up to that position. */
static inline void refer(struct handler *h, uint32_t direction, uint64_t to)
{
	if (to > h->size)
		to = h->size;
	/* Of what a hostile end says nothing is known. */
	if (h->size == FAR)
		return;
	for (; h->at < to; h->at++) {
		CHECK(h->len < OUTPUT_MOST);
		h->output[h->len++] = said(direction, h->at);
	}
}

static inline void refer_end(struct world *w, uint32_t direction)
{
	struct handler *h = &w->handlers[direction];

	if (w->is_hostile)
		return;
	if (!h->has_left)
		refer(h, direction, h->size);
	h->has_left = true;
	h->is_changing = false;
	h->waits = NOTHING;
}

/* Whether the change has been made, or cannot be. */
static inline bool change(struct world *w, uint32_t number, uint32_t direction)
{
	struct handler *h = &w->handlers[direction];
	uint8_t text[512];
	int ret;

	for (uint32_t i = 0; i < h->added; i++)
		text[i] = (uint8_t)('0' + i % 10);
	ret = ipq_stream_change(&w->streams, number, direction, h->removed, text, h->added);
	h->is_changing = ret == -EAGAIN;
	if (ret != 0)
		return ret != -EAGAIN;
	/* What is said behind the end goes out in front of it. */
	if (!w->is_hostile && h->len + h->added + SAID_MOST < OUTPUT_MOST) {
		memcpy(h->output + h->len, text, h->added);
		h->len += h->added;
	}
	/* Where the end is known no more is removed. */
	h->at = w->streams.records[number].half[direction].done;
	return true;
}

/* What it has asked for has come. Whether it has. */
static inline bool hear(struct world *w, uint32_t number, uint32_t direction)
{
	struct handler *h = &w->handlers[direction];
	int n = ipq_stream_ask(&w->streams, number, direction, h->waits, h->need);
	const uint8_t *bytes = ipq_stream_bytes(&w->streams, number, direction);

	if (n < 0)
		return false;
	CHECK((uint32_t)n <= h->need);
	for (int i = 0; i < n; i++)
		CHECK(bytes[i] == said(direction, h->at + (uint64_t)i) || w->is_hostile);
	if (h->waits == IPQ_STREAM_READ || h->waits == IPQ_STREAM_LINE) {
		ipq_stream_pass(&w->streams, number, direction, (uint64_t)n);
		refer(h, direction, h->at + (uint64_t)n);
	}
	h->waits = NOTHING;
	return true;
}

/* What it does next. Whether it goes on. */
static inline bool choose(struct world *w, uint32_t number, uint32_t direction)
{
	struct handler *h = &w->handlers[direction];
	uint8_t what = take8(&w->in), n = take8(&w->in);
	uint64_t to = h->at + n;

	switch (what % 16) {
	case 0:
	case 1:
		if (!w->in.len || n < 8) {
			ipq_stream_leave(&w->streams, number, direction);
			refer_end(w, direction);
			return false;
		}
		break;
	case 2:
		if (n >= 250 || w->is_hostile)
			ipq_stream_reset(&w->streams, number);
		break;
	case 3:
	case 4:
		ipq_stream_pass(&w->streams, number, direction, n);
		refer(h, direction, h->at + n);
		h->at = to;
		break;
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
		if (!w->streams.edits || h->len + 1024 + SAID_MOST > OUTPUT_MOST)
			break;
		h->removed = what & 16 ? n : 0;
		h->added = what & 32 ? n & 15 : what & 64 ? n * 2U : 0;
		h->is_changing = true;
		break;
	default:
		h->waits = IPQ_STREAM_PEEK + what % 4;
		h->need = 1 + n % (what & 16 ? 8 : 200);
		break;
	}
	return true;
}

static inline void run(struct world *w, uint32_t number, uint32_t direction)
{
	struct handler *h = &w->handlers[direction];

	for (uint32_t i = 0; i < STEPS; i++) {
		if (h->is_changing) {
			if (!change(w, number, direction))
				return;
		} else if (h->waits != NOTHING) {
			if (!hear(w, number, direction))
				return;
		} else if (!choose(w, number, direction)) {
			return;
		}
	}
	ipq_stream_leave(&w->streams, number, direction);
	refer_end(w, direction);
}

/* Handlers run until they wait. The handlers are those of all streams; where there is one they are its own. */
static inline void wake(struct world *w, uint32_t number)
{
	uint32_t direction, turns = 0;

	while ((direction = ipq_streams_woken(&w->streams, number)) != NOBODY) {
		CHECK(turns++ < 1000);
		CHECK(direction < 2);
		run(w, number, direction);
	}
}

/* Handlers that were ended by a limit. */
static inline void look(struct world *w, uint32_t number)
{
	for (uint32_t i = 0; i < 2; i++)
		if (!ipq_stream_is_heard(&w->streams, number, i))
			refer_end(w, i);
}

/* A packet comes to the queue. */
static inline void judge(struct world *w, const uint8_t *bytes, uint32_t len,
			 struct ipq_packet like)
{
	struct ipq_packet *p = &w->packet;
	uint8_t *data = own(bytes, len);
	int ret, number;

	*p = like;
	p->data = data;
	p->data_len = len;
	p->len = like.len > len ? like.len : len;
	p->spare = w->spare;
	p->verdict = IPQ_ACCEPT;
	p->fix = 1;
	p->family = len && bytes[0] >> 4 == 6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
	(void)ipq_flows_packet(&w->flows, p, w->streams.now_us);
	ret = ipq_streams_packet(&w->streams, p);
	if (ret == IPQ_STREAM_ASK) {
		number = ipq_stream_open(&w->streams, p);
		for (uint32_t i = 0; number >= 0 && i < 2; i++)
			if (!w->handlers[i].has_left)
				CHECK(ipq_stream_listen(&w->streams, (uint32_t)number, i) == 0);
		ret = number < 0 ? IPQ_STREAM_DONE : ipq_streams_packet(&w->streams, p);
	}
	if (ret == IPQ_STREAM_WAKE) {
		wake(w, ipq_streams_number(&w->streams, p));
		ret = ipq_streams_settle(&w->streams, p);
	}
	CHECK(ret <= IPQ_STREAM_DONE && ret > -100);
	CHECK(w->is_hostile || ret == 0);
	if (ret == 0 && !p->held && p->verdict != IPQ_DROP && p->set & IPQ_SET_PAYLOAD)
		ret = ipq_rewrite_finish(p);
	CHECK(w->is_hostile || ret == 0);
	if (ret == 0 && !p->held && p->verdict != IPQ_DROP)
		w->deliver(w, p->data, p->data_len);
	for (uint32_t i = 0; i < w->outbox->count; i++)
		w->deliver(w, w->outbox->sent[i].data, w->outbox->sent[i].len);
	ipq_outbox_clear(w->outbox);
	free(data);
}

static inline void end_flows(struct world *w)
{
	const struct ipq_flow_ended *ended;

	while ((ended = ipq_flows_ended(&w->flows)) != NULL) {
		ipq_streams_ended(&w->streams, ended);
		ipq_flows_ended_taken(&w->flows);
	}
}

static inline void overdue(struct world *w)
{
	uint32_t number, direction, turns = 0;

	while ((number = ipq_streams_overdue(&w->streams, &direction)) != NOBODY) {
		CHECK(turns++ < 100);
		ipq_stream_fail(&w->streams, number, direction, w->streams.on_limit);
		look(w, number);
	}
	for (uint32_t i = 0; i < w->outbox->count; i++)
		w->deliver(w, w->outbox->sent[i].data, w->outbox->sent[i].len);
	ipq_outbox_clear(w->outbox);
}

#endif
