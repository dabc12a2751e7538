/*
 * The room of the queue: packets that Netfilter queues, in batches, and their verdicts back.
 *
 * Called by   bindings (a queue, a capture and memory are sources; Lua drives them); host/judge,
 *             host/supervise and host/tools, which hold queues and batches; host/figures and
 *             host/rules, which ask what the kernel lists; lib/libipq, for messages.h, /proc and
 *             interfaces.
 *
 * How         A source gives packets and takes verdicts: a live queue (queue.c, which waits by
 *             wait.c), or a capture file (bindings/capture). A batch (batch.c) has up to 64
 *             packets and the memory that they lie in. A driver (driver.c) goes round between the
 *             two: commit the verdicts, receive, hand out. attr.c reads a message of the kernel's,
 *             verdict.c and netlink.c write those to it, procfs.c reads what it tells of queues.
 *
 * States      of a batch: packets before current are judged, current is the one whose filter runs,
 *             those behind it wait; where current is count all are judged. A packet that is held
 *             stays so over batches, by its id in the table held, until it has a verdict of its
 *             own.
 *             of a queue: new (a socket), bound (packets come), stopping (what waits is still
 *             given, then the source ends), failed (receive() gives the error once what came
 *             before it is judged).
 *
 * Always      Every packet whose id could be read gets a verdict, whatever becomes of the process:
 *             a batch is in shared memory, and tells whoever comes later what had none (settle.c).
 *             Nothing prints, exits or keeps global state. On the way of a packet nothing is
 *             allocated, and no system call is made for it alone: where packets wait already, a
 *             batch is one to receive and one to send, and one more for each 128 KiB of changed
 *             packets. Verdicts of held packets are sent together in the same way. A source and its batch belong to one thread at a time.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations
 * only.
 */
#ifndef IPQ_QUEUE_H
#define IPQ_QUEUE_H

#include "lib/ipq_abi.h"

/* Functions that can fail give 0, or a count, or a negative errno. */

/* Where packets come from and verdicts go. */
struct ipq_source {
	/* Fills the batch with what waits, waiting for the first packet. Gives the number of
	 * packets; 0 at the end of the source; -EINTR when a signal came before any packet;
	 * -EAGAIN when only messages without a packet came; -ETIME when the batch's wake_ns came
	 * before any packet (a source that does not wait need not look at it); or another negative
	 * errno, after which the source is of no more use. Every packet has the batch's default
	 * verdict. */
	int (*receive)(struct ipq_source *source, struct ipq_batch *batch);
	/* Carries out the verdicts of a batch, but not those of packets that are held: of these it
	 * keeps what it needs. 0 or a negative errno. */
	int (*commit)(struct ipq_source *source, struct ipq_batch *batch);
	/* Carries out the verdict of one packet that was held, and came with this batch or with
	 * one before it. packet need not be the one in the batch, which may be gone: packet_id
	 * tells which it is, and it has the bytes where set says that they changed. A source with
	 * flush() may keep the verdict, and a copy of the bytes, to send several together. 0 or a
	 * negative errno, after which the source is of no more use. */
	int (*commit_held)(struct ipq_source *source, struct ipq_batch *batch,
			   struct ipq_packet *packet);
	/* Sends the verdicts that commit_held() has kept. 0 or a negative errno, after which the
	 * source is of no more use. NULL: it keeps none. */
	int (*flush)(struct ipq_source *source);
	/* Takes no new packets from now on: receive() gives what still waits, then 0. */
	int (*stop)(struct ipq_source *source);
	/* Ends the source and frees it. */
	void (*close)(struct ipq_source *source);
};

/* The batch (batch.c) */

/* Makes a batch of capacity packets (1 to IPQ_BATCH_MAX) with a slot of slot_size bytes each, all
 * of its memory at once. Processes that are forked from here on share it: what one of them had in
 * hand when it died, the others can see. The caller frees it with ipq_batch_free(), which takes
 * NULL. The verdicts are IPQ_ACCEPT by default and IPQ_DROP on error until the caller sets others.
 * -EINVAL, -ENOMEM. */
