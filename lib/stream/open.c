/* How a stream begins: the SYNs, and what their options say. */
#include "talk.h"
#include "lib/bytes.h"
#include "lib/flow/flow.h"

#include <errno.h>
#include <netinet/tcp.h>

enum {
	OPTION_MPTCP = 30,
	OPTION_MD5 = 19, /* RFC 2385 */
	OPTION_AO = 29,	 /* RFC 5925 */
	MSS_DEFAULT = 536,
	MSS_LEAST = 88 /* what is left of it: RFC 9293 section 3.7.1 asks for no less in IPv4 */
};

static uint8_t *option_of(const struct ipq_stream_segment *segment, uint8_t kind, uint8_t len)
{
	struct ipq_packet *packet = segment->packet;
	uint8_t *option = ipq_stream_option(packet->data + packet->l4, segment->header, kind);

	return option && option[1] == len ? option : NULL;
}

static bool is_signed(const struct ipq_packet *packet)
{
	uint8_t *tcp = packet->data + packet->l4;
	uint32_t len = (uint32_t)packet->body - packet->l4;

	return ipq_stream_option(tcp, len, OPTION_MD5) || ipq_stream_option(tcp, len, OPTION_AO);
}

/* What the sender of a SYN says of what it takes. */
static void take_options(struct ipq_stream_segment *segment)
{
	const uint8_t *mss = option_of(segment, TCPOPT_MAXSEG, 4);
	const uint8_t *scale = option_of(segment, TCPOPT_WINDOW, 3);

	if (option_of(segment, TCPOPT_SACK_PERMITTED, 2))
		segment->half->bits |= IPQ_STREAM_SACK;
	segment->other->mss = mss ? ipq_load16(mss + 2) : MSS_DEFAULT;
	segment->other->scale = scale ? scale[2] : 0;
	/* Only where both have said so. (RFC 7323 section 1.3) */
	if (segment->flags & TH_ACK && !scale)
		segment->half->scale = 0;
}

/* The MSS is lowered, so that what grows a little fits; MPTCP falls back to TCP without its option,
 * for its own numbers are not translated (RFC 8684 section 3.7); data in a SYN comes again behind
 * it (RFC 7413 section 3). */
static int change_syn(struct ipq_streams *streams, struct ipq_stream_segment *segment)
{
	struct ipq_packet *packet = segment->packet;
	uint8_t tcp[60], *option;
	int ret;

	memcpy(tcp, packet->data + packet->l4, segment->header);
	option = ipq_stream_option(tcp, segment->header, TCPOPT_MAXSEG);
	if (option && option[1] == 4 && ipq_load16(option + 2) > MSS_LEAST + streams->headroom)
		ipq_store16(option + 2, ipq_load16(option + 2) - streams->headroom);
	option = ipq_stream_option(tcp, segment->header, OPTION_MPTCP);
	if (option)
		memset(option, TCPOPT_NOP, option[1]);
	ret = ipq_rewrite_store(packet, packet->l4, tcp, segment->header);
	if (ret == 0 && segment->len)
		ret = ipq_rewrite_replace(packet, packet->body, segment->len, "", 0);
	return ret;
}

/* What is passed of a SYN is heard. (RFC 7413) */
static void hear_syn(const struct ipq_stream_segment *segment)
{
	struct ipq_stream_half *half = segment->half;
	const struct ipq_packet *packet = segment->packet;

	half->seen = ipq_stream_later(half->seen, segment->end);
	half->sent = ipq_stream_later(half->sent, segment->end);
	if (segment->ear)
		ipq_stream_hear(segment->ear, segment->at, packet->data + packet->body,
				segment->len);
}

/* Whether it acknowledges the SYN, and no more than came with it: it may be an old one's otherwise,
 * which the client refuses. (RFC 9293 section 3.5) */
static bool is_answer(const struct ipq_stream_segment *segment)
{
	return segment->flags & TH_ACK && segment->direction == 1 &&
	       segment->ack - segment->other->isn - 1 <= (uint32_t)segment->other->seen;
}

int ipq_stream_syn(struct ipq_streams *streams, struct ipq_stream_segment *segment)
{
	struct ipq_stream *stream = segment->stream;
	struct ipq_stream_half *half = segment->half;

	if (stream->state == IPQ_STREAM_SYN_SENT && segment->direction == 1) {
		if (!is_answer(segment))
			return IPQ_STREAM_IS_OTHER;
		half->isn = segment->seq;
		take_options(segment);
		/* The window of a SYN is not scaled. */
		segment->other->edge = segment->window;
		stream->state = IPQ_STREAM_ESTABLISHED;
	}
	if (segment->seq != half->isn)
		return IPQ_STREAM_IS_OTHER;
	if (streams->edits)
		return change_syn(streams, segment);
	hear_syn(segment);
	return 0;
}

int ipq_stream_open(struct ipq_streams *streams, struct ipq_packet *packet)
{
	struct ipq_stream_segment segment;
	struct ipq_stream *stream;
	struct ipq_flow *flow;
	uint32_t number = packet->flow_number;

	if (!number || number > streams->flow_count)
		return -EINVAL;
	if (is_signed(packet)) {
		streams->counts[IPQ_STREAMS_SIGNED]++;
		return -EOPNOTSUPP;
	}
	flow = &streams->flows->records[number - 1];
	stream = ipq_stream_new(streams);
	if (!stream) {
		streams->counts[IPQ_STREAMS_NO_ROOM]++;
		return -ENOSPC;
	}
	if (!ipq_stream_read(streams, packet, stream, &segment)) {
		ipq_stream_free(streams, stream);
		return -EINVAL;
	}
	stream->flow = number - 1;
	stream->generation = flow->generation;
	stream->key = flow->key;
	stream->origin = flow->bits & IPQ_FLOW_ORIGIN;
	for (uint32_t i = 0; i < 2; i++) {
		stream->half[i].fin = IPQ_STREAM_FAR;
		stream->half[i].done = IPQ_STREAM_FAR;
	}
	segment.half->isn = segment.seq;
	take_options(&segment);
	segment.other->edge = segment.window;
	ipq_stream_order();
	stream->state = IPQ_STREAM_SYN_SENT;
	streams->of_flow[number - 1] = segment.number + 1;
	streams->counts[IPQ_STREAMS_READ]++;
	return (int)segment.number;
}
