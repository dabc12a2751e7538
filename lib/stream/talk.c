/* What listens to a stream: bytes that a handler has not had, and packets that are held. */
#include "talk.h"

#include <endian.h>
#include <stdlib.h>

enum { ROOM_LEAST = 256 };

struct ipq_stream_talk *ipq_stream_talk(struct ipq_streams *streams, uint32_t number)
{
	if (!streams->talks[number])
		streams->talks[number] = calloc(1, sizeof(struct ipq_stream_talk));
	return streams->talks[number];
}

static bool make_room(struct ipq_stream_ear *ear, uint64_t size)
{
	uint64_t room = ear->room ? ear->room : ROOM_LEAST;
	uint8_t *bytes;

	if (size <= ear->room)
		return true;
	while (room < size)
		room *= 2;
	bytes = room <= UINT32_MAX ? realloc(ear->bytes, room) : NULL;
	if (!bytes)
		return false;
	ear->bytes = bytes;
	ear->room = (uint32_t)room;
	return true;
}

void ipq_stream_hear(struct ipq_stream_ear *ear, uint64_t at, const uint8_t *bytes, uint32_t len)
{
	uint64_t end = at + len;

	if (!ipq_stream_before(ear->next, end) || ipq_stream_before(ear->next, at))
		return;
	/* Without memory it is as if they had not come. */
	if (!make_room(ear, end - ear->from))
		return;
	memcpy(ear->bytes + (ear->next - ear->from), bytes + (ear->next - at), end - ear->next);
	ear->next = end;
}

void ipq_stream_move(struct ipq_stream_ear *ear, uint64_t to)
{
	uint64_t left = ipq_stream_before(to, ear->next) ? ear->next - to : 0;

	if (left)
		memmove(ear->bytes, ear->bytes + (to - ear->from), left);
	ear->from = to;
	ear->next = ipq_stream_later(ear->next, to);
	ear->scanned = ipq_stream_later(ear->scanned, to);
	if (left || !ear->bytes)
		return;
	free(ear->bytes);
	ear->bytes = NULL;
	ear->room = 0;
}

bool ipq_stream_is_held(const struct ipq_stream_ear *ear, uint64_t at, uint64_t end)
{
	uint64_t next = at;

	for (const struct ipq_stream_held *held = ear->held; held; held = held->next) {
		if (ipq_stream_before(next, held->at))
			return false;
		next = ipq_stream_later(next, held->end);
		if (!ipq_stream_before(next, end))
			return true;
	}
	return false;
}

/* By its position. */
static void enter(struct ipq_stream_ear *ear, struct ipq_stream_held *held)
{
	struct ipq_stream_held **at = &ear->held;

	while (*at && !ipq_stream_before(held->at, (*at)->at))
		at = &(*at)->next;
	held->next = *at;
	*at = held;
	ear->held_bytes += (uint32_t)(held->end - held->at) + 1;
}

struct ipq_stream_held *ipq_stream_keep(struct ipq_stream_ear *ear,
					const struct ipq_stream_segment *segment, int64_t now_us)
{
	const struct ipq_packet *packet = segment->packet;
	uint32_t ct_len = packet->present & IPQ_HAS_CT ? packet->ct_len : 0;
	struct ipq_stream_held *held = malloc(sizeof(*held) + packet->data_len + ct_len);

	if (!held)
		return NULL;
	held->is_own = false;
	held->grown = NULL;
	held->at = segment->at;
	held->end = segment->end;
	held->since_us = now_us;
	held->packet = *packet;
	held->packet.data = held->bytes;
	memcpy(held->bytes, packet->data, packet->data_len);
	if (ct_len)
		memcpy(held->bytes + packet->data_len, packet->ct, ct_len);
	held->packet.ct = ct_len ? held->bytes + packet->data_len : NULL;
	held->packet.ct_len = (uint16_t)ct_len;
	/* What lies in the packet's slot is gone with it. */
	held->packet.secctx = held->packet.l2hdr = NULL;
	held->packet.secctx_len = held->packet.l2hdr_len = 0;
	held->packet.came = NULL;
	held->packet.why = NULL;
	held->packet.prefix = NULL;
	held->packet.present &= ~(uint32_t)(IPQ_HAS_SECCTX | IPQ_HAS_L2HDR);
	enter(ear, held);
	return held;
}

bool ipq_stream_keep_rest(struct ipq_stream_ear *ear, const struct ipq_stream_segment *segment,
			  uint64_t from, int64_t now_us)
{
	uint32_t passed = (uint32_t)(from - segment->at), seq = htobe32(segment->seq + passed);
	struct ipq_stream_segment rest = *segment;
	struct ipq_stream_held *held;
	struct ipq_packet *packet;
	uint8_t *body;

	rest.at = from;
	held = ipq_stream_keep(ear, &rest, now_us);
	if (!held)
		return false;
	held->is_own = true;
	packet = &held->packet;
	body = packet->data + packet->body;
	memmove(body, body + passed, segment->len - passed);
	packet->data_len = packet->len = packet->body + segment->len - passed;
	packet->end = (uint16_t)packet->data_len;
	memcpy(packet->data + packet->l4 + 4, &seq, sizeof(seq));
	packet->skb_info = 0;
	packet->present &= ~(uint32_t)IPQ_HAS_SKB_INFO;
	packet->set = IPQ_SET_PAYLOAD;
	packet->dirty = IPQ_DIRTY_ALL | IPQ_DIRTY_TRANSPORT;
	packet->unready = IPQ_UNREADY_NONE;
	packet->l4_wrong = 0;
	packet->fix = 1;
	return true;
}

static void gate_free(struct ipq_stream_gate *gate)
{
	if (gate)
		free(gate->bytes);
	free(gate);
}

void ipq_stream_deafen(struct ipq_stream_ear *ear)
{
	while (ear->held) {
		struct ipq_stream_held *held = ear->held;

		ear->held = held->next;
		free(held);
	}
	free(ear->bytes);
	gate_free(ear->gate);
	ipq_stream_unsay(ear, IPQ_STREAM_FAR);
	*ear = (struct ipq_stream_ear){.mode = 0};
}
