/*
 * The room of what is sent: packets of our own, beside those that are judged.
 *
 * Called by   Lua, through ipq.send() and what becomes of a filter's REJECT (bindings/ipq/engine/
 *             send.lua); lib/queue's driver, which has it sent behind the verdicts of its batch, and
 *             asks of what comes whether it was sent; host/judge and bindings, which make outboxes
 *             and open the sockets; bindings/capture, which writes what a replay sends behind its
 *             cause.
 *
 * How         An outbox (outbox.c) takes copies of packets while filters run. When the verdicts of
 *             the batch have gone, its way out takes them: raw sockets (raw.c), IPv4's in order and
 *             then IPv6's, which cut what is too large for its route; or in order a capture file,
 *             or a spec. own.c remembers what has gone, to know it again when a rule queues it.
 *
 * States      of an outbox: open, between two batches empty. Without a way out it stays as it is
 *             until somebody empties it.
 *
 * Always      On the way of a packet nothing is allocated. Sending is one system call for all packets
 *             of a batch that go by the same socket, and some more for each that the kernel refuses
 *             or that has to be cut. Whatever cannot be sent is counted by its reason in the batch's
 *             counters. An outbox is its process' own: nobody else reads it.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations
 * only.
 */
#ifndef IPQ_SEND_H
#define IPQ_SEND_H

#include "lib/ipq_abi.h"

/* A packet in an outbox. */
struct ipq_sent {
	uint8_t *data; /* a whole IP packet */
	uint32_t len;
	uint32_t mark;	 /* with the bit that says that we sent it */
	uint32_t device; /* the index of the interface to use for addresses that are a link's; 0 */
	uint32_t
		cause; /* number in its batch of the packet whose filter sent it, or IPQ_CAUSELESS */
	uint32_t cause_id; /* packet_id of the cause, a held packet's too, where has_cause is set */
	uint32_t behind;   /* so many packets of the batch were judged when it was sent */
	/* Where the packets tell the time: when it was sent, in microseconds since 1970; 0: nobody
	 * knows but the way out. */
	int64_t time_us;
	uint8_t answers; /* it goes back to where its cause came from */
	uint8_t has_cause;
	uint8_t is_taken; /* for the way out: it has it already */
	uint8_t is_told;  /* for whoever tells people of it: they know of it */
};

enum ipq_send_limits {
	IPQ_CAUSELESS = 0xffffffff,
	IPQ_OUTBOX_PACKETS = 1024, /* in one batch */
	IPQ_OUTBOX_BYTES = 8 << 20,
	IPQ_REJECT_RATE = 1000 /* a second, if nobody says otherwise */
};

struct ipq_own;

struct ipq_outbox {
	struct ipq_sent *sent; /* IPQ_OUTBOX_PACKETS of them */
	uint32_t count;
	uint32_t used; /* of bytes */
	uint32_t told; /* all before it have is_told set */
	uint8_t *bytes;
	struct ipq_batch *batch; /* whose filters send, and whose counters count */
	uint32_t mark;		 /* the bit that says that we sent it */
	uint32_t reject_rate;	 /* a second; 0: no limit */
	double reject_tokens;
	int64_t reject_us;   /* when they were counted; 0: not yet */
	int64_t timer_us;    /* the time of the timer that runs, if packets tell it; 0: none does */
	uint8_t is_live;     /* packets come from a queue, and the clock tells the time */
	uint8_t shows_own;   /* what comes back is judged */
	struct ipq_own *own; /* the way out's memory of what was sent; NULL: there is none */
	/* Whether a destination of IPv4 is a network's broadcast address; NULL: nobody knows. */
	bool (*is_broadcast)(struct ipq_outbox *outbox, const uint8_t *address);
	/* The way out; NULL: none. Takes all that is there, and counts in the batch's counters. */
	void (*flush)(struct ipq_outbox *outbox);
	void *way; /* its own */
};

/* Makes an outbox for the packets of a batch, with IPQ_REJECT_RATE and no way out. -ENOMEM. It is
 * freed with ipq_outbox_free(), which takes NULL, and not its way out. */
int ipq_outbox_new(struct ipq_outbox **outbox, struct ipq_batch *batch, uint32_t mark);
void ipq_outbox_free(struct ipq_outbox *outbox);
/* Empties it: what is there is not sent. */
void ipq_outbox_clear(struct ipq_outbox *outbox);

/* What takes a packet gives 0 or a negative enum ipq_unsent, which is counted. cause is the packet whose
 * filter runs, or NULL; it is parsed where nobody has. What has no mark of its own bears the cause's. */

/* Sends a packet: its copy (ipq_packet_copy()). It may be the cause itself. */
int ipq_outbox_packet(struct ipq_outbox *outbox, const struct ipq_packet *packet,
		      struct ipq_packet *cause);
/* Sends bytes that are a whole IP packet, as they are: its length is len, and its headers are
 * readable. */
int ipq_outbox_bytes(struct ipq_outbox *outbox, const void *bytes, uint32_t len,
		     struct ipq_packet *cause);
/* Tells the packet's sender, as often as reject_rate allows, by ipq_packet_reject(). known: see there. The
 * packet must be parsed. */
int ipq_outbox_reject(struct ipq_outbox *outbox, struct ipq_packet *packet, uint32_t kind,
		      const struct ipq_tuple *known);
/* Resets both ends of a TCP connection. sender and receiver are who speaks to whom as each of them
 * knows it, or NULL. The packet must be parsed. Where only one of them can be reset it is 0, too. */
int ipq_outbox_reset(struct ipq_outbox *outbox, struct ipq_packet *packet,
		     const struct ipq_tuple *sender, const struct ipq_tuple *receiver);

/* Has the way out take what is there, if anything is and there is one. */
void ipq_outbox_flush(struct ipq_outbox *outbox);

/* What enum ipq_unsent says, in words; never NULL. reason may be negative. */
const char *ipq_unsent_text(int reason);
/* The same as one word, for counters: "rate". */
const char *ipq_unsent_word(int reason);

/* Raw sockets (raw.c) */

struct ipq_raw;

/* Opens them, and makes them the outbox's way out. What is sent through them is remembered in
 * outbox->own. -EPERM: without CAP_NET_RAW. -ENOMEM, or what else the system says. A family that
 * the kernel has not is left out. */
int ipq_raw_open(struct ipq_raw **raw, struct ipq_outbox *outbox);
/* Closes them: the outbox, which is still there, has no way out any more. Takes NULL. */
void ipq_raw_close(struct ipq_raw *raw);
/* The two of its sockets that connect(2) is called with, to ask the kernel for an MTU; -1: there is none. */
void ipq_raw_probes(const struct ipq_raw *raw, int fds[2]);

/* Own packets (own.c) */

/* Memory of what was sent; NULL: there is none. It is freed with ipq_own_free(), which takes NULL. */
struct ipq_own *ipq_own_new(void);
void ipq_own_free(struct ipq_own *own);

/* Says that the queue copies so many bytes of a packet, by which alone it can be known again; 0: all. With fewer
 * than an IP header has none is. */
void ipq_own_range(struct ipq_own *own, uint32_t range);

/* Remembers a whole IP packet that is sent now. */
void ipq_own_add(struct ipq_own *own, const uint8_t *bytes, uint32_t len);

/* Whether this packet is one that was sent within the last second, and has not been at this hook
 * as often as it was sent. */
bool ipq_own_is(struct ipq_own *own, struct ipq_packet *packet);

#endif