int ipq_batch_new(struct ipq_batch **batch, uint32_t capacity, uint32_t slot_size);
void ipq_batch_free(struct ipq_batch *batch);

/* The same for a batch that a process shared which may have overwritten anything in it: what is
 * unmapped goes by made, a copy of the batch from its making. */
void ipq_batch_unmap(struct ipq_batch *batch, const struct ipq_batch *made);

/* Bytes of memory that are there, in whole pages: those that some process has touched. memory
 * begins a page. 0 also where the kernel does not say. */
size_t ipq_resident(const void *memory, size_t size);
/* Those of the batch's memory. */
size_t ipq_batch_resident(const struct ipq_batch *batch, const struct ipq_batch *made);

/* Whether len bytes at bytes lie in the batch's own memory. */
bool ipq_batch_holds(const struct ipq_batch *batch, const uint8_t *bytes, uint32_t len);

/* Empties the batch. */
void ipq_batch_clear(struct ipq_batch *batch);

/* The next free packet, with the default verdict; the other fields are the caller's to fill in.
 * count grows by one. The batch must not be full. */
struct ipq_packet *ipq_batch_add(struct ipq_batch *batch);

/* Gives the error verdict to each packet from current on. */
void ipq_batch_fail_rest(struct ipq_batch *batch);

/* Adds the batch's packets and verdicts to its counters, but for those that are held. */
void ipq_batch_tally(struct ipq_batch *batch);

/* Adds the numbers of one to those of the other. */
void ipq_counters_add(struct ipq_counters *to, const struct ipq_counters *from);

/* Lets at most half of the maxlen packets that a queue takes be held, and at most IPQ_HELD_MAX.
 * Until it is called, that is half of ipq_queue_defaults()'s maxlen. */
void ipq_batch_limit_held(struct ipq_batch *batch, uint32_t maxlen);

/* The driver (driver.c): what a loop over packets calls */

/* Commits the verdicts of the driver's batch, counts them, and receives the next packets. Gives
 * their number; 0 at the end of the source; -EINTR when a signal came while it waited or interrupt
 * is set; -ETIME when the batch's wake_ns has come, or for each of idle_turns; -EALREADY once so
 * many packets are counted as look_at says; another negative errno of the source. The batch is
 * empty unless there are packets. After -ETIME what waits is looked at first: timers that
 * are always due do not keep packets out. */
int ipq_driver_next(struct ipq_driver *driver);

/* Holds a packet of the driver's batch: it gets no verdict with its batch, but by
 * ipq_driver_commit_held(). -ENOSPC: too many are held. */
int ipq_driver_hold(struct ipq_driver *driver, struct ipq_packet *packet);

/* The packet, which is still in the batch, gets its verdict with the batch after all. */
void ipq_driver_release(struct ipq_driver *driver, struct ipq_packet *packet);

/* Carries out the verdict of a held packet, and counts it. packet may be a copy of the one that was
 * held, and is not needed any more afterwards; its held becomes 0. Where the source keeps verdicts
 * to send them together, up to IPQ_KEPT_MAX, that is done by the next ipq_driver_next() at the
 * latest, before the verdicts of the batch and before it waits. Until then the packet is held: if
 * the process dies before, it gets the error verdict. 0 or a negative errno of the source, which
 * ipq_driver_next() gives too. */
int ipq_driver_commit_held(struct ipq_driver *driver, struct ipq_packet *packet);

/* Has the source send the verdicts that it keeps, and counts them: for who will not call
 * ipq_driver_next() soon. 0 or a negative errno of the source, which ipq_driver_next() gives too;
 * the packets are held still then. */
int ipq_driver_flush(struct ipq_driver *driver);

/* Gives this verdict to all that are still held, as they came, by their ids alone, and at once: for
 * a worker whose Lua state cannot do it any more. */
int ipq_driver_commit_all_held(struct ipq_driver *driver, uint32_t verdict);

