/*
 * The room of streams: what each end of a TCP connection says to the other, read by a script, edited by it,
 * and translated for the rest of the connection.
 *
 * Called by   the loop over packets, for each packet of a connection that a script has chosen, when
 *             the filter has said what becomes of it; and Lua, on behalf of handlers.
 *
 * How         Each direction of a connection is a half. A byte that its sender has sent has a position:
 *             0 is the byte behind the SYN. Edits (edits.c) say what the receiver gets instead: at an
 *             original position so many bytes are removed and so many others are put in front. Which
 *             output position an original one has, and the other way round, follows from them alone:
 *             whatever pieces the sender repeats, the receiver gets the same bytes.
 *
 * States      of a position of a half: acknowledged (before una), decided (before done: nothing is edited there
 *             any more), undecided. The FIN counts as a byte that is never removed.
 *             of an edit: alive, or pruned, as soon as the receiver has acknowledged what it made.
 *
 * Always      What a process that is killed has let out is what the memory says: edits are stored before
 *             a packet that shows them gets its verdict. One process at a time works with the memory, and
 *             attaches anew after another one has. Whatever stands in the memory, nothing outside of it is read
 *             or written, and every loop ends.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations only.
 * table.h has the layout of the memory, for this room alone.
 */
#ifndef IPQ_STREAM_H
#define IPQ_STREAM_H

#include "lib/flow/flow.h"
#include "lib/ipq_abi.h"

/* IPQ_STREAM_FAR (2^62) is a position that no stream reaches, IPQ_STREAM_NOBODY (2^32 - 1) no
 * record's number. */
enum ipq_stream_limits {
	IPQ_STREAMS_MOST = 1 << 20, /* records of a memory */
	IPQ_STREAM_EDITS = 1024,    /* of a half that may be alive */
	IPQ_STREAM_HEAD_SIZE = 256
};

enum ipq_stream_state {
	IPQ_STREAM_NONE = 0,
	IPQ_STREAM_SYN_SENT = 1,    /* a SYN was seen */
	IPQ_STREAM_ESTABLISHED = 2, /* and the other end's */
	IPQ_STREAM_LOST = 3,	 /* what was edited cannot be told any more: both ends are reset */
	IPQ_STREAM_TO_RESET = 4, /* its next packet has both ends reset */
	IPQ_STREAM_STATES = 5
};

/* At the original position at, so many bytes are removed; in front of what follows, at the output
 * position out, so many others are added. */
struct ipq_stream_edit {
	uint64_t at;
	uint64_t out;
	uint64_t removed;
	uint32_t added;
	uint32_t text; /* the chunk that begins what is added */
};

enum ipq_stream_bits { IPQ_STREAM_SACK = 1 /* its option permits SACK (RFC 2018) */ };

/* One direction. Positions are original ones, but those that are said to be output. */
struct ipq_stream_half {
	uint64_t seen;	/* behind all that its sender has sent */
	uint64_t done;	/* behind all that is decided; may be far ahead of seen */
	uint64_t una;	/* behind all that its receiver has acknowledged */
	uint64_t acked; /* output: the same, as the receiver said it */
	uint64_t sent;	/* output: behind all that the receiver was sent */
	uint64_t edge;	/* output: the right edge of the receiver's window */
	uint64_t fin;	/* of the FIN; IPQ_STREAM_FAR: there was none */
	int64_t base;	/* what pruned edits have added, less what they have removed; of the oldest
			 * edit, where there is one, out less at */
	uint32_t isn;	/* sequence number of the SYN */
	uint32_t
		alive; /* edits: the place of the oldest in the ring << 16, and how many they are */
	uint32_t ring[2]; /* chunks: lists of the chunks that the ring is in */
	uint16_t mss; /* the most that its receiver takes in a segment, as it said; 0: it has not */
	uint8_t scale; /* what its receiver's window field is shifted by */
	uint8_t bits;  /* enum ipq_stream_bits: of its sender's SYN */
	uint8_t last;  /* the byte in front of sent; 0 where there is none */
};

