/* The way of a packet through its stream. */
#include "talk.h"
#include "lib/flow/flow.h"
#include "lib/send/send.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

/* The largest window. (RFC 7323 section 2.3) */
#define REACH (UINT64_C(1) << 30)

enum {
	WAITS_MOST = 1 << 20, /* bytes of a direction that are held */
	FIN_REACH = 1 << 16   /* how far a FIN may lie behind the receiver's window */
};

static uint32_t number_of(struct ipq_streams *streams, uint32_t flow, uint32_t generation)
{
	uint32_t number = flow < streams->flow_count ? streams->of_flow[flow] : 0;
	struct ipq_stream *stream;

	if (!number || number > streams->connections)
		return IPQ_STREAM_NOBODY;
	stream = &streams->records[number - 1];
	if (stream->state != IPQ_STREAM_NONE && stream->flow == flow &&
	    stream->generation == generation)
		return number - 1;
	return IPQ_STREAM_NOBODY;
}

/* Another flow has its record now, or it has begun anew. */
void ipq_stream_forget(struct ipq_streams *streams, uint32_t flow)
{
	uint32_t number = streams->of_flow[flow];

	streams->of_flow[flow] = 0;
	if (!number || number > streams->connections)
		return;
	ipq_stream_end_talk(streams, number - 1);
	if (streams->records[number - 1].flow != flow)
		return;
	ipq_stream_tell_end(streams, &streams->records[number - 1]);
	ipq_stream_free(streams, &streams->records[number - 1]);
}

uint32_t ipq_streams_number(struct ipq_streams *streams, const struct ipq_packet *packet)
{
	uint32_t flow = packet->flow_number - 1, number;

	if (!packet->flow_number || flow >= streams->flow_count || !streams->of_flow[flow])
		return IPQ_STREAM_NOBODY;
	number = number_of(streams, flow, streams->flows->records[flow].generation);
	if (number == IPQ_STREAM_NOBODY)
		ipq_stream_forget(streams, flow);
	return number;
}

bool ipq_streams_reset_flow(struct ipq_streams *streams, uint32_t flow, uint32_t generation)
{
	uint32_t number = number_of(streams, flow, generation);

	if (number == IPQ_STREAM_NOBODY)
		return false;
	ipq_stream_reset(streams, number);
	return true;
}

/* The packet of a connection that was reset, or lost: each end is told when it speaks. */
static int refuse(struct ipq_streams *streams, struct ipq_packet *packet)
{
	if (streams->outbox)
		(void)ipq_outbox_reject(streams->outbox, packet, IPQ_REJECT_TCP_RESET, NULL);
	ipq_stream_drop(packet);
	return IPQ_STREAM_DONE;
}

static bool is_damaged(struct ipq_packet *packet)
{
	return packet->present & IPQ_HAS_SKB_INFO && packet->skb_info & IPQ_SKB_CSUM_NOTVERIFIED &&
	       ipq_sums_wrong(packet) & IPQ_SUM_WRONG_TRANSPORT;
}

static bool is_edited(const struct ipq_stream *stream)
{
	return !ipq_stream_is_plain(&stream->half[0]) || !ipq_stream_is_plain(&stream->half[1]);
}

/* A segment that is none, or says what cannot be: its receiver would take no notice of it. Where
 * nothing is translated it is for the receiver to say. */
static int leave(struct ipq_streams *streams, struct ipq_packet *packet,
		 const struct ipq_stream *stream)
{
	if (!is_edited(stream))
		return IPQ_STREAM_DONE;
	streams->counts[IPQ_STREAMS_DROPPED]++;
	ipq_stream_drop(packet);
	return IPQ_STREAM_DONE;
}

/* What the segment says of the other direction. */
static void acknowledge(struct ipq_streams *streams, const struct ipq_stream_segment *segment)
{
	struct ipq_stream_half *half = segment->other;
	uint64_t out;

	if (!(segment->flags & TH_ACK) || segment->stream->state != IPQ_STREAM_ESTABLISHED)
		return;
	out = ipq_stream_position(half->acked, half->isn, segment->ack);
	if (ipq_stream_before(half->sent, out))
		return;
	ipq_stream_acknowledge(streams, half, out);
	if (streams->talks[segment->number])
		ipq_stream_unsay(&streams->talks[segment->number]->ear[!segment->direction],
				 half->una);
	half->edge = ipq_stream_later(half->edge,
				      out + ((uint64_t)segment->window << ipq_stream_scale(half)));
	ipq_stream_pump(streams, segment->stream, !segment->direction, segment->packet);
}

