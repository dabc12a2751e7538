/* Connections that cannot go on, because nobody will translate them any more: both ends are told, each in its own
 * numbers. */
#include "talk.h"
#include "lib/flow/flow.h"
#include "lib/packet/make.h"
#include "lib/send/send.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

/* What the ends of a flow are, as those of a packet that its client sends, or its server. */
static struct ipq_ends ends_of(const struct ipq_flow *flow, uint32_t direction)
{
	uint32_t from = (flow->bits & IPQ_FLOW_ORIGIN) ^ direction;

	return (struct ipq_ends){
		.ip_version = flow->key.ip_version,
		.protocol = IPPROTO_TCP,
		.sport = flow->key.ports[from],
		.dport = flow->key.ports[!from],
		.source = flow->key.addresses[from],
		.destination = flow->key.addresses[!from],
	};
}

static void tell(struct ipq_streams *streams, const struct ipq_stream *stream,
		 const struct ipq_flow *flow, uint32_t direction)
{
	const struct ipq_stream_half *half = &stream->half[direction];
	const struct ipq_stream_half *other = &stream->half[!direction];
	struct ipq_ends ends = ends_of(flow, direction);
	uint32_t ip_len = ipq_make_ip_len(&ends), len = ip_len + IPQ_MAKE_TCP;
	struct ipq_segment segment = {
		.seq = ipq_stream_sequence(half->isn, half->sent),
		.ack = ipq_stream_sequence(other->isn, other->seen),
		.flags = TH_RST | TH_ACK,
	};
	uint8_t bytes[60];

	ipq_make_ip(bytes, &ends, len - ip_len, 0, true);
	ipq_make_tcp(bytes + ip_len, &ends, &segment);
	ipq_make_sums(bytes, len);
	(void)ipq_outbox_bytes(streams->outbox, bytes, len, NULL);
}

static bool is_open(const struct ipq_stream *stream)
{
	return stream->state == IPQ_STREAM_ESTABLISHED &&
	       (!ipq_stream_is_plain(&stream->half[0]) || !ipq_stream_is_plain(&stream->half[1]));
}

static void reset(struct ipq_streams *streams, struct ipq_stream *stream,
		  const struct ipq_flow *flow)
{
	if (!is_open(stream) || !streams->outbox)
		return;
	tell(streams, stream, flow, 0);
	tell(streams, stream, flow, 1);
	streams->counts[IPQ_STREAMS_RESET]++;
}

void ipq_streams_ended(struct ipq_streams *streams, const struct ipq_flow_ended *ended)
{
	uint32_t number = ended->number < streams->flow_count ? streams->of_flow[ended->number] : 0;
	struct ipq_stream *stream;

	if (!number || number > streams->connections)
		return;
	stream = &streams->records[number - 1];
	if (stream->flow != ended->number || stream->generation != ended->flow.generation)
		return;
	if (ended->reason == IPQ_FLOW_END_TIMEOUT || ended->reason == IPQ_FLOW_END_EVICTED)
		reset(streams, stream, &ended->flow);
	ipq_stream_forget(streams, ended->number);
}

void ipq_streams_exit(struct ipq_streams *streams)
{
	for (uint32_t i = 0; i < streams->head->used && i < streams->connections; i++) {
		struct ipq_stream *stream = &streams->records[i];
		const struct ipq_flow *flow =
			ipq_flows_find(streams->flows, stream->flow, stream->generation);

		if (flow && flow->state < IPQ_FLOW_LAST_ACK)
			reset(streams, stream, flow);
	}
}
