/* What becomes of a segment: as it is, changed, in several, or not at all. */
#include "talk.h"
#include "lib/bytes.h"
#include "lib/send/send.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <linux/netfilter.h>

/* Flags that only the last of several segments has. */
enum { WITHOUT_END = 0xff & ~(TH_FIN | TH_PUSH) };

bool ipq_stream_read(struct ipq_streams *streams, struct ipq_packet *packet,
		     struct ipq_stream *stream, struct ipq_stream_segment *segment)
{
	struct ipq_stream_talk *talk;
	const uint8_t *tcp;

	if (!packet->parsed)
		ipq_header_parse(packet);
	if (packet->protocol != IPPROTO_TCP || packet->malformed || packet->fragment ||
	    !packet->l4 || packet->data_len < packet->len)
		return false;
	tcp = packet->data + packet->l4;
	*segment = (struct ipq_stream_segment){
		.packet = packet,
		.stream = stream,
		.number = (uint32_t)(stream - streams->records),
		.direction = packet->flow_direction & 1,
		.len = (uint32_t)packet->end - packet->body,
		.seq = ipq_load32(tcp + 4),
		.ack = ipq_load32(tcp + 8),
		.flags = tcp[13],
		.header = (uint8_t)(packet->body - packet->l4),
		.window = ipq_load16(tcp + 14),
	};
	segment->half = &stream->half[segment->direction];
	segment->other = &stream->half[!segment->direction];
	talk = streams->talks[segment->number];
	/* What is added may have to wait for room. */
	if (!talk && ipq_stream_count(segment->half))
		talk = ipq_stream_talk(streams, segment->number);
	segment->ear = talk ? &talk->ear[segment->direction] : NULL;
	segment->at = ipq_stream_position(segment->half->seen, segment->half->isn, segment->seq);
	if (segment->flags & TH_SYN)
		segment->at++;
	segment->end = segment->at + segment->len + (segment->flags & TH_FIN ? 1 : 0);
	segment->out = ipq_stream_output(streams, segment->half, segment->at);
	return true;
}

/* Our own segments */

/* Sends len bytes that lie in the output at out, in the way of a packet: its header is as the
 * receiver understands it. Gives whether they will be sent. */
static bool inject(struct ipq_streams *streams, const struct ipq_packet *way,
		   struct ipq_packet *cause, const struct ipq_stream_half *half, uint64_t out,
		   const uint8_t *bytes, uint32_t len, uint8_t flags)
{
	static const uint8_t no_id[2];
	uint8_t header[HEADER_MOST], *packet = streams->scratch;
	struct ipq_packet made = *way;
	uint32_t head = (uint32_t)way->body - way->l3, seq;

	if (!streams->outbox || head > sizeof(header))
		return false;
	memcpy(header, way->data + way->l3, head);
	memcpy(packet, header, head);
	if (len)
		memmove(packet + head, bytes, len);
	if (way->ip_version == 4) {
		ipq_store16(packet + 2, head + len);
		memcpy(packet + 4, no_id, sizeof(no_id));
	} else {
		ipq_store16(packet + 4, head + len - 40);
	}
	seq = htobe32(ipq_stream_sequence(half->isn, out));
	memcpy(packet + (way->l4 - way->l3) + 4, &seq, sizeof(seq));
	packet[way->l4 - way->l3 + 13] = flags;
	made.data = packet;
	made.data_len = made.len = head + len;
	made.present &= ~(uint32_t)IPQ_HAS_SKB_INFO;
	made.set = IPQ_SET_PAYLOAD;
	made.dirty = IPQ_DIRTY_ALL | IPQ_DIRTY_TRANSPORT;
	made.fix = 1;
	made.unready = IPQ_UNREADY_NONE;
	made.l4_wrong = 0;
	made.parsed = 0;
	if (ipq_outbox_packet(streams->outbox, &made, cause) != 0)
		return false;
	streams->counts[IPQ_STREAMS_INJECTED]++;
	return true;
}

/* The gate */

static uint64_t gate_end(const struct ipq_stream_gate *gate)
{
	return gate->from + gate->len;
}

/* What goes on in front of what waits comes first, and its sender says the rest again. */
static struct ipq_stream_gate *gate_of(struct ipq_stream_ear *ear, uint64_t from)
{
	struct ipq_stream_gate *gate = ear->gate;

	if (!gate)
		gate = ear->gate = calloc(1, sizeof(*gate));
	if (!gate)
		return NULL;
	if (ipq_stream_before(from, gate->from)) {
		gate->len = 0;
		gate->has_fin = false;
	}
	if (!gate->len && !gate->has_fin)
		gate->from = from;
	return gate;
}

