/* What was heard, kept until its receiver has acknowledged it. Where the sender says other bytes in
 * its place, in a repetition or in a piece that overlaps, the receiver gets those that were
 * heard. */
#include "talk.h"

#include <stdlib.h>

enum { ROOM_LEAST = 2048, ROOM_MOST = 1 << 16 };

/* A piece: its bytes follow one another. */
struct ipq_stream_said {
	struct ipq_stream_said *next;
	uint64_t at;
	uint32_t len;
	uint32_t room;
	uint8_t bytes[];
};

static uint64_t end_of(const struct ipq_stream_said *said)
{
	return said->at + said->len;
}

static struct ipq_stream_said *append(struct ipq_stream_ear *ear, uint64_t at, uint32_t len)
{
	uint32_t room = ear->said_bytes < ROOM_MOST ? ear->said_bytes : ROOM_MOST;
	struct ipq_stream_said *said;

	/* As much as there is already: pieces stay few. */
	if (room < ROOM_LEAST)
		room = ROOM_LEAST;
	if (room < len)
		room = len;
	said = malloc(sizeof(*said) + room);
	if (!said)
		return NULL;
	*said = (struct ipq_stream_said){.at = at, .room = room};
	*(ear->last_said ? &ear->last_said->next : &ear->said) = said;
	ear->last_said = said;
	return said;
}

bool ipq_stream_note(struct ipq_stream_ear *ear, uint64_t at, const uint8_t *bytes, uint32_t len)
{
	struct ipq_stream_said *said = ear->last_said;

	if (len > SAID_MOST - ear->said_bytes)
		return false;
	if (!said || end_of(said) != at || len > said->room - said->len)
		said = append(ear, at, len);
	if (!said)
		return false;
	memcpy(said->bytes + said->len, bytes, len);
	said->len += len;
	ear->said_bytes += len;
	return true;
}

void ipq_stream_unsay(struct ipq_stream_ear *ear, uint64_t to)
{
	while (ear->said && !ipq_stream_before(to, end_of(ear->said))) {
		struct ipq_stream_said *said = ear->said;

		ear->said = said->next;
		ear->said_bytes -= said->len;
		free(said);
	}
	if (!ear->said)
		ear->last_said = NULL;
}

int ipq_stream_insist(struct ipq_streams *streams, const struct ipq_stream_segment *segment)
{
	const struct ipq_stream_said *said = segment->ear ? segment->ear->said : NULL;
	struct ipq_packet *packet = segment->packet;
	uint64_t end = segment->at + segment->len;
	bool is_other = false;
	int ret = IPQ_REWRITE_OK;

	for (; said && ipq_stream_before(said->at, end) && ret == IPQ_REWRITE_OK;
	     said = said->next) {
		uint64_t from = ipq_stream_later(said->at, segment->at);
		uint64_t to = ipq_stream_earlier(end_of(said), end);
		uint32_t offset = (uint32_t)packet->body + (uint32_t)(from - segment->at);

		if (!ipq_stream_before(from, to) ||
		    memcmp(packet->data + offset, said->bytes + (from - said->at), to - from) == 0)
			continue;
		is_other = true;
		ret = ipq_rewrite_store(packet, offset, said->bytes + (from - said->at),
					(uint32_t)(to - from));
	}
	streams->counts[IPQ_STREAMS_DIFFERING] += is_other;
	return ret;
}