/* So much is held, behind a gap, until the receiver has acknowledged more, or in pieces that
 * overlap, that the sender is to slow down, and repeats it. */
static bool is_full(const struct ipq_stream_ear *ear)
{
	return ear->held_bytes > WAITS_MOST;
}

/* What the handler gets is kept where nobody may get other bytes in its place. Without room for it
 * the connection is reset. */
static void hear(struct ipq_streams *streams, const struct ipq_stream_segment *segment, uint64_t at,
		 const uint8_t *bytes, uint32_t len)
{
	struct ipq_stream_ear *ear = segment->ear;
	uint64_t before = ear->next;

	ipq_stream_hear(ear, at, bytes, len);
	if (streams->on_limit != IPQ_STREAM_RESETS || ear->next == before ||
	    ipq_stream_note(ear, before, bytes + (before - at), (uint32_t)(ear->next - before)))
		return;
	streams->counts[IPQ_STREAMS_LIMITED]++;
	ipq_stream_reset(streams, segment->number);
}

/* Takes note of what it brings, and has the handler hear what it has not heard. */
static void receive(struct ipq_streams *streams, const struct ipq_stream_segment *segment)
{
	struct ipq_stream_half *half = segment->half;
	struct ipq_stream_ear *ear = segment->ear;
	const struct ipq_packet *packet = segment->packet;

	half->seen = ipq_stream_later(half->seen, segment->end);
	if (segment->flags & TH_FIN && half->fin == IPQ_STREAM_FAR)
		ipq_stream_end(streams, half, segment->end - 1);
	if (!ear || ear->mode == IPQ_STREAM_DEAF || (ear->mode == IPQ_STREAM_ROOM && is_full(ear)))
		return;
	ipq_stream_turn_back(half, ear);
	hear(streams, segment, segment->at, packet->data + packet->body, segment->len);
	for (const struct ipq_stream_held *held = ear->held; held; held = held->next)
		hear(streams, segment, held->at, held->packet.data + held->packet.body,
		     (uint32_t)held->packet.end - held->packet.body);
	ipq_stream_advance(half, ear);
}

/* False: it is dropped, and its sender repeats it. */
static bool hold(struct ipq_streams *streams, const struct ipq_stream_segment *segment)
{
	struct ipq_stream_ear *ear = segment->ear;

	if (ipq_stream_is_held(ear, segment->at, segment->end) ||
	    streams->hold(streams->owner, segment->packet) != 0)
		return false;
	if (!ipq_stream_keep(ear, segment, streams->now_us)) {
		ipq_stream_drop(segment->packet);
		streams->commit(streams->owner, segment->packet);
		return true;
	}
	if (ear->held && !ear->held->next)
		streams->holding++;
	return true;
}

static bool is_decided(const struct ipq_stream_segment *segment)
{
	/* Where nobody listens nothing is undecided, whatever the memory says. */
	return !segment->ear || segment->at == segment->end ||
	       !ipq_stream_before(segment->half->done, segment->end);
}

/* Both ends are told, and nothing is known of the connection any more. */
static void reset(struct ipq_streams *streams, struct ipq_stream_segment *segment)
{
	struct ipq_stream *stream = segment->stream;

	if (streams->outbox) {
		(void)ipq_outbox_reject(streams->outbox, segment->packet, IPQ_REJECT_TCP_RESET,
					NULL);
		ipq_stream_send_reset(streams, segment);
	}
	ipq_stream_drop(segment->packet);
	ipq_stream_lose(streams, stream);
	streams->counts[IPQ_STREAMS_RESET]++;
}

/* Keeps what was held until it was seen. Its bytes must not be where the next one's will be. */
static void show(struct ipq_streams *streams, struct ipq_stream_held *held)
{
	struct ipq_packet *packet = &held->packet;

	if (packet->data == streams->spare) {
		held->grown = malloc(packet->data_len);
		if (!held->grown) {
			free(held);
			return;
		}
		memcpy(held->grown, packet->data, packet->data_len);
		packet->data = held->grown;
	}
	held->next = NULL;
	*(streams->last_shown ? &streams->last_shown->next : &streams->shown) = held;
	streams->last_shown = held;
}

/* A held packet has a verdict, and is finished: it gets it, or is sent if no queue waits for it. */
static void commit(struct ipq_streams *streams, struct ipq_stream_held *held)
{
	struct ipq_packet *packet = &held->packet;

	if (!held->is_own) {
		if (packet->set & IPQ_SET_PAYLOAD && packet->fix && ipq_rewrite_finish(packet) < 0)
			ipq_stream_drop(packet);
		streams->commit(streams->owner, packet);
	} else if (packet->verdict != IPQ_DROP && streams->outbox) {
		(void)ipq_outbox_packet(streams->outbox, packet, packet);
		streams->counts[IPQ_STREAMS_INJECTED]++;
	}
	if (!streams->shows || held->is_own) {
		free(held);
		return;
	}
	show(streams, held);
}