static bool gate_room(struct ipq_stream_gate *gate, uint32_t more)
{
	uint64_t size = (uint64_t)gate->len + more, room = gate->room ? gate->room : 4096;
	uint8_t *bytes;

	while (room < size)
		room *= 2;
	if (room == gate->room)
		return true;
	bytes = size <= GATE_MOST ? realloc(gate->bytes, room) : NULL;
	if (!bytes)
		return false;
	gate->bytes = bytes;
	gate->room = (uint32_t)room;
	return true;
}

/* How the segment goes, for what follows it: its header is translated already. */
static void gate_way(struct ipq_stream_gate *gate, const struct ipq_packet *packet)
{
	uint32_t head = (uint32_t)packet->body - packet->l3;

	if (head > sizeof(gate->header))
		return;
	memcpy(gate->header, packet->data + packet->l3, head);
	gate->way = *packet;
	gate->way.data = gate->header;
	gate->way.data_len = head;
	gate->way.l4 = (uint16_t)(packet->l4 - packet->l3);
	gate->way.body = (uint16_t)(packet->body - packet->l3);
	gate->way.l3 = 0;
	gate->way.ct = gate->way.secctx = NULL;
	gate->way.present &= ~(uint32_t)(IPQ_HAS_CT | IPQ_HAS_SECCTX | IPQ_HAS_L2HDR);
	gate->way.held = 0;
}

static void render(struct ipq_streams *streams, const struct ipq_stream_segment *segment,
		   uint64_t from, uint64_t to, uint8_t *output)
{
	const struct ipq_packet *packet = segment->packet;

	ipq_stream_render(streams, segment->half, segment->at, packet->data + packet->body,
			  segment->len, from, to, output);
}

/* Keeps the output of a segment from one position to another until there is room. What does not
 * follow what is kept already, or is too much, its sender sends again. */
static void gate_keep(struct ipq_streams *streams, const struct ipq_stream_segment *segment,
		      uint64_t from, uint64_t to)
{
	struct ipq_stream_gate *gate = gate_of(segment->ear, from);
	uint64_t begin;

	if (!gate || gate->has_fin || ipq_stream_before(gate_end(gate), from))
		return;
	begin = gate_end(gate);
	if (ipq_stream_before(begin, to)) {
		if (to - begin > GATE_MOST || !gate_room(gate, (uint32_t)(to - begin)))
			return;
		render(streams, segment, begin, to, gate->bytes + gate->len);
		gate->len += (uint32_t)(to - begin);
	}
	gate->has_fin = segment->flags & TH_FIN;
	gate_way(gate, segment->packet);
}

/* The receiver has what is before that position, or it was sent. */
static void gate_move(struct ipq_stream_gate *gate, uint64_t to)
{
	uint64_t n = ipq_stream_before(gate->from, to) ? to - gate->from : 0;

	if (n > gate->len)
		n = gate->len;
	memmove(gate->bytes, gate->bytes + n, gate->len - n);
	gate->from += n;
	gate->len -= (uint32_t)n;
}

static void gate_close(struct ipq_stream_ear *ear)
{
	if (ear->gate)
		free(ear->gate->bytes);
	free(ear->gate);
	ear->gate = NULL;
}

static void sent(struct ipq_stream_half *half, uint64_t to)
{
	half->sent = ipq_stream_later(half->sent, to);
}

void ipq_stream_pump(struct ipq_streams *streams, struct ipq_stream *stream, uint32_t direction,
		     struct ipq_packet *cause)
{
	struct ipq_stream_talk *talk = streams->talks[stream - streams->records];
	struct ipq_stream_half *half = &stream->half[direction];
	struct ipq_stream_gate *gate = talk ? talk->ear[direction].gate : NULL;
	bool goes = true;

	if (!gate)
		return;
	gate_move(gate, half->acked);
	while (goes && gate->len && ipq_stream_before(gate->from, half->edge)) {
		uint64_t room = half->edge - gate->from;
		uint32_t len = gate->len < PIECE_MOST ? gate->len : PIECE_MOST;
		bool is_last;

		if (len > room)
			len = (uint32_t)room;
		is_last = len == gate->len;
		/* Before they are sent: an acknowledgement may come as soon as they are. */
		if (!ipq_stream_before(gate->from + len, half->sent))
			half->last = gate->bytes[len - 1];
		sent(half, gate->from + len + (is_last && gate->has_fin));
		goes = inject(
			streams, &gate->way, cause, half, gate->from, gate->bytes, len,
			(uint8_t)(TH_ACK | TH_PUSH | (is_last && gate->has_fin ? TH_FIN : 0)));
		if (goes)
			gate_move(gate, gate->from + len);
	}
	if (goes && !gate->len)
		gate_close(&talk->ear[direction]);
}

