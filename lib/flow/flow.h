/*
 * The room of flows: who speaks with whom, what they have said so far, and what a script notes of it.
 * shared.h is about the room's other matter, tables that several processes share.
 *
 * Called by   lib/queue's driver (a batch first, then each packet of it before its filter is asked);
 *             Lua, which makes a table of memory that it is given, or attaches to one, sweeps it by a
 *             timer, and shows flows to filters (bindings/ipq/engine/flows.lua, packet/flow.lua);
 *             host/supervise, which looks on. Memory is the caller's: host/supervise's, a replay's, or
 *             the test kit's.
 *
 * How         A table in memory that outlives its process (region.c). An index of buckets leads to
 *             records that never move (flow.c), by a hash with a secret key of what the headers say
 *             (key.c). track.c counts, and follows a connection's state. Where there is no room for
 *             another flow, one is evicted: the oldest of those that nobody has answered or that are
 *             closed; where there are none, the one of its own buckets that was silent for longest.
 *
 * States      of a record: free (IPQ_FLOW_NONE), or one of enum ipq_flow_state. A flow that ends
 *             is copied into a ring (struct ipq_flow_ended), and its record is free at once.
 *             of the memory: sound, or in a change (an odd sequence number), which attaching ends.
 *
 * Always      One process at a time works with the memory, and attaches anew after another one has.
 *             Nothing is allocated, no system call is made (but by ipq_flows_populate()), the caller
 *             tells the time. A process may be killed at any instruction: the next one finds all flows
 *             but that which was being made or ended. Whatever stands in the memory, nothing outside
 *             of it is read or written, and every loop ends; but what a flow says may be anything
 *             then, numbers and words too.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations
 * only. table.h has the layout of the memory, for this room alone.
 */
#ifndef IPQ_FLOW_H
#define IPQ_FLOW_H

#include "lib/ipq_abi.h"

enum ipq_flow_limits {
	IPQ_FLOWS_MOST = 1 << 26, /* entries of a table */
	IPQ_FLOW_FIELDS = 4,
	IPQ_FLOW_KEY_SIZE = 88, /* bytes of randomness for the hash */
	IPQ_FLOW_RING = 256,	/* flows that have ended and that nobody has been told of */
	IPQ_FLOW_HEAD_SIZE = 512
};

/* Words as conntrack's where it has them. CLOSED is its TIME_WAIT and CLOSE. */
enum ipq_flow_state {
	IPQ_FLOW_NONE = 0,     /* there is no flow */
	IPQ_FLOW_NEW = 1,      /* not TCP: one direction was seen */
	IPQ_FLOW_STREAM = 2,   /* not TCP: both were */
	IPQ_FLOW_SYN_SENT = 3, /* a SYN */
	IPQ_FLOW_SYN_RECV = 4, /* and a SYN from its receiver */
	IPQ_FLOW_ESTABLISHED = 5,
	IPQ_FLOW_FIN_WAIT = 6,	 /* one end has closed */
	IPQ_FLOW_CLOSE_WAIT = 7, /* and the other has acknowledged that */
	IPQ_FLOW_LAST_ACK = 8,	 /* both have closed */
	IPQ_FLOW_CLOSED = 9,	 /* and both have acknowledged that; or a reset */
	IPQ_FLOW_MIDSTREAM = 10, /* its beginning was not seen */
	IPQ_FLOW_STATES = 11
};

/* Timeouts, by what a flow is doing. */
enum ipq_flow_timeout {
	IPQ_FLOW_TCP = 0,
	IPQ_FLOW_TCP_OPENING = 1, /* up to ESTABLISHED; MIDSTREAM in one direction */
	IPQ_FLOW_TCP_CLOSING = 2, /* from FIN_WAIT on */
	IPQ_FLOW_UDP = 3,	  /* UDP-Lite's, too */
	IPQ_FLOW_UDP_STREAM = 4,
	IPQ_FLOW_ICMP = 5,
	IPQ_FLOW_OTHER = 6,
	IPQ_FLOW_TIMEOUTS = 7
};

/* Why a flow has ended. */
enum ipq_flow_reason {
	IPQ_FLOW_END_CLOSED = 1,
	IPQ_FLOW_END_RESET = 2,
	IPQ_FLOW_END_TIMEOUT = 3,
	IPQ_FLOW_END_EVICTED = 4
};

/* Bits of a flow. */
enum ipq_flow_bits {
	IPQ_FLOW_ORIGIN = 1, /* the end whose packet came first: 0 or 1 of its key */
	IPQ_FLOW_FIN = 2,    /* the original direction has closed, or has reset the connection */
	IPQ_FLOW_FIN_REPLY = 4,
	IPQ_FLOW_RESET = 8,
	IPQ_FLOW_QUEUED = 16, /* among those that are evicted first; its seq[1] links them */
	IPQ_FLOW_HOOK_SHIFT = 5
};