/* The packet's flow, before its filter is asked: counts the packet there, and carries out what the script
 * has decided of the flow. 1: its filter is to be asked; 0: it has its verdict. The driver has flows.
 * (decide.c) */
int ipq_driver_decide(struct ipq_driver *driver, struct ipq_packet *packet);

/* The packet's stream, when its filter has accepted it: as ipq_streams_packet() and ipq_streams_settle(). */
int ipq_driver_stream(struct ipq_driver *driver, struct ipq_packet *packet);
int ipq_driver_stream_settle(struct ipq_driver *driver, struct ipq_packet *packet);

/* Has the streams hold packets of the driver's batch; NULL: there are none any more. */
void ipq_driver_use_streams(struct ipq_driver *driver, struct ipq_streams *streams);

/* The packets of the dead (settle.c) */

/* Gives verdicts to all packets that a process had from the source when it died: those that its
 * filter had judged get theirs; those that it had not, those that it held, and those that it had
 * received and not looked at get the error verdict. batch is the one that it shared, and may have
 * overwritten, or still overwrite by a process that it forked; made is a copy from its making.
 * Verdicts that it had already sent are sent again, which the kernel takes for too late: whoever
 * has the queue next has as many unanswered ones as settled packets. Nobody knows whether it told
 * of all, so that its successor's unknown is IPQ_UNKNOWN_LEFT. Adds what it did to *counted, and
 * leaves the batch as it is, which is of no more use. Gives their number, or a negative errno of
 * the source; -ENOMEM. */
int ipq_settle(struct ipq_source *source, const struct ipq_batch *batch,
	       const struct ipq_batch *made, struct ipq_counters *counted);

/* The queue (queue.c, wait.c) */

struct ipq_queue;

struct ipq_procfs_queue;

enum ipq_queue_flag {
	IPQ_QUEUE_FAIL_OPEN = 1, /* NFQA_CFG_F_* */
	IPQ_QUEUE_CONNTRACK = 2,
	IPQ_QUEUE_GSO = 4,
	IPQ_QUEUE_UID_GID = 8,
	IPQ_QUEUE_SECCTX = 16
};

struct ipq_queue_options {
	uint16_t queue_num;
	uint8_t copy_mode;   /* NFQNL_COPY_META or NFQNL_COPY_PACKET */
	uint32_t copy_range; /* bytes of each packet, 1 to IPQ_PAYLOAD_MAX; more means the most */
	uint32_t maxlen;     /* packets that may wait in the kernel */
	uint32_t rcvbuf;     /* bytes; 0: so large that maxlen is what limits */
	uint32_t flags;	     /* wanted; those that the kernel lacks are left out */
};

/* The settings that are best for a filter that accepts all: queue 0, whole packets, 1024 of them,
 * all flags but fail-open. */
void ipq_queue_defaults(struct ipq_queue_options *options);

/* Whether their copy_mode and copy_range are in range. */
bool ipq_queue_copies(const struct ipq_queue_options *options);

/* Opens a netlink socket for the queue. Processes that are forked from here on share it: one may
 * bind the queue, and another have its packets. The queue belongs to the socket, and lasts until
 * all of them have closed it. -EPROTONOSUPPORT: the kernel has no netfilter netlink. */
int ipq_queue_new(struct ipq_queue **queue, uint16_t queue_num);

/* Binds the queue, whose number is that of its making, to the socket. Packets come from then on.
 *   -EPERM            without CAP_NET_ADMIN, or another socket owns the queue; see
 *                     ipq_procfs_queue()
 *   -EPROTONOSUPPORT  the kernel has no nfnetlink_queue
 *   -EINVAL           the same, as other kernels say it
 *   -EOPNOTSUPP       IPQ_QUEUE_FAIL_OPEN is wanted and the kernel lacks it
 *   -ERANGE           an option is out of range */
int ipq_queue_bind(struct ipq_queue *queue, const struct ipq_queue_options *options);

/* A queue that is bound already, by the socket fd, which another process has had and which the
 * queue has from here on. -EINVAL: it is no netfilter socket. -ENOMEM. */
