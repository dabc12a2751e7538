/* The fields of a TCP header that say where in a stream it is: as its receiver understands them. */
#include "talk.h"
#include "lib/bytes.h"

#include <netinet/tcp.h>

enum { SACK_BLOCK = 8, HEADER_SIZE = 60 };

/* What an acknowledgement of an output position says of the original. */
static uint64_t acknowledged(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			     uint64_t out)
{
	/* Of what nobody has sent: its receiver sees that, too. */
	if (ipq_stream_before(half->sent, out))
		return half->seen + (out - half->sent);
	return ipq_stream_earlier(ipq_stream_original(streams, half, out), half->seen);
}

/* The window as its receiver may use it: less by what was added and is not acknowledged, and more
 * by what is held: a sender that has filled a small window sends what follows only where that is
 * not in its way. What is too much then waits here. (RFC 9293 section 3.8.6) */
static uint16_t window_of(const struct ipq_streams *streams,
			  const struct ipq_stream_segment *segment, uint64_t out)
{
	const struct ipq_stream_half *half = segment->other;
	const uint32_t scale = ipq_stream_scale(half);
	const uint64_t window = (uint64_t)segment->window << scale;

	uint64_t edge = ipq_stream_original(streams, half, out + window);
	uint64_t at = acknowledged(streams, half, out), room;

	edge += ipq_stream_undecided(streams, segment->number, !segment->direction);
	room = ipq_stream_before(at, edge) ? (edge - at) >> scale : 0;
	return room < UINT16_MAX ? (uint16_t)room : UINT16_MAX;
}

/* Whether the receiver says that it has had a byte twice which was sent again for it to answer.
 * (RFC 2883) */
static bool is_probe(const struct ipq_stream_half *half, uint64_t left, uint64_t right)
{
	return right == half->acked && left + 1 == right && !ipq_stream_is_plain(half);
}

/* The blocks of a SACK option that are blocks of the original, too, in their place; what is left of
 * it is padding. (RFC 2018, RFC 2883) */
static void translate_sack(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			   uint8_t *option)
{
	uint8_t *to = option + 2, *end = option + option[1];

	for (const uint8_t *from = to; end - from >= SACK_BLOCK; from += SACK_BLOCK) {
		uint64_t left = ipq_stream_position(half->acked, half->isn, ipq_load32(from));
		uint64_t right = ipq_stream_position(half->acked, half->isn, ipq_load32(from + 4));

		if (!ipq_stream_before(left, right) || ipq_stream_before(half->sent, right) ||
		    is_probe(half, left, right))
			continue;
		left = ipq_stream_original_left(streams, half, left);
		right = acknowledged(streams, half, right);
		if (!ipq_stream_before(left, right))
			continue;
		ipq_store32(to, ipq_stream_sequence(half->isn, left));
		ipq_store32(to + 4, ipq_stream_sequence(half->isn, right));
		to += SACK_BLOCK;
	}
	option[1] = (uint8_t)(to - option);
	memset(to, TCPOPT_NOP, (size_t)(end - to));
	if (option[1] == 2)
		memset(option, TCPOPT_NOP, 2);
}

/* The option of that kind in a TCP header of len bytes; NULL: it has none. */
uint8_t *ipq_stream_option(uint8_t *tcp, uint32_t len, uint8_t kind)
{
	uint32_t i = sizeof(struct tcphdr);

	while (i < len && tcp[i] != TCPOPT_EOL) {
		if (tcp[i] == TCPOPT_NOP) {
			i++;
			continue;
		}
		if (len - i < 2 || tcp[i + 1] < 2 || tcp[i + 1] > len - i)
			return NULL;
		if (tcp[i] == kind)
			return tcp + i;
		i += tcp[i + 1];
	}
	return NULL;
}

static void translate_ack(struct ipq_streams *streams, const struct ipq_stream_segment *segment,
			  uint8_t *tcp)
{
	const struct ipq_stream_half *half = segment->other;
	uint64_t out = ipq_stream_position(half->acked, half->isn, segment->ack);
	uint8_t *sack;

	ipq_store32(tcp + 8, ipq_stream_sequence(half->isn, acknowledged(streams, half, out)));
	ipq_store16(tcp + 14, window_of(streams, segment, out));
	sack = ipq_stream_option(tcp, segment->header, TCPOPT_SACK);
	if (sack)
		translate_sack(streams, half, sack);
}

/* Where urgent data ends, of a segment that begins elsewhere now. (RFC 6093) */
static void translate_urgent(struct ipq_streams *streams, const struct ipq_stream_segment *segment,
			     uint8_t *tcp)
{
	uint64_t end = segment->at + ipq_load16(tcp + 18);
	uint64_t distance = ipq_stream_output(streams, segment->half, end) - segment->out;

	ipq_store16(tcp + 18, distance < UINT16_MAX ? (uint32_t)distance : UINT16_MAX);
}

int ipq_stream_translate(struct ipq_streams *streams, struct ipq_stream_segment *segment,
			 uint8_t flags)
{
	struct ipq_packet *packet = segment->packet;
	uint8_t tcp[HEADER_SIZE];

	memcpy(tcp, packet->data + packet->l4, segment->header);
	ipq_store32(tcp + 4, ipq_stream_sequence(segment->half->isn, segment->out));
	tcp[13] = flags;
	/* Once: its blocks are the receiver's from then on. */
	if (segment->flags & TH_ACK && !segment->is_translated &&
	    (streams->edits || !ipq_stream_is_plain(segment->other)))
		translate_ack(streams, segment, tcp);
	segment->is_translated = true;
	if (flags & TH_URG && !ipq_stream_is_plain(segment->half))
		translate_urgent(streams, segment, tcp);
	if (memcmp(tcp, packet->data + packet->l4, segment->header) == 0)
		return IPQ_REWRITE_OK;
	return ipq_rewrite_store(packet, packet->l4, tcp, segment->header);
}