/* Emitting */

/* The most bytes that a packet's payload may have, so that it arrives. */
static uint32_t verdict_most(const struct ipq_stream_segment *segment, uint32_t one)
{
	const struct ipq_packet *packet = segment->packet;

	uint32_t most = IPQ_PAYLOAD_MAX - (uint32_t)packet->body;

	if (segment->is_own || packet->hook == NF_INET_LOCAL_IN || packet->skb_info & IPQ_SKB_GSO)
		return most;
	return one < most ? one : most;
}

/* The bytes of a segment that its receiver takes, as far as it has said, and the interface that it
 * leaves by. */
static uint32_t one_segment(const struct ipq_streams *streams,
			    const struct ipq_stream_segment *segment)
{
	const struct ipq_packet *packet = segment->packet;
	uint32_t options = segment->header - (uint32_t)sizeof(struct tcphdr);
	uint32_t most = segment->half->mss > options ? segment->half->mss - options : 0;
	uint32_t head = (uint32_t)packet->body - packet->l3, mtu = 0;

	if (streams->devices && packet->present & IPQ_HAS_OUTDEV)
		mtu = streams->mtu_of(streams->devices, packet->outdev);
	if (mtu > head && mtu - head < most)
		most = mtu - head;
	return most > segment->len ? most : segment->len;
}

/* Sends what of a segment's output does not go with its packet. */
static void inject_rest(struct ipq_streams *streams, const struct ipq_stream_segment *segment,
			const struct ipq_packet *way, uint64_t from, uint64_t to, uint8_t flags)
{
	uint32_t head = (uint32_t)way->body - way->l3;

	/* The scratch memory has room for no longer ones. */
	if (head > HEADER_MOST)
		return;
	do {
		uint32_t len = to - from < PIECE_MOST ? (uint32_t)(to - from) : PIECE_MOST;
		bool is_last = from + len == to;

		render(streams, segment, from, from + len, streams->scratch + head);
		if (!inject(streams, way, segment->packet, segment->half, from,
			    streams->scratch + head, len, is_last ? flags : flags & WITHOUT_END))
			return;
		from += len;
	} while (from != to);
}

/* Nothing is left of the segment: what is sent has its receiver acknowledge what it has, so that
 * the sender goes on. (RFC 9293 section 3.10.7.4: a segment that is not acceptable is answered by
 * an ACK.) */
static int emit_probe(struct ipq_streams *streams, struct ipq_stream_segment *segment, uint64_t out)
{
	struct ipq_packet *packet = segment->packet;
	const struct ipq_stream_half *half = segment->half;
	/* A byte that it has had already: what has none is answered twice a second at most (Linux'
	 * tcp_invalid_ratelimit). */
	const uint8_t byte = half->last;
	uint32_t len = out == half->sent && half->fin == IPQ_STREAM_FAR;
	int ret;

	segment->out = out - 1;
	ret = ipq_stream_translate(streams, segment,
				   segment->flags & WITHOUT_END & (uint8_t)~TH_URG);
	if (ret < 0)
		return ret;
	if (packet->skb_info & IPQ_SKB_GSO && packet->hook != NF_INET_LOCAL_IN) {
		inject(streams, packet, packet, half, segment->out, &byte, len, TH_ACK);
		ipq_stream_drop(packet);
		return 0;
	}
	return ipq_rewrite_replace(packet, packet->body, segment->len, &byte, len);
}

/* Whether the output from one position to another is just the segment's bytes. */
static bool is_as_it_came(const struct ipq_streams *streams,
			  const struct ipq_stream_segment *segment, uint64_t from, uint64_t to)
{
	uint64_t end = segment->at + segment->len;

	return !segment->is_cut && to - from == segment->len &&
	       !ipq_stream_touches(streams, segment->half, segment->at,
				   segment->flags & TH_FIN ? end + 1 : end);
}

