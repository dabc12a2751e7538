/* What a process has of a stream beside its record, and what dies with it: bytes that a handler
 * waits for or looks at, packets that are held, output that the receiver has no room for. The
 * sender repeats all of that. */
#ifndef IPQ_STREAM_TALK_H
#define IPQ_STREAM_TALK_H

#include "table.h"
#include "lib/packet/packet.h"

enum { IPQ_STREAM_IS_OTHER = 1, IPQ_STREAM_SCALE_MOST = 14 };

enum {
	HEADER_MOST = 512,   /* of IP, with its options or extension headers, and TCP */
	GATE_MOST = 8 << 20, /* bytes that wait for room of a receiver */
	SAID_MOST = 8 << 20, /* and that are kept until it has acknowledged them */
	PIECE_MOST =
		60000, /* bytes of a segment of our own; what is too large for its way is cut there */
	SCRATCH_SIZE = 1 << 16
};

/* A held packet. */
struct ipq_stream_held {
	struct ipq_stream_held *next;
	uint64_t at;
	uint64_t end;
	int64_t since_us;
	bool is_own; /* no queue waits for its verdict: it is the rest of a packet that has had one */
	uint8_t *
		grown; /* its bytes where they have outgrown their place, and are to be seen; else NULL */
	struct ipq_packet packet;
	uint8_t bytes[];
};

/* Output that was rendered and that its receiver has no room for yet, and how it is sent when it
 * has. */
struct ipq_stream_gate {
	uint8_t *bytes;
	uint64_t from; /* output */
	uint32_t len;
	uint32_t room;
	bool has_fin;
	struct ipq_packet way; /* as it was sent last */
	uint8_t header[HEADER_MOST];
};

struct ipq_stream_said;

/* One direction. */
struct ipq_stream_ear {
	uint8_t mode; /* enum ipq_stream_wait */
	uint32_t need;
	uint64_t from; /* where the handler stands */
	uint64_t next; /* behind what has come without a gap */
	uint64_t scanned;
	uint8_t *bytes; /* those between from and next */
	uint32_t room;
	struct ipq_stream_held *held; /* by their positions */
	uint32_t held_bytes;
	struct ipq_stream_gate *gate; /* NULL: nothing waits */
	struct ipq_stream_said *said; /* what was heard, by its positions */
	struct ipq_stream_said *last_said;
	uint32_t said_bytes;
};

struct ipq_stream_talk {
	struct ipq_stream_ear ear[2];
};

/* A TCP segment of a stream. */
struct ipq_stream_segment {
	struct ipq_packet *packet;
	struct ipq_stream *stream;
	struct ipq_stream_half *half;  /* that it is of */
	struct ipq_stream_half *other; /* that it acknowledges */
	struct ipq_stream_ear *ear;    /* of half; NULL: nobody listens */
	uint32_t number;	       /* of the stream */
	uint32_t direction;
	uint32_t len; /* bytes of payload */
	uint32_t seq; /* as it came */
	uint32_t ack;
	uint8_t flags;	/* TH_* */
	uint8_t header; /* bytes of the TCP header */
	uint16_t window;
	uint64_t at;  /* position of the first byte */
	uint64_t end; /* behind the last one, a FIN among them */
	uint64_t out; /* where it goes in the output */
	bool is_translated;
	bool is_cut; /* not all of what came is in it */
	bool is_own; /* it is sent, whatever becomes of the packet that it came with */
};

static inline void ipq_stream_drop(struct ipq_packet *packet)
{
	packet->verdict = IPQ_DROP;
	packet->set &= ~(uint32_t)(IPQ_SET_PAYLOAD | IPQ_SET_OVERSIZED);
}

static inline bool ipq_stream_before(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) < 0;
}

static inline uint64_t ipq_stream_later(uint64_t a, uint64_t b)
{
	return ipq_stream_before(a, b) ? b : a;
}

static inline uint64_t ipq_stream_earlier(uint64_t a, uint64_t b)
{
	return ipq_stream_before(a, b) ? a : b;
}

/* The position of a sequence number that is less than 2^31 away from a position. (RFC 9293 section
 * 3.4) */
static inline uint64_t ipq_stream_position(uint64_t near, uint32_t isn, uint32_t seq)
{
	return near + (uint64_t)(int64_t)(int32_t)(seq - isn - 1 - (uint32_t)near);
}

static inline uint32_t ipq_stream_sequence(uint32_t isn, uint64_t position)
{
	return isn + 1 + (uint32_t)position;
}

/* What the window field of a half's receiver is shifted by, and no more than that may be, whatever
 * the memory says. (RFC 7323 section 2.3) */
static inline uint32_t ipq_stream_scale(const struct ipq_stream_half *half)
{
	return half->scale < IPQ_STREAM_SCALE_MOST ? half->scale : IPQ_STREAM_SCALE_MOST;
}

/* Whether positions and output are the same in a half, and always were. */
static inline bool ipq_stream_is_plain(const struct ipq_stream_half *half)
{
	return half->base == 0 && ipq_stream_count(half) == 0;
}

/* What listens to a stream (talk.c) */

/* What a process has of a stream, made where there is nothing yet; NULL: there is no memory. */
struct ipq_stream_talk *ipq_stream_talk(struct ipq_streams *streams, uint32_t number);