static void release(struct ipq_streams *streams, struct ipq_stream *stream, uint32_t direction,
		    struct ipq_stream_held *held, bool is_dropped)
{
	struct ipq_packet *packet = &held->packet;
	struct ipq_stream_segment segment;

	packet->spare = streams->spare;
	packet->flow_direction = (uint8_t)direction;
	if (is_dropped || !ipq_stream_read(streams, packet, stream, &segment)) {
		ipq_stream_drop(packet);
	} else if (stream->state == IPQ_STREAM_TO_RESET) {
		reset(streams, &segment);
	} else {
		segment.is_own = segment.is_cut = held->is_own;
		if (ipq_stream_emit(streams, &segment) < 0)
			ipq_stream_drop(packet);
	}
	commit(streams, held);
}

void ipq_stream_release(struct ipq_streams *streams, struct ipq_stream *stream, uint32_t direction,
			bool is_dropped)
{
	const uint32_t number = (uint32_t)(stream - streams->records);
	struct ipq_stream_held *held;

	/* Where one of them has its connection reset nothing is left of the others. */
	while (streams->talks[number] &&
	       (held = streams->talks[number]->ear[direction].held) != NULL &&
	       (is_dropped || !ipq_stream_before(stream->half[direction].done, held->end))) {
		struct ipq_stream_ear *ear = &streams->talks[number]->ear[direction];

		ear->held = held->next;
		ear->held_bytes -= (uint32_t)(held->end - held->at) + 1;
		if (!ear->held)
			streams->holding--;
		release(streams, stream, direction, held, is_dropped);
	}
}

/* Whether something that was held has come before what lies in front of it. */
static bool has_gap(const struct ipq_stream_ear *ear)
{
	const struct ipq_stream_held *held = ear->held;

	while (held && held->next)
		held = held->next;
	return held && ipq_stream_before(ear->next, held->end);
}

/* What is decided of a segment goes, and what is not is kept: a sender with a small window sends
 * the rest of a line when that is acknowledged. */
static int divide(struct ipq_streams *streams, struct ipq_stream_segment *segment)
{
	struct ipq_packet *packet = segment->packet;
	uint64_t done = segment->half->done;
	uint32_t len = (uint32_t)(done - segment->at);
	bool was_holding = segment->ear->held;
	int ret;

	if (!ipq_stream_is_held(segment->ear, done, segment->end)) {
		if (!ipq_stream_keep_rest(segment->ear, segment, done, streams->now_us)) {
			ipq_stream_drop(packet);
			return IPQ_STREAM_DONE;
		}
		if (!was_holding)
			streams->holding++;
	}
	ret = ipq_rewrite_replace(packet, packet->body + len, segment->len - len, "", 0);
	if (ret < 0)
		return ret;
	segment->len = len;
	segment->end = done;
	segment->flags &= (uint8_t) ~(TH_FIN | TH_PUSH);
	segment->is_cut = true;
	return ipq_stream_emit(streams, segment);
}

static int settle(struct ipq_streams *streams, struct ipq_stream_segment *segment)
{
	/* Those that came before it first; and what a handler has decided that waited for this
	 * acknowledgement. */
	ipq_stream_release(streams, segment->stream, segment->direction, false);
	ipq_stream_release(streams, segment->stream, !segment->direction, false);
	if (is_decided(segment))
		return ipq_stream_emit(streams, segment);
	if (streams->edits && streams->outbox &&
	    ipq_stream_before(segment->at, segment->half->done) &&
	    ipq_stream_before(segment->half->una, segment->half->done))
		return divide(streams, segment);
	if (is_full(segment->ear) || !hold(streams, segment))
		ipq_stream_drop(segment->packet);
	if (has_gap(segment->ear))
		ipq_stream_tell_gap(streams, segment);
	return IPQ_STREAM_DONE;
}

/* A connection whose other direction does not come here cannot be edited; nor read where its
 * numbers are not known. */
static bool is_one_sided(const struct ipq_streams *streams,
			 const struct ipq_stream_segment *segment)
{
	return segment->stream->state == IPQ_STREAM_SYN_SENT &&
	       !(segment->flags & (TH_SYN | TH_RST)) && (segment->direction == 1 || streams->edits);
}

/* The right edge of the receiver's window, as the sender knows it at most; before it is known, what
 * was sent. */
