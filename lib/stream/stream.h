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

#include "lib/ipq_abi.h"

enum ipq_stream_limits {
	IPQ_STREAMS_MOST = 1 << 20, /* records of a memory */
	IPQ_STREAM_EDITS = 1024,    /* of a half that may be alive */
	IPQ_STREAM_HEAD_SIZE = 256
};

/* A position that no stream reaches; and no record's number. */
#define IPQ_STREAM_FAR	  (UINT64_C(1) << 62)
#define IPQ_STREAM_NOBODY UINT32_MAX

enum ipq_stream_state {
	IPQ_STREAM_NONE = 0,
	IPQ_STREAM_SYN_SENT = 1,    /* a SYN was seen */
	IPQ_STREAM_ESTABLISHED = 2, /* and the other end's */
	IPQ_STREAM_LOST = 3, /* what was edited cannot be told any more: both ends are reset */
	IPQ_STREAM_STATES = 4
};

/* At the original position at, so many bytes are removed; in front of what follows, at the output position out, so many
 * others are added. */
struct ipq_stream_edit {
	uint64_t at;
	uint64_t out;
	uint64_t removed;
	uint32_t added;
	uint32_t text; /* the chunk that begins what is added */
};

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
	uint8_t bits;  /* enum ipq_stream_bits */
};

/* A record. 0 is the direction of the client, who sent the SYN; 1 that of the server. */
struct ipq_stream {
	struct ipq_stream_half half[2];
	uint32_t flow;	     /* the flow's number */
	uint32_t generation; /* and its generation */
	uint32_t state;	     /* enum ipq_stream_state */
	uint8_t unused[68];
};

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
};

/* The memory (region.c) */

/* Bytes of memory that so many connections take; 0: there cannot be so many, or none. A quarter of it is records, the
 * rest is edits and text. The other way round: the most connections that fit into size bytes. */
size_t ipq_streams_size(uint32_t connections);
uint32_t ipq_streams_connections(size_t size);

/* Makes memory of zeros, or any, empty; it begins at a multiple of 256. -EINVAL: size is less than
 * ipq_streams_size(connections), or that is 0. */
int ipq_streams_init(void *memory, size_t size, uint32_t connections);

/* Begins to work with memory that is there. Streams whose flows have ended are forgotten; those that are not
 * whole are LOST. flows may be NULL: no stream is forgotten. Gives how many are lost now; -EINVAL: it is no memory of this
 * version, or of another size; -ENOMEM. */
int ipq_streams_attach(void *memory, size_t size, struct ipq_flows *flows,
		       struct ipq_streams *streams);

/* A record that has no stream, of zeros, whose state is still NONE; NULL: there is none. And back, with all of its
 * edits. */
struct ipq_stream *ipq_stream_new(struct ipq_streams *streams);
void ipq_stream_free(struct ipq_streams *streams, struct ipq_stream *stream);

/* The model (edits.c). Positions are 64 bits, and never less than -2^31. */

/* Where in the output the segment begins that begins at an original position: in front of text that an edit has there.
 * It never falls where the position grows. */
uint64_t ipq_stream_output(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			   uint64_t at);
/* The last original position whose output is not behind that: what an acknowledgement of it acknowledges, or
 * the right edge of a SACK block. May be one that the sender has not come to, where bytes are removed ahead. */
uint64_t ipq_stream_original(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			     uint64_t out);
/* The first original position whose output is not before that: the left edge of a SACK block. */
uint64_t ipq_stream_original_left(const struct ipq_streams *streams,
				  const struct ipq_stream_half *half, uint64_t out);

/* At done: removes so many bytes, which become decided, and puts len bytes in front of what follows. 0; -ENOSPC: there
 * is no room for another edit, or for its text, and nothing has changed. */
int ipq_stream_edit(struct ipq_streams *streams, struct ipq_stream_half *half, uint64_t removed,
		    const void *text, uint32_t len);

/* The receiver has acknowledged what is before that output position, which is not behind sent: una and acked follow,
 * and edits that are behind them are pruned. */
void ipq_stream_acknowledge(struct ipq_streams *streams, struct ipq_stream_half *half,
			    uint64_t out);

/* Writes the output from one output position to another, both of them positions of a segment's: it begins at an
 * original position, and has these bytes, of which the last may be a FIN that is no byte among them. What lies
 * between the output of at and that of its end is asked for, or less. */
void ipq_stream_render(const struct ipq_streams *streams, const struct ipq_stream_half *half,
		       uint64_t at, const uint8_t *bytes, uint32_t len, uint64_t from, uint64_t to,
		       uint8_t *output);

/* No byte is removed that lies there or behind it: the FIN is at that position. */
void ipq_stream_end(struct ipq_streams *streams, struct ipq_stream_half *half, uint64_t at);

#endif