/* What a script has decided of a flow, by ipq_flow_decide(): with REJECT an enum ipq_reject. */
enum ipq_flow_decision {
	IPQ_FLOW_ASK = 0,
	IPQ_FLOW_DROP = 1,
	IPQ_FLOW_BYPASS = 2,
	IPQ_FLOW_REJECT = 8,
	IPQ_FLOW_REJECT_MASK = 7,
	IPQ_FLOW_DECISION_MASK = 15
};

/* Of struct ipq_packet, field flow_bits. */
enum ipq_packet_flow_bits { IPQ_FLOW_IS_NEW = 1, IPQ_FLOW_IS_RELATED = 2 };

/* The two ends of a flow, the lesser one first; addresses in network order, IPv4's with 12 bytes of 0
 * behind them. Of an ICMP request and its reply the asking end's port is the identifier, and the other's is
 * the type of the request; of other ICMP the sender's is 0, and the receiver's is the type. */
struct ipq_flow_key {
	uint8_t addresses[2][16];
	uint16_t ports[2];
	uint16_t zone; /* conntrack's, where the kernel has told; else 0 */
	uint8_t protocol;
	uint8_t ip_version; /* 4 or 6 */
};

/* What one direction of a TCP connection has sent: the sequence number behind it, and the last acknowledgement. Both
 * are 0 where nothing is known. */
struct ipq_flow_seq {
	uint32_t edge;
	uint32_t ack;
};

/* A record: two cache lines. Index 0 is the original direction, 1 is the reply. */
struct ipq_flow {
	struct ipq_flow_key key;
	struct ipq_flow_seq seq[2];
	uint32_t last_ms; /* of its last packet, by ipq_flow_last_us() */
	uint8_t state;	  /* enum ipq_flow_state */
	uint8_t bits;	  /* enum ipq_flow_bits; from HOOK_SHIFT on the original direction's hook */
	uint8_t decision; /* enum ipq_flow_decision; from HOOK_SHIFT on the reply's hook */
	uint8_t high;	  /* four more bits of each of packets */
	double fields[4]; /* IPQ_FLOW_FIELDS, a script's */
	double bytes[2];  /* from the IP header on */
	uint32_t packets[2]; /* by ipq_flow_packets() */
	uint32_t generation; /* another one for each flow that has the record */
	uint32_t first_ms;   /* of its first packet, by ipq_flow_first_us() */
};

/* A flow that has ended. */
struct ipq_flow_ended {
	struct ipq_flow flow;
	uint32_t number;
	uint32_t reason; /* enum ipq_flow_reason */
};

/* What ipq_flows_batch() has found out of a packet. */
struct ipq_flow_seen {
	struct ipq_flow_key key;
	uint64_t hash;
	uint8_t is_ready;
	uint8_t has_key;
	uint8_t side; /* which end of the key has sent it */
	uint8_t is_related;
};

struct ipq_flow_head;
struct ipq_flow_bucket;

/* A table as its process works with it: private memory of the caller, filled in by ipq_flows_attach(). */
struct ipq_flows {
	struct ipq_flow *records;
	struct ipq_flow_bucket *buckets;
	struct ipq_flow_ended *ring;
	struct ipq_flow_head *head;
	uint32_t entries;
	uint32_t bucket_count;
	/* The caller's to set. */
	uint32_t limit;		/* flows that there may be; entries at first, and at most */
	uint32_t timeout_ms[7]; /* by enum ipq_flow_timeout; 2^30 at most */
	uint8_t wants_ended;	/* flows that end are put into the ring */
	/* Its own. */
	int64_t now_us;
	uint32_t sweep;	 /* the record that is looked at next */
	uint32_t victim; /* the flow that is evicted next, whose hash is known: */
	uint64_t victim_hash;
	uint64_t key[11];
	const struct ipq_packet *packets; /* of the batch that seen is of */
	struct ipq_flow_seen seen[64];	  /* IPQ_BATCH_MAX */
};

/* The memory (region.c) */

/* Bytes that a table of so many entries has, 136 an entry and some more; 0: it cannot have so many, or
 * none. The other way round: the most entries that fit into size bytes. */
size_t ipq_flows_size(uint32_t entries);
uint32_t ipq_flows_entries(size_t size);

/* Makes an empty table of memory, whatever is there; it begins at a multiple of 128. key: IPQ_FLOW_KEY_SIZE random bytes, by
 * which strangers cannot tell who shares a bucket with whom. Writes the head and the index, not the
 * records. -EINVAL: size is less than ipq_flows_size(entries), or that is 0. */
int ipq_flows_init(void *memory, size_t size, uint32_t entries, const void *key);

/* Begins to work with a table that is there. What another process has left in a change, or not
 * sound, is made so: the index is built anew from the records, in the order of which flows without
 * answer are evicted from then on. limit is entries, the timeouts are those of enum ipq_flow_timeout:
 * 3600, 60, 30, 30, 120, 30 and 60 seconds. 0; 1 where the index was built anew; -EINVAL: it is no
 * table of this version, or of another size. */