int ipq_queue_adopt(struct ipq_queue **queue, int fd, uint16_t queue_num);

/* Sets a bound queue's options while packets come and wait, those flags among them that the kernel
 * takes. What it says to them is among the refusals of its packets. */
int ipq_queue_rebind(struct ipq_queue *queue, const struct ipq_queue_options *options);

/* Sets a bound queue's length and flags again, which the kernel's list has not, so that nobody can
 * see whether another process that shares the socket has changed them. */
int ipq_queue_renew(struct ipq_queue *queue, const struct ipq_queue_options *options);

/* What a process that shares the socket may have done to the queue is undone: it is bound where it
 * is not, its options are those, and receiving waits. Packets come and wait meanwhile, so that the
 * kernel is asked for no answer: ipq_queue_is() tells what came of it. */
int ipq_queue_restore(struct ipq_queue *queue, const struct ipq_queue_options *options);

/* Unbinds a queue of that number, which may be another one that a process which shares the socket
 * has bound. What waits in it is dropped. */
int ipq_queue_unbind(struct ipq_queue *queue, uint16_t queue_num);

/* Whether a queue of the kernel's list is this one: the socket owns it, and packets are copied as
 * options say, and receiving waits. */
bool ipq_queue_is(const struct ipq_queue *queue, const struct ipq_queue_options *options,
		  const struct ipq_procfs_queue *listed);

/* The queue's socket, which stays its own, and its netlink port. */
int ipq_queue_fd(const struct ipq_queue *queue);
uint32_t ipq_queue_portid(const struct ipq_queue *queue);

/* ipq_queue_new() and ipq_queue_bind(). */
int ipq_queue_open(struct ipq_queue **queue, const struct ipq_queue_options *options);
/* The same for a queue that nobody has, whatever queue_num says, to see what the kernel answers. */
int ipq_queue_probe(struct ipq_queue **queue, const struct ipq_queue_options *options);
void ipq_queue_close(struct ipq_queue *queue);

/* Changes what is copied of each packet from now on (copy_mode and copy_range), while packets
 * come. The batch's slots must be large enough. */
int ipq_queue_copy(struct ipq_queue *queue, const struct ipq_queue_options *options);

/* Has receive() poll for packets for so long before it waits for them, 0 at first. Being woken is
 * most of a single packet's latency; polling takes a processor. A signal is noticed after it. */
void ipq_queue_spin(struct ipq_queue *queue, uint32_t us);

/* Has receive() give no packets any more, as another process has the queue: it waits for the
 * batch's wake_ns (-ETIME) until no packet is held, no time to wake is set, or that many ms are
 * over, and then gives 0. Stopping it ends that too. */
void ipq_queue_retire(struct ipq_queue *queue, uint32_t ms);

/* The queue as a source; it stays the queue's. Closing either closes both. */
struct ipq_source *ipq_queue_source(struct ipq_queue *queue);

/* Bytes that a batch's slot must have for these options. */
uint32_t ipq_queue_slot_size(const struct ipq_queue_options *options);

/* Bytes of receive buffer that are asked for with these options. */
uint32_t ipq_queue_rcvbuf(const struct ipq_queue_options *options);

/* enum ipq_queue_flag that the kernel granted. */
uint32_t ipq_queue_flags(const struct ipq_queue *queue);

/* Whether the kernel takes this verdict. (verdict.c) */
bool ipq_verdict_valid(uint32_t verdict);
/* Of a number that a filter may return, or that is a default: the verdict for the kernel, and what the
 * packet's sender is told beside it (enum ipq_reject). -EINVAL, and nothing is written: it is neither a
 * verdict nor IPQ_REJECT and an enum ipq_reject. (verdict.c) */
int ipq_verdict_read(uint32_t number, uint32_t *verdict, uint32_t *reject);
/* The verdict for people, "accept" or "queue 3 bypass": at most IPQ_VERDICT_SIZE bytes, without a 0
 * byte behind them. Gives how many. (verdict.c) */