static uint64_t edge_of(const struct ipq_streams *streams, const struct ipq_stream_segment *segment)
{
	const struct ipq_stream_half *half = segment->half;

	if (segment->stream->state != IPQ_STREAM_ESTABLISHED)
		return half->seen;
	return ipq_stream_later(half->una, ipq_stream_original(streams, half, half->edge)) +
	       ipq_stream_undecided(streams, segment->number, segment->direction);
}

/* Whether it says nothing else of the end than was said before. What is acknowledged may be asked
 * for, whatever it has. */
static bool is_before_end(const struct ipq_stream_segment *segment)
{
	const struct ipq_stream_half *half = segment->half;

	if (segment->flags & TH_FIN)
		return segment->end == half->fin + 1;
	if (segment->at == segment->end)
		return !ipq_stream_before(half->fin + 1, segment->end);
	return !ipq_stream_before(ipq_stream_later(half->fin, half->una), segment->end);
}

/* Whoever does not see what is acknowledged cannot move what is known of the connection far, nor
 * end it where its receiver would take no FIN. */
static bool is_in_reach(const struct ipq_streams *streams, const struct ipq_stream_segment *segment)
{
	const struct ipq_stream_half *half = segment->half;
	uint64_t edge = edge_of(streams, segment);

	if (!ipq_stream_before(half->una, segment->end + REACH) ||
	    !ipq_stream_before(segment->end, edge + REACH / 2))
		return false;
	if (half->fin != IPQ_STREAM_FAR)
		return is_before_end(segment);
	return !(segment->flags & TH_FIN) || segment->stream->state != IPQ_STREAM_ESTABLISHED ||
	       (ipq_stream_before(half->una, segment->end) &&
		ipq_stream_before(segment->end, edge + FIN_REACH));
}

uint32_t ipq_streams_woken(struct ipq_streams *streams, uint32_t number)
{
	struct ipq_stream_talk *talk =
		number < streams->connections ? streams->talks[number] : NULL;

	for (uint32_t i = 0; talk && i < 2; i++)
		if (ipq_stream_is_ready(&streams->records[number].half[i], &talk->ear[i]))
			return i;
	return IPQ_STREAM_NOBODY;
}

static int segment_of_stream(struct ipq_streams *streams, struct ipq_stream_segment *segment)
{
	if (segment->flags & TH_RST) {
		/* As its receiver takes it. (RFC 5961 section 3.2) */
		if (segment->at == segment->half->seen)
			segment->stream->is_over = 1;
		segment->out = ipq_stream_earlier(segment->out, segment->half->sent);
		return ipq_stream_translate(streams, segment, segment->flags);
	}
	if (!is_in_reach(streams, segment))
		return leave(streams, segment->packet, segment->stream);
	acknowledge(streams, segment);
	if (segment->at != segment->end)
		receive(streams, segment);
	if (ipq_streams_woken(streams, segment->number) != IPQ_STREAM_NOBODY)
		return IPQ_STREAM_WAKE;
	return settle(streams, segment);
}

/* Whether the packet begins a connection that may be of interest. */
static bool begins(const struct ipq_streams *streams, struct ipq_packet *packet)
{
	const uint8_t *tcp;
	uint32_t port;

	if (!packet->parsed)
		ipq_header_parse(packet);
	if (packet->protocol != IPPROTO_TCP || packet->malformed || packet->fragment ||
	    !packet->l4 || !packet->flow_number || packet->flow_bits & IPQ_FLOW_IS_RELATED)
		return false;
	tcp = packet->data + packet->l4;
	port = (uint32_t)tcp[2] << 8 | tcp[3];
	return (tcp[13] & (TH_SYN | TH_ACK | TH_RST | TH_FIN)) == TH_SYN &&
	       packet->flow_direction == 0 &&
	       (!streams->ports || streams->ports[port / 8] & 1 << port % 8);
}

/* The packet is not at the hook where its direction counts: it was here already, as it is to be. */
static bool is_elsewhere(const struct ipq_streams *streams, const struct ipq_packet *packet)
{
	const struct ipq_flow *flow = &streams->flows->records[packet->flow_number - 1];

	return packet->hook != ipq_flow_hook(flow, packet->flow_direction & 1);
}