static int emit_output(struct ipq_streams *streams, struct ipq_stream_segment *segment,
		       uint64_t from, uint64_t to, uint8_t flags)
{
	struct ipq_packet *packet = segment->packet, way;
	uint32_t one = one_segment(streams, segment), most = verdict_most(segment, one);
	uint64_t len = to - from, first = len < most ? len : most;
	bool is_whole = first == len;
	int ret;

	if (to != from && !ipq_stream_before(to, segment->half->sent - (flags & TH_FIN ? 1 : 0)))
		render(streams, segment, to - 1, to, &segment->half->last);
	segment->out = from;
	ret = ipq_stream_translate(streams, segment, is_whole ? flags : flags & WITHOUT_END);
	if (ret < 0 || is_as_it_came(streams, segment, from, to))
		return ret;
	way = *packet;
	/* The kernel drops what it is to cut into segments of more bytes than there are. */
	if (packet->skb_info & IPQ_SKB_GSO && packet->hook != NF_INET_LOCAL_IN && first <= one) {
		inject_rest(streams, segment, &way, from, to, flags);
		ipq_stream_drop(packet);
		return 0;
	}
	if (!is_whole)
		inject_rest(streams, segment, &way, from + first, to, flags);
	render(streams, segment, from, from + first, streams->scratch);
	return ipq_rewrite_replace(packet, packet->body, segment->len, streams->scratch,
				   (uint32_t)first);
}

/* How far the output of a segment may go, whose end is to: to the right edge of the receiver's
 * window, and not before what waits already. Where nothing is edited the sender keeps to it. */
static uint64_t room_of(const struct ipq_streams *streams, const struct ipq_stream_segment *segment,
			uint64_t to)
{
	const struct ipq_stream_gate *gate = segment->ear ? segment->ear->gate : NULL;

	if (gate)
		return ipq_stream_earlier(gate->from, segment->half->edge);
	if (!segment->ear || !streams->edits)
		return to;
	return segment->half->edge;
}

static int emit_data(struct ipq_streams *streams, struct ipq_stream_segment *segment)
{
	struct ipq_stream_half *half = segment->half;
	uint64_t fin = segment->flags & TH_FIN ? 1 : 0;
	uint64_t start = ipq_stream_later(segment->at, half->una);
	uint64_t from = ipq_stream_later(ipq_stream_output(streams, half, start), half->acked);
	uint64_t to = ipq_stream_output(streams, half, segment->end) - fin;
	uint64_t stop =
		ipq_stream_earlier(to, ipq_stream_later(from, room_of(streams, segment, to)));
	uint8_t flags = segment->flags;
	int ret;

	if (ipq_stream_before(to, from))
		from = to;
	if (stop != to) {
		flags &= (uint8_t)~TH_FIN;
		fin = 0;
	}
	/* An acknowledgement may come as soon as it is out. */
	if (stop != from || fin)
		sent(half, stop + fin);
	if (stop == from && !fin && to == from)
		return emit_probe(streams, segment, from);
	if (stop == to)
		return emit_output(streams, segment, from, to, flags);
	segment->out = from;
	ret = ipq_stream_translate(streams, segment, flags);
	if (ret < 0)
		return ret;
	gate_keep(streams, segment, stop, to);
	if (stop != from)
		return emit_output(streams, segment, from, stop, flags);
	/* A single byte may ask whether there is room. (RFC 9293 section 3.8.6.1) */
	if (segment->len == 1)
		return emit_probe(streams, segment, half->acked);
	ipq_stream_drop(segment->packet);
	return 0;
}

int ipq_stream_emit(struct ipq_streams *streams, struct ipq_stream_segment *segment)
{
	struct ipq_stream_half *half = segment->half;
	int ret = ipq_stream_insist(streams, segment);

	if (ret < 0)
		return ret;
	/* What is not edited is as it was. */
	if (ipq_stream_is_plain(half) && !segment->is_cut && !streams->edits) {
		sent(half, segment->end);
		return ipq_stream_translate(streams, segment, segment->flags);
	}
	/* Where it lies in what waits its receiver would not take it. */
	if (segment->at == segment->end) {
		segment->out = ipq_stream_earlier(segment->out, half->sent);
		return ipq_stream_translate(streams, segment, segment->flags);
	}
	/* All of it is acknowledged already: what it has become then is not known any more. */
	if (!ipq_stream_before(half->una, segment->end) && !ipq_stream_is_plain(half))
		return emit_probe(streams, segment, half->acked);
	return emit_data(streams, segment);
}

void ipq_stream_send_reset(struct ipq_streams *streams, struct ipq_stream_segment *segment)
{
	struct ipq_stream_half *half = segment->half;

	if (ipq_stream_translate(streams, segment, TH_RST | TH_ACK) == 0)
		(void)inject(streams, segment->packet, segment->packet, half, half->sent, NULL, 0,
			     TH_RST | TH_ACK);
}