/* A record. 0 is the direction of the client, who sent the SYN; 1 that of the server. */
struct ipq_stream {
	struct ipq_stream_half half[2];
	uint32_t flow;		 /* the flow's number */
	uint32_t generation;	 /* and its generation */
	uint32_t state;		 /* enum ipq_stream_state */
	struct ipq_flow_key key; /* the flow's, for when it has ended */
	uint8_t origin;		 /* the end of the key that is the client */
	uint8_t is_over;	 /* it was reset by an end */
	uint8_t unused[26];
};

/* What becomes of a connection when a limit is reached, or a handler raises. */
enum ipq_stream_policy { IPQ_STREAM_PASSES = 0, IPQ_STREAM_RESETS = 1 };

struct ipq_stream_talk;
struct ipq_stream_held;

/* Memory as its process works with it: private to the caller, filled in by ipq_streams_attach(). */
struct ipq_streams {
	struct ipq_stream_head *head;
	struct ipq_stream *records;
	union ipq_stream_chunk *chunks;
	uint32_t connections;
	uint32_t chunk_count;
	uint32_t chunks_free; /* and those that have never been in use */
	uint32_t
		free_chunk; /* the first of those that were; the first word is the next one's number */
	uint32_t free_record; /* the same of records; the field flow is the next one's number */
	/* The caller's to set. */
	struct ipq_outbox *outbox; /* by what it sends; NULL: it does not */
	int (*hold)(void *owner, struct ipq_packet *packet);
	void (*commit)(void *owner, struct ipq_packet *packet); /* of a copy of what was held */
	void *owner;
	struct ipq_devices *devices; /* what is known of interfaces; NULL: nothing */
	uint32_t (*mtu_of)(struct ipq_devices *devices, uint32_t device);
	int64_t now_us;
	int64_t hold_us;      /* how long a packet may be held */
	uint32_t peek_most;   /* bytes that a handler may peek at */
	uint32_t buffer_most; /* and that it may read at once */
	uint32_t headroom;    /* bytes by which the MSS in SYNs is lowered */
	const uint8_t *ports; /* a bit for each port of a server that is of interest; NULL: all */
	uint8_t edits;	      /* the script may edit */
	uint8_t shows;	      /* packets that were held are kept for ipq_streams_shown() */
	uint8_t on_limit;     /* enum ipq_stream_policy */
	uint8_t on_error;
	uint64_t *counts; /* by enum ipq_stream_count; own_counts at first */
	/* Its own. */
	uint64_t own_counts[11]; /* IPQ_STREAMS_COUNTS */
	struct ipq_flows *flows;
	uint32_t *of_flow; /* the number of a flow's stream, + 1 */
	uint32_t flow_count;
	struct ipq_stream_talk **talks;
	uint8_t *scratch;
	uint8_t *spare;		       /* IPQ_PACKET_MAX bytes, for held packets that grow */
	uint32_t holding;	       /* streams that hold packets */
	uint32_t looked;	       /* where ipq_streams_overdue() goes on */
	struct ipq_stream_held *shown; /* what ipq_streams_shown() gives next */
	struct ipq_stream_held *last_shown;
};

/* Packets (streams.c) */

/* What is to be done with a packet. */
enum ipq_stream_result {
	IPQ_STREAM_DONE =
		0, /* nothing: it has become what its receiver is to get, is dropped or is held */
	IPQ_STREAM_ASK = 1, /* it begins a connection: ipq_stream_open(), if the script wants to */
	IPQ_STREAM_WAKE =
		2 /* handlers have to run (ipq_streams_woken()); then ipq_streams_settle() */
};

/* Has a packet, that is to be accepted, take part in its stream, before it is finished and gets its
 * verdict. The packet has been given its flow. A negative number of enum ipq_rewrite_error: it
 * cannot become what it is to be, and must be dropped. */
int ipq_streams_packet(struct ipq_streams *streams, struct ipq_packet *packet);

/* The direction whose handler has what it waits for, of a stream: it is to run until it waits for
 * something else. NOBODY: there is none. */
uint32_t ipq_streams_woken(struct ipq_streams *streams, uint32_t number);