int ipq_streams_packet(struct ipq_streams *streams, struct ipq_packet *packet)
{
	uint32_t number = ipq_streams_number(streams, packet);
	struct ipq_stream_segment segment;
	struct ipq_stream *stream;
	int ret;

	if (number == IPQ_STREAM_NOBODY)
		return begins(streams, packet) ? IPQ_STREAM_ASK : IPQ_STREAM_DONE;
	stream = &streams->records[number];
	if (is_elsewhere(streams, packet))
		return IPQ_STREAM_DONE;
	if (packet->flow_bits & IPQ_FLOW_IS_RELATED)
		return ipq_stream_icmp(streams, packet, stream);
	if (stream->state == IPQ_STREAM_LOST) {
		if (!begins(streams, packet))
			return refuse(streams, packet);
		ipq_stream_forget(streams, packet->flow_number - 1);
		return IPQ_STREAM_ASK;
	}
	if (!ipq_stream_read(streams, packet, stream, &segment) || is_damaged(packet))
		return leave(streams, packet, stream);
	if (stream->state == IPQ_STREAM_TO_RESET) {
		reset(streams, &segment);
		return IPQ_STREAM_DONE;
	}
	if (segment.flags & TH_SYN && !(segment.flags & TH_RST)) {
		ret = ipq_stream_syn(streams, &segment);
		if (ret != IPQ_STREAM_IS_OTHER)
			return ret;
		if (stream->state != IPQ_STREAM_SYN_SENT ||
		    (segment.flags & TH_ACK && segment.direction == 1))
			return IPQ_STREAM_DONE;
		ipq_stream_forget(streams, packet->flow_number - 1);
		return begins(streams, packet) ? IPQ_STREAM_ASK : IPQ_STREAM_DONE;
	}
	if (is_one_sided(streams, &segment)) {
		streams->counts[IPQ_STREAMS_ONE_SIDED]++;
		ipq_stream_forget(streams, packet->flow_number - 1);
		return IPQ_STREAM_DONE;
	}
	return segment_of_stream(streams, &segment);
}

int ipq_streams_settle(struct ipq_streams *streams, struct ipq_packet *packet)
{
	uint32_t number = ipq_streams_number(streams, packet);
	struct ipq_stream_segment segment;

	if (number == IPQ_STREAM_NOBODY)
		return IPQ_STREAM_DONE;
	if (streams->records[number].state == IPQ_STREAM_LOST)
		return refuse(streams, packet);
	if (!ipq_stream_read(streams, packet, &streams->records[number], &segment))
		return leave(streams, packet, &streams->records[number]);
	if (segment.stream->state == IPQ_STREAM_TO_RESET) {
		reset(streams, &segment);
		return IPQ_STREAM_DONE;
	}
	return settle(streams, &segment);
}

struct ipq_packet *ipq_streams_shown(struct ipq_streams *streams)
{
	return streams->shown ? &streams->shown->packet : NULL;
}

void ipq_streams_seen(struct ipq_streams *streams)
{
	struct ipq_stream_held *held = streams->shown;

	if (!held)
		return;
	streams->shown = held->next;
	if (!streams->shown)
		streams->last_shown = NULL;
	free(held->grown);
	free(held);
}

static bool is_overdue(const struct ipq_streams *streams, const struct ipq_stream_ear *ear)
{
	return ear->held && streams->now_us - ear->held->since_us >= streams->hold_us;
}

/* What is held behind a gap, or until the receiver has acknowledged more, is not held for its
 * handler: its sender repeats it. */
static bool is_for_handler(const struct ipq_stream_ear *ear)
{
	return ear->mode != IPQ_STREAM_ROOM && !ipq_stream_before(ear->next, ear->held->at);
}

/* Gives whether the handler is to hear no more. */
static bool look_at(struct ipq_streams *streams, uint32_t number, uint32_t direction)
{
	struct ipq_stream_ear *ear = &streams->talks[number]->ear[direction];

	if (!is_overdue(streams, ear))
		return false;
	if (is_for_handler(ear))
		return true;
	ipq_stream_release(streams, &streams->records[number], direction, true);
	return false;
}

uint32_t ipq_streams_overdue(struct ipq_streams *streams, uint32_t *direction)
{
	uint32_t used = streams->head->used;

	if (!streams->holding || used > streams->connections)
		return IPQ_STREAM_NOBODY;
	for (; streams->looked < used; streams->looked++)
		for (uint32_t j = 0; j < 2; j++)
			if (streams->talks[streams->looked] &&
			    look_at(streams, streams->looked, j)) {
				*direction = j;
				return streams->looked;
			}
	streams->looked = 0;
	return IPQ_STREAM_NOBODY;
}

const char *ipq_streams_word(uint32_t count)
{
	static const char *const words[IPQ_STREAMS_COUNTS] = {
		"read",	     "edited", "reset",	  "lost",     "limited",  "no_room",
		"one_sided", "signed", "dropped", "injected", "differing"};

	return count < IPQ_STREAMS_COUNTS ? words[count] : NULL;
}