int ipq_flows_attach(void *memory, size_t size, struct ipq_flows *flows);

/* Lets the kernel give the pages of so many records at once, where they have none (MADV_POPULATE_WRITE of
 * madvise(2), Linux 5.14): the first flow in each page is spared its 400 to 800 ns. Where the kernel cannot,
 * nothing happens. */
void ipq_flows_populate(const struct ipq_flows *flows, uint32_t entries);

/* For whoever looks on: how many flows that memory says it has, which its process may have written over; at
 * most as many as have room there. 0 where there is no table. */
uint32_t ipq_flows_seen(const void *memory, size_t size);

/* Gives each of these names its place in fields: that which it has already; or else one that no other of
 * them has, and there it is 0 in all flows. Names that are not there lose theirs when it is needed.
 * places has as many numbers afterwards. -EINVAL: over IPQ_FLOW_FIELDS, or two are the same. */
int ipq_flows_fields(struct ipq_flows *flows, const char *const *names, uint32_t count,
		     uint32_t *places);

/* Packets (flow.c, key.c) */

/* Looks at all packets of a batch, parses those that are not yet, and has the processor fetch what
 * ipq_flows_packet() will read. It is to be called before filters change them. now_us: microseconds of
 * any clock, as long as it stays the same; where it jumps by more than a timeout, flows end. */
void ipq_flows_batch(struct ipq_flows *flows, struct ipq_batch *batch, int64_t now_us);

/* The flow of a packet, which is made where there is none, and counts it; sweeps one record. Sets
 * flow_number (+ 1), flow_direction and flow_bits of the packet. A direction's packets count at the hook where
 * its first one was seen; at others the flow is given as it stands. An ICMP error is given the flow that it
 * quotes, with the direction that it goes, is not counted, and makes none. NULL: the packet has no
 * IP, is a later fragment, or lacks its ports; an error quotes no flow; there is no room for it, in a damaged table
 * alone. The pointer is good until the next call of this function or of ipq_flows_sweep(). A GSO
 * packet counts as one, as in conntrack: the kernel does not tell of how many segments it is. */
struct ipq_flow *ipq_flows_packet(struct ipq_flows *flows, struct ipq_packet *packet,
				  int64_t now_us);

/* Ends those whose time is over of the next n records; all are looked at where n is ipq_flows_used().
 * Stops where the ring is full. Gives how many records were looked at. */
uint32_t ipq_flows_sweep(struct ipq_flows *flows, int64_t now_us, uint32_t n);

/* Flows that have ended, if wants_ended: the first of them that nobody has taken yet, or NULL; it is
 * the caller's until ipq_flows_ended_taken(). Nobody is told of those that find the ring full: none is
 * lost where there is room for the batch's packets, twice. */
const struct ipq_flow_ended *ipq_flows_ended(struct ipq_flows *flows);
void ipq_flows_ended_taken(struct ipq_flows *flows);

/* How many flows there are; and records that have had one. */
uint32_t ipq_flows_count(const struct ipq_flows *flows);
uint32_t ipq_flows_used(const struct ipq_flows *flows);

/* The flow of the first used record from *number on, which becomes the number behind it; NULL at the
 * end. Begins with 0. Flows that are made or ended meanwhile may be given or not. */
struct ipq_flow *ipq_flows_next(struct ipq_flows *flows, uint32_t *number);

/* The flow of a number and a generation, NULL where it has ended. */
struct ipq_flow *ipq_flows_find(struct ipq_flows *flows, uint32_t number, uint32_t generation);

/* A flow (track.c) */

/* Packets of a direction, exact up to 2^36, and no more than that. */
double ipq_flow_packets(const struct ipq_flow *flow, uint32_t direction);

/* Bytes of a direction; and the field at that place. NaN is one and the same, whatever stands in the memory:
 * the bits of others would be other kinds of values to LuaJIT. */
double ipq_flow_bytes(const struct ipq_flow *flow, uint32_t direction);
double ipq_flow_field(const struct ipq_flow *flow, uint32_t place);

/* When its first packet and its last one came, by the clock of the latest call, to a millisecond. The first is
 * told as at most 46 days ago. */
int64_t ipq_flow_first_us(const struct ipq_flows *flows, const struct ipq_flow *flow);
int64_t ipq_flow_last_us(const struct ipq_flows *flows, const struct ipq_flow *flow);

/* The hook at which a direction's packets count; that of the original one until there is a reply. */
uint32_t ipq_flow_hook(const struct ipq_flow *flow, uint32_t direction);

/* What is decided of all its packets: enum ipq_flow_decision. */
void ipq_flow_decide(struct ipq_flow *flow, uint32_t decision);
uint32_t ipq_flow_decision(const struct ipq_flow *flow);

/* Words: "syn_sent", "established"; "closed", "evicted". NULL: there is none. */
const char *ipq_flow_state_word(uint32_t state);
const char *ipq_flow_reason_word(uint32_t reason);

#endif