/* The handlers have run: the packet becomes what it is to be, and so do those that were held and
 * are decided now. As ipq_streams_packet(). */
int ipq_streams_settle(struct ipq_streams *streams, struct ipq_packet *packet);

/* Where shows is set: the first packet that was held, has had its verdict and was not seen yet;
 * NULL: there is none. It is good until it was seen. */
struct ipq_packet *ipq_streams_shown(struct ipq_streams *streams);
void ipq_streams_seen(struct ipq_streams *streams);

/* The number of the packet's stream, or IPQ_STREAM_NOBODY. */
uint32_t ipq_streams_number(struct ipq_streams *streams, const struct ipq_packet *packet);

/* Begins a stream with a SYN: its number. Where nobody listens it is passed as it is. Negative: it
 * is left alone, and counted by the reason. (open.c) */
int ipq_stream_open(struct ipq_streams *streams, struct ipq_packet *packet);

/* The next stream that has held a packet for hold_us; direction: whose. IPQ_STREAM_NOBODY: there is
 * none left, and the next call begins anew. */
uint32_t ipq_streams_overdue(struct ipq_streams *streams, uint32_t *direction);

/* A flow has ended, and with it its stream. Where its ends have not closed it, and it was edited,
 * both are reset. (end.c) */
void ipq_streams_ended(struct ipq_streams *streams, const struct ipq_flow_ended *ended);
/* Nobody translates any more: all connections that were edited are reset. */
void ipq_streams_exit(struct ipq_streams *streams);

/* Handlers (handler.c). number is a stream's, direction 0 for what the client says and 1 for the
 * server. */

/* What a handler waits for. */
enum ipq_stream_wait {
	IPQ_STREAM_DEAF = 0,  /* it has returned, or there is none */
	IPQ_STREAM_BEGIN = 1, /* the first byte, or the end */
	IPQ_STREAM_PEEK = 2,  /* so many bytes, which are held */
	IPQ_STREAM_PEEK_LINE = 3,
	IPQ_STREAM_READ = 4, /* so many, which are passed */
	IPQ_STREAM_LINE = 5,
	IPQ_STREAM_ROOM = 6 /* that half of the edits are acknowledged */
};

/* A handler is there, and is to be woken. -ENOMEM. */
int ipq_stream_listen(struct ipq_streams *streams, uint32_t number, uint32_t direction);

/* Asks for need bytes, or for a line of need bytes at most. Gives how many of those at
 * ipq_stream_bytes() are it, fewer where the stream ends before; -1: the handler is woken when they
 * have come. What was read is behind the handler then. */
int ipq_stream_ask(struct ipq_streams *streams, uint32_t number, uint32_t direction, uint32_t mode,
		   uint32_t need);
const uint8_t *ipq_stream_bytes(struct ipq_streams *streams, uint32_t number, uint32_t direction);
/* How many bytes there are, of those that have come and are not behind the handler: as many as it has asked for, or more. */
uint32_t ipq_stream_there(struct ipq_streams *streams, uint32_t number, uint32_t direction);
/* The bytes that ipq_stream_ask() gave were read: the handler goes on behind them. */
void ipq_stream_pass(struct ipq_streams *streams, uint32_t number, uint32_t direction, uint64_t n);
/* At the place where the handler stands: removes so many bytes, and puts others in front. 0;
 * -ENOSPC: there is no room for the text; -ERANGE: it has passed all; -EAGAIN: there are as many
 * edits as there may be, and the handler is woken when there are fewer. */
int ipq_stream_change(struct ipq_streams *streams, uint32_t number, uint32_t direction,
		      uint64_t removed, const void *text, uint32_t len);
/* Whether the handler stands at the end of what its direction says. */
bool ipq_stream_is_end(struct ipq_streams *streams, uint32_t number, uint32_t direction);
/* The handler is there no more: all that comes is passed. */
void ipq_stream_leave(struct ipq_streams *streams, uint32_t number, uint32_t direction);
/* Resets both ends: with the packet whose handler runs, or that is held; or with the next one. */
void ipq_stream_reset(struct ipq_streams *streams, uint32_t number);
/* The handler has ended by a limit, or by an error: what becomes of the connection then. */
void ipq_stream_fail(struct ipq_streams *streams, uint32_t number, uint32_t direction,
		     uint32_t policy);