enum { IPQ_VERDICT_SIZE = 32 };
size_t ipq_verdict_text(uint32_t verdict, char *to);
/* The same of a packet that was judged: "reject" where its sender was to be told. */
size_t ipq_judged_text(const struct ipq_packet *packet, char *to);

/* Whether CAP_NET_ADMIN is among this process's effective capabilities, in its own user namespace.
 * (netlink.c) */
bool ipq_has_net_admin(void);

/* A queue as /proc/net/netfilter/nfnetlink_queue lists it (procfs.c). */
struct ipq_procfs_queue {
	uint32_t portid;       /* of the netlink socket that owns it */
	uint32_t waiting;      /* packets in it, without a verdict */
	uint32_t copy_mode;    /* NFQNL_COPY_* */
	uint32_t copy_range;   /* bytes, 0 but with NFQNL_COPY_PACKET */
	uint32_t dropped;      /* packets that found it full, since it was bound */
	uint32_t user_dropped; /* packets for which the socket had no room; the same */
};

/* Reads the entry of a queue of this network namespace. -ENOENT: nobody has bound it; -EOPNOTSUPP:
 * no such file, the kernel has no nfnetlink_queue; -EACCES: in a user namespace of one's own,
 * which may not read it. With fail-open neither drop counter moves. */
int ipq_procfs_queue(uint16_t queue_num, struct ipq_procfs_queue *listed);

/* Calls each() for all queues that are listed. 0, or as above. */
int ipq_procfs_each(void (*each)(void *data, uint16_t queue_num,
				 const struct ipq_procfs_queue *listed),
		    void *data);

/* What else the kernel tells */

/* Reads packet->ct. -ENOENT where the packet has none, -EBADMSG where it is malformed.
 * (conntrack.c) */
int ipq_conntrack_parse(const struct ipq_packet *packet, struct ipq_conntrack *conntrack);

/* Who the packet is from and to, where NAT makes that another matter for one of its ends than it is here: as
 * its sender knows it, and as its receiver does. 1, or 0 where that is as in the packet, or the kernel does
 * not tell of its connection. The packet must be parsed. (conntrack.c) */
int ipq_conntrack_sender(const struct ipq_packet *packet, struct ipq_tuple *tuple);
int ipq_conntrack_receiver(const struct ipq_packet *packet, struct ipq_tuple *tuple);
/* As it has to be for an answer that comes to the packet's sender: as the receiver knows it where the kernel keeps
 * the connection already (IPS_CONFIRMED), and will translate the answer as it does the receiver's; else as the
 * sender knows it. An answer in the sender's terms to a connection that is kept would be a new connection of
 * the same addresses, and the kernel would give that another port. Resets and ICMP errors do not
 * begin one, and go out as they are. The rest is as above. */
int ipq_conntrack_answered(const struct ipq_packet *packet, struct ipq_tuple *tuple);

/* The interface of that index, never NULL: name "" and type 0 where there is none. Good until the
 * next call with the same cache. errno is kept. A cached answer is at most a second old.
 * (device.c) */
const struct ipq_device *ipq_device_get(struct ipq_devices *devices, uint32_t index);
/* The index of the interface of that name; 0 where there is none. errno is kept. A cached answer is at
 * most a second old. (device.c) */
uint32_t ipq_device_find(struct ipq_devices *devices, const char *name);
/* Whether a changed packet has grown larger than the interface takes that it leaves by, and may not
 * be cut: IPv6, or IPv4 with DF. The kernel drops it then, and tells its sender of an MTU that it
 * has kept. A path's MTU may be less still, which is not known here. False where the kernel has not
 * told of the interface (PREROUTING, INPUT), or cuts the packet into segments. (device.c) */
bool ipq_device_is_outgrown(struct ipq_devices *devices, const struct ipq_packet *packet);
/* Opens what it asks the kernel with, which ipq_device_get() does else: for a process that cannot
 * later. */
void ipq_devices_open(struct ipq_devices *devices);
void ipq_devices_clear(struct ipq_devices *devices);

#endif