/* Bytes that have come: those that the handler has not had go to what it reads. */
void ipq_stream_hear(struct ipq_stream_ear *ear, uint64_t at, const uint8_t *bytes, uint32_t len);
/* The handler goes on from there. */
void ipq_stream_move(struct ipq_stream_ear *ear, uint64_t to);
/* Keeps a copy of a packet that is held. NULL where there is no memory. */
struct ipq_stream_held *ipq_stream_keep(struct ipq_stream_ear *ear,
					const struct ipq_stream_segment *segment, int64_t now_us);
/* Keeps what of a segment is not before that position. False where there is no memory. */
bool ipq_stream_keep_rest(struct ipq_stream_ear *ear, const struct ipq_stream_segment *segment,
			  uint64_t from, int64_t now_us);
/* Whether all of those bytes are held already, in whatever pieces. */
bool ipq_stream_is_held(const struct ipq_stream_ear *ear, uint64_t at, uint64_t end);
/* Forgets all that is there; held packets are the caller's before. */
void ipq_stream_deafen(struct ipq_stream_ear *ear);

/* What was heard (said.c) */

/* Keeps len bytes that were heard and lie behind all that is kept. False: there is no memory, or
 * they are too many. */
bool ipq_stream_note(struct ipq_stream_ear *ear, uint64_t at, const uint8_t *bytes, uint32_t len);
/* What is before that position is acknowledged. */
void ipq_stream_unsay(struct ipq_stream_ear *ear, uint64_t to);
/* Where the segment's bytes are others than were heard they become those. 0, or a negative number
 * of enum ipq_rewrite_error. */
int ipq_stream_insist(struct ipq_streams *streams, const struct ipq_stream_segment *segment);

/* Handlers (handler.c) */

/* Whether the handler has what it waits for, and is to run. */
bool ipq_stream_is_ready(const struct ipq_stream_half *half, struct ipq_stream_ear *ear);
/* Bytes that have come and wait for a handler to decide. */
uint64_t ipq_stream_undecided(const struct ipq_streams *streams, uint32_t number,
			      uint32_t direction);
/* A handler that has gone on behind the FIN, which had not come, stands in front of it: what it
 * inserts goes out with it. */
void ipq_stream_turn_back(struct ipq_stream_half *half, struct ipq_stream_ear *ear);
/* What a handler reads is decided as it comes. */
void ipq_stream_advance(struct ipq_stream_half *half, struct ipq_stream_ear *ear);
/* Nothing is translated any more: both ends are reset whenever they speak. */
void ipq_stream_lose(struct ipq_streams *streams, struct ipq_stream *stream);
/* Drops what is held, and forgets all that dies with this process. */
void ipq_stream_end_talk(struct ipq_streams *streams, uint32_t number);
/* Forgets a record's edits (region.c). */
void ipq_stream_clear(struct ipq_streams *streams, struct ipq_stream *stream);

/* Packets (streams.c) */

/* The flow has no stream any more. */
void ipq_stream_forget(struct ipq_streams *streams, uint32_t flow);

/* Held packets of a direction that are decided get their verdicts; or all of them, and are
 * dropped. */
void ipq_stream_release(struct ipq_streams *streams, struct ipq_stream *stream, uint32_t direction,
			bool is_dropped);

/* Segments (segment.c) */

/* What a packet says; false where it is not to be understood. */
bool ipq_stream_read(struct ipq_streams *streams, struct ipq_packet *packet,
		     struct ipq_stream *stream, struct ipq_stream_segment *segment);
/* The packet becomes what its receiver is to get: dropped, changed, or as it is. 0, or a negative
 * number of enum ipq_rewrite_error. */
int ipq_stream_emit(struct ipq_streams *streams, struct ipq_stream_segment *segment);
/* Sends what waits and has room now. */
void ipq_stream_pump(struct ipq_streams *streams, struct ipq_stream *stream, uint32_t direction,
		     struct ipq_packet *cause);
/* A reset for the receiver of a half, in its own numbers; and what a segment that way says
 * otherwise. */
void ipq_stream_send_reset(struct ipq_streams *streams, struct ipq_stream_segment *segment);

/* A segment with SYN of a stream that there is (open.c). 0; IPQ_STREAM_IS_OTHER: it begins another
 * connection; or a negative number of enum ipq_rewrite_error. */
int ipq_stream_syn(struct ipq_streams *streams, struct ipq_stream_segment *segment);

/* The quote of an ICMP error about a segment becomes what its receiver has sent, and the MTU that
 * it tells of is learnt (icmp.c). 0, or a negative number of enum ipq_rewrite_error. */
int ipq_stream_icmp(struct ipq_streams *streams, struct ipq_packet *packet,
		    struct ipq_stream *stream);

/* Nobody will translate the stream any more: both ends are reset, if it was edited and they have
 * not ended it (end.c). */
void ipq_stream_tell_end(struct ipq_streams *streams, const struct ipq_stream *stream);

/* Tells the sender of a segment that is held behind a gap what has come (gap.c). */
void ipq_stream_tell_gap(struct ipq_streams *streams, const struct ipq_stream_segment *segment);

/* The fields of the segment's TCP header become what its receiver understands (header.c): it lies
 * at out, and has these flags. It may be called again, with others. 0, or a negative number of enum
 * ipq_rewrite_error. */
int ipq_stream_translate(struct ipq_streams *streams, struct ipq_stream_segment *segment,
			 uint8_t flags);
/* The option of that kind in a TCP header of len bytes; NULL: it has none, or is malformed in front
 * of it. */
uint8_t *ipq_stream_option(uint8_t *tcp, uint32_t len, uint8_t kind);

#endif