/* ipq_stream_reset() of the flow's stream; false: it has none. */
bool ipq_streams_reset_flow(struct ipq_streams *streams, uint32_t flow, uint32_t generation);
/* Whether a handler is waited for; not where a limit has ended it, or its connection has ended. */
bool ipq_stream_is_heard(const struct ipq_streams *streams, uint32_t number, uint32_t direction);

/* What enum ipq_stream_count says, as one word: "edited", "one_sided"; NULL: there is none. */
const char *ipq_streams_word(uint32_t count);

/* The memory (region.c) */

/* Bytes of memory that so many connections take; 0: there cannot be so many, or none. A quarter of
 * it is records, the rest is edits and text. The other way round: the most connections that fit
 * into size bytes. */
size_t ipq_streams_size(uint32_t connections);
uint32_t ipq_streams_connections(size_t size);

/* Makes memory of zeros, or any, empty; it begins at a multiple of 256. -EINVAL: size is less than
 * ipq_streams_size(connections), or that is 0. */
int ipq_streams_init(void *memory, size_t size, uint32_t connections);

/* Begins to work with memory that is there. Streams whose flows have ended are forgotten; those
 * that are not whole are LOST. Nobody edits what there is any more: it goes on translated. flows
 * may be NULL: there are none, and no stream is forgotten. Gives how many are lost now; -EINVAL: it
 * is no memory of this version, or of another size; -ENOMEM. ipq_streams_detach() frees what it has
 * made. */
int ipq_streams_attach(void *memory, size_t size, struct ipq_flows *flows,
		       struct ipq_streams *streams);
void ipq_streams_detach(struct ipq_streams *streams);

/* A record that has no stream, of zeros, whose state is still NONE; NULL: there is none. And back,
 * with all of its edits. */
struct ipq_stream *ipq_stream_new(struct ipq_streams *streams);
void ipq_stream_free(struct ipq_streams *streams, struct ipq_stream *stream);

/* The model (edits.c). Positions are 64 bits, and never less than -2^31. */

/* Where in the output the segment begins that begins at an original position: in front of text that
 * an edit has there. It never falls where the position grows. */
uint64_t ipq_stream_output(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			   uint64_t at);
/* The last original position whose output is not behind that: what an acknowledgement of it
 * acknowledges, or the right edge of a SACK block. May be one that the sender has not come to,
 * where bytes are removed ahead. */
uint64_t ipq_stream_original(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			     uint64_t out);
/* The first original position whose output is not before that: the left edge of a SACK block. */
uint64_t ipq_stream_original_left(const struct ipq_streams *streams,
				  const struct ipq_stream_half *half, uint64_t out);

/* At done: removes so many bytes, which become decided, and puts len bytes in front of what
 * follows. 0; -ENOSPC: there is no room for another edit, or for its text, and nothing has
 * changed. */
int ipq_stream_edit(struct ipq_streams *streams, struct ipq_stream_half *half, uint64_t removed,
		    const void *text, uint32_t len);

/* The receiver has acknowledged what is before that output position, which is not behind sent: una
 * and acked follow, and edits that are behind them are pruned. */
void ipq_stream_acknowledge(struct ipq_streams *streams, struct ipq_stream_half *half,
			    uint64_t out);

/* Writes the output from one output position to another, both of them positions of a segment's: it
 * begins at an original position, and has these bytes, of which the last may be a FIN that is no
 * byte among them. What lies between the output of at and that of its end is asked for, or less. */
void ipq_stream_render(const struct ipq_streams *streams, const struct ipq_stream_half *half,
		       uint64_t at, const uint8_t *bytes, uint32_t len, uint64_t from, uint64_t to,
		       uint8_t *output);

/* The FIN is at that position: no byte is removed that lies there or behind it, and text that was
 * to go behind it goes in front of it. */
void ipq_stream_end(struct ipq_streams *streams, struct ipq_stream_half *half, uint64_t at);

#endif
