/* Segments that are held behind a gap: their sender is told that they have come, as the receiver
 * would tell it. It sends again what is missing, and no more, and need not wait for its timer. What
 * it was told of it keeps until it is acknowledged, so that nothing is lost where they are not
 * passed after all. (RFC 2018 section 8) */
#include "talk.h"
#include "lib/bytes.h"
#include "lib/packet/make.h"
#include "lib/send/send.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

enum { BLOCKS_MOST = 3, TIMESTAMPS_SIZE = 12, BLOCK_SIZE = 8, IP_MOST = 40 };

struct range {
	uint64_t from;
	uint64_t to;
};

/* Puts a range in front of those that there are, of which the last may have to go. */
static void put_first(struct range *ranges, uint32_t *count, struct range range)
{
	uint32_t kept = *count < BLOCKS_MOST ? *count : BLOCKS_MOST - 1;

	memmove(ranges + 1, ranges, kept * sizeof(*ranges));
	ranges[0] = range;
	*count = kept + 1;
}

/* A range is whole; the one with the segment is kept for later. */
static void put_range(struct range *ranges, uint32_t *count, struct range *newest,
		      struct range range, const struct ipq_stream_segment *segment)
{
	if (range.from == range.to)
		return;
	if (!ipq_stream_before(segment->at, range.from) &&
	    !ipq_stream_before(range.to, segment->end))
		*newest = range;
	else
		put_first(ranges, count, range);
}

/* What has come behind the gap, without further gaps each: the range with the newest segment first.
 * What lies in front of it is none: its sender takes a block where it waits for an acknowledgement
 * as the sign that none is to be believed. */
static uint32_t find(const struct ipq_stream_segment *segment, struct range *ranges)
{
	const struct ipq_stream_ear *ear = segment->ear;
	struct range range = {0, 0}, newest = {0, 0};
	uint32_t count = 0;

	for (const struct ipq_stream_held *held = ear->held; held; held = held->next) {
		if (!ipq_stream_before(ear->next, held->at))
			continue;
		if (range.from != range.to && !ipq_stream_before(range.to, held->at)) {
			range.to = ipq_stream_later(range.to, held->end);
			continue;
		}
		put_range(ranges, &count, &newest, range, segment);
		range = (struct range){held->at, held->end};
	}
	put_range(ranges, &count, &newest, range, segment);
	if (newest.from != newest.to)
		put_first(ranges, &count, newest);
	return count;
}

/* The segment's timestamps turned round: none is newer than what its sender has seen. (RFC 7323) */
static uint8_t *put_timestamps(uint8_t *to, const struct ipq_stream_segment *segment)
{
	const uint8_t *option = ipq_stream_option(segment->packet->data + segment->packet->l4,
						  segment->header, TCPOPT_TIMESTAMP);

	if (!option || option[1] != TCPOLEN_TIMESTAMP)
		return to;
	*to++ = TCPOPT_NOP;
	*to++ = TCPOPT_NOP;
	*to++ = TCPOPT_TIMESTAMP;
	*to++ = TCPOLEN_TIMESTAMP;
	memcpy(to, option + 6, 4);
	memcpy(to + 4, option + 2, 4);
	return to + 8;
}

static uint8_t *put_blocks(uint8_t *to, const struct ipq_stream_half *half,
			   const struct range *ranges, uint32_t count)
{
	*to++ = TCPOPT_NOP;
	*to++ = TCPOPT_NOP;
	*to++ = TCPOPT_SACK;
	*to++ = (uint8_t)(2 + count * BLOCK_SIZE);
	for (uint32_t i = 0; i < count; i++) {
		ipq_store32(to, ipq_stream_sequence(half->isn, ranges[i].from));
		ipq_store32(to + 4, ipq_stream_sequence(half->isn, ranges[i].to));
		to += BLOCK_SIZE;
	}
	return to;
}

static uint16_t window_of(const struct ipq_streams *streams,
			  const struct ipq_stream_segment *segment)
{
	const struct ipq_stream_half *half = segment->half;
	uint64_t edge = ipq_stream_original(streams, half, half->edge) +
			ipq_stream_undecided(streams, segment->number, segment->direction);
	uint64_t room = ipq_stream_before(half->una, edge)
				? (edge - half->una) >> ipq_stream_scale(half)
				: 0;

	return room < UINT16_MAX ? (uint16_t)room : UINT16_MAX;
}

void ipq_stream_tell_gap(struct ipq_streams *streams, const struct ipq_stream_segment *segment)
{
	const struct ipq_stream_half *half = segment->half;
	uint8_t bytes[IP_MOST + IPQ_MAKE_TCP + TIMESTAMPS_SIZE + 4 + BLOCKS_MOST * BLOCK_SIZE];
	struct range ranges[BLOCKS_MOST];
	struct ipq_segment tcp = {
		.seq = segment->ack,
		.ack = ipq_stream_sequence(half->isn, half->una),
		.flags = TH_ACK,
		.window = window_of(streams, segment),
	};
	struct ipq_ends ends;
	uint32_t count = find(segment, ranges), ip_len;
	uint8_t *end;

	if (!streams->outbox || !count || !(segment->flags & TH_ACK) ||
	    !(segment->half->bits & segment->other->bits & IPQ_STREAM_SACK))
		return;
	ipq_make_ends(segment->packet, NULL, &ends);
	ipq_make_turn(&ends);
	ip_len = ipq_make_ip_len(&ends);
	ipq_make_tcp(bytes + ip_len, &ends, &tcp);
	end = put_timestamps(bytes + ip_len + IPQ_MAKE_TCP, segment);
	end = put_blocks(end, half, ranges, count);
	bytes[ip_len + 12] = (uint8_t)((end - bytes - ip_len) << 2);
	ipq_make_ip(bytes, &ends, (uint32_t)(end - bytes) - ip_len, 0, true);
	ipq_make_sums(bytes, (uint32_t)(end - bytes));
	if (ipq_outbox_bytes(streams->outbox, bytes, (uint32_t)(end - bytes), segment->packet) == 0)
		streams->counts[IPQ_STREAMS_INJECTED]++;
}
