/* Connections that cannot go on, because nobody will translate them any more: both ends are told,
 * each in its own numbers. */
#include "talk.h"
#include "lib/flow/flow.h"
#include "lib/packet/make.h"
#include "lib/send/send.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

/* The ends as those of a packet that the client sends, or the server. */
static struct ipq_ends ends_of(const struct ipq_stream *stream, uint32_t direction)
{
	uint32_t from = (stream->origin & 1) ^ direction;

	return (struct ipq_ends){
		.ip_version = stream->key.ip_version == 4 ? 4 : 6,
		.protocol = IPPROTO_TCP,
		.sport = stream->key.ports[from],
		.dport = stream->key.ports[!from],
		.source = stream->key.addresses[from],
		.destination = stream->key.addresses[!from],
	};
}

static void tell(struct ipq_streams *streams, const struct ipq_stream *stream, uint32_t direction)
{
	const struct ipq_stream_half *half = &stream->half[direction];
	const struct ipq_stream_half *other = &stream->half[!direction];
	struct ipq_ends ends = ends_of(stream, direction);
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

/* Whether a direction has said all, and all of it is acknowledged. */
static bool is_done(const struct ipq_stream_half *half)
{
	return half->fin != IPQ_STREAM_FAR && ipq_stream_before(half->fin, half->una);
}

static bool is_open(const struct ipq_stream *stream)
{
	return stream->state == IPQ_STREAM_ESTABLISHED && !stream->is_over &&
	       !(is_done(&stream->half[0]) && is_done(&stream->half[1])) &&
	       (!ipq_stream_is_plain(&stream->half[0]) || !ipq_stream_is_plain(&stream->half[1]));
}

void ipq_stream_tell_end(struct ipq_streams *streams, const struct ipq_stream *stream)
{
	if (!is_open(stream) || !streams->outbox)
		return;
	tell(streams, stream, 0);
	tell(streams, stream, 1);
	streams->counts[IPQ_STREAMS_RESET]++;
}

void ipq_streams_ended(struct ipq_streams *streams, const struct ipq_flow_ended *ended)
{
	uint32_t number = ended->number < streams->flow_count ? streams->of_flow[ended->number] : 0;

	if (number && number <= streams->connections &&
	    streams->records[number - 1].flow == ended->number &&
	    streams->records[number - 1].generation == ended->flow.generation)
		ipq_stream_forget(streams, ended->number);
}

void ipq_streams_exit(struct ipq_streams *streams)
{
	for (uint32_t i = 0; i < streams->head->used && i < streams->connections; i++)
		ipq_stream_tell_end(streams, &streams->records[i]);
}
