/*
 * The queue API: packets that Netfilter queues, in batches, and their verdicts.
 *
 * Nothing here prints, exits or keeps global state. Functions that can fail give 0 (or a count) or
 * a negative errno. A source and its batch belong to one thread at a time.
 */
#ifndef IPQ_H
#define IPQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ipq_abi.h"

struct nlmsghdr;

/* Where packets come from and verdicts go: a live queue, a capture file. */
struct ipq_source {
	/* Fills the batch with what waits, waiting for the first packet. Gives the number of
	 * packets, 0 at the end of the source, -EINTR when a signal came before any packet, -EAGAIN
	 * when only messages without a packet came, -ETIME when the batch's wake_ns came before any
	 * packet (a source that does not wait need not look at it), or another negative errno,
	 * after which the source is of no more use. Every packet has the batch's default verdict.
	 */
	int (*receive)(struct ipq_source *source, struct ipq_batch *batch);
	/* Carries out the verdicts of a batch, but of those packets that are held: what it needs of
	 * them it keeps. 0 or a negative errno. */
	int (*commit)(struct ipq_source *source, struct ipq_batch *batch);
	/* Carries out the verdict of a packet that was held, and came with this batch or with one
	 * before it. packet need not be the one in the batch, which may be gone: packet_id tells
	 * which it is, and it has the bytes where set says that they changed. 0 or a negative
	 * errno, after which the source is of no more use. */
	int (*settle)(struct ipq_source *source, struct ipq_batch *batch,
		      struct ipq_packet *packet);
	/* Takes no new packets from now on: receive() gives what still waits, then 0. */
	int (*stop)(struct ipq_source *source);
	/* Ends the source and frees it. */
	void (*close)(struct ipq_source *source);
};

/* batch.c */

/* Makes a batch of capacity packets (1 to IPQ_BATCH_MAX) with a slot of slot_size bytes each, all
 * of its memory at once. Processes that are forked from here on share it: what one of them had in
 * hand when it died, the others can see. Caller frees it with ipq_batch_free(), which takes NULL.
 * The verdicts are IPQ_ACCEPT by default and IPQ_DROP on error until the caller sets others.
 * -EINVAL, -ENOMEM. */
int ipq_batch_new(struct ipq_batch **batch, uint32_t capacity, uint32_t slot_size);
void ipq_batch_free(struct ipq_batch *batch);

/* After the death of a process that shared the batch, and may have overwritten anything in it: puts
 * right where its memory is, as in made, a copy of the batch from its making, and brings count and
 * current in range. */
void ipq_batch_repair(struct ipq_batch *batch, const struct ipq_batch *made);

/* Whether len bytes at bytes lie in the batch's own memory. */
bool ipq_batch_holds(const struct ipq_batch *batch, const uint8_t *bytes, uint32_t len);

/* Empties the batch. */
void ipq_batch_clear(struct ipq_batch *batch);

/* The next free packet, with the default verdict; the other fields are the caller's to fill in.
 * count grows by one. The batch must not be full. */
struct ipq_packet *ipq_batch_add(struct ipq_batch *batch);

/* Takes back the packet that ipq_batch_add() gave last. */
void ipq_batch_drop_last(struct ipq_batch *batch);

/* Gives the error verdict to each packet from current on. */
void ipq_batch_fail_rest(struct ipq_batch *batch);

/* Adds the batch's packets and verdicts to its counters, but for those that are held. */
void ipq_batch_tally(struct ipq_batch *batch);

/* Adds one packet and its verdict. */
void ipq_batch_count(struct ipq_batch *batch, const struct ipq_packet *packet);

/* Lets at most half of the maxlen packets that a queue takes be held, and at most IPQ_HELD_MAX.
 * Until it is called, that is half of ipq_queue_defaults()'s maxlen. */
void ipq_batch_limit_held(struct ipq_batch *batch, uint32_t maxlen);

/* Enters the packet into the held ones, and takes it out again. -ENOSPC: held_limit are there. */
int ipq_batch_hold(struct ipq_batch *batch, struct ipq_packet *packet);
void ipq_batch_release(struct ipq_batch *batch, struct ipq_packet *packet);

/* driver.c */

/* Commits the verdicts of the driver's batch, counts them, and receives the next packets. Gives
 * their number; 0 at the end of the source; -EINTR when a signal came while it waited or interrupt
 * is set; -ETIME when the batch's wake_ns has come; another negative errno of the source. The batch
 * is empty unless there are packets. After -ETIME what waits is looked at first: timers that are
 * always due do not keep packets out. */
int ipq_driver_next(struct ipq_driver *driver);

/* Holds a packet of the driver's batch: it gets no verdict with its batch, but by
 * ipq_driver_settle(). -ENOSPC: too many are held. */
int ipq_driver_hold(struct ipq_driver *driver, struct ipq_packet *packet);

/* The packet, which is still in the batch, gets its verdict with the batch after all. */
void ipq_driver_release(struct ipq_driver *driver, struct ipq_packet *packet);

/* Carries out the verdict of a held packet at once, and counts it. packet may be a copy of the one
 * that was held; its held becomes 0. 0 or a negative errno of the source, which ipq_driver_next()
 * gives too. */
int ipq_driver_settle(struct ipq_driver *driver, struct ipq_packet *packet);

/* The same for all that are still held, as they came, by their ids alone: for a worker that cannot
 * do it any more. */
int ipq_driver_settle_all(struct ipq_driver *driver, uint32_t verdict);

/* CLOCK_MONOTONIC, as wake_ns has it. */
int64_t ipq_monotonic_ns(void);

/* histogram.c */

/* The bucket that a value is counted in; the last one takes all that are too large. */
uint32_t ipq_histogram_bucket(uint64_t value);
/* The least value of a bucket. That of the next one, exclusive, is the end of it. */
uint64_t ipq_histogram_least(uint32_t bucket);

/* Counts count values, not 0, whose sum is known: each is taken for the mean. */
void ipq_histogram_add(struct ipq_histogram *histogram, uint64_t sum, uint32_t count);
/* Leaves what was counted since before, a copy of the same histogram. */
void ipq_histogram_subtract(struct ipq_histogram *histogram, const struct ipq_histogram *before);

/* The value that so much of all (0.5 for half of it) is not above: the middle of its bucket, which
 * is less than 1/16 from it. 0 where nothing was counted. */
uint64_t ipq_histogram_quantile(const struct ipq_histogram *histogram, double quantile);

/* settle.c */

/* Gives verdicts to all packets that a process had from the source when it died: those that its
 * filter had judged get theirs, those that it had not the error verdict, and so do those that it
 * held, and those that it had received and not looked at. batch is the one that it shared,
 * repaired. Verdicts that it had already sent are sent again, which the kernel takes for too late.
 * Counts them, and empties the batch. Gives their number, or a negative errno of the source. */
int ipq_settle(struct ipq_source *source, struct ipq_batch *batch);

/* attr.c */

/* Reads one NFQNL_MSG_PACKET message (linux/netfilter/nfnetlink_queue.h) of len bytes into packet,
 * whose pointers then point into it. Attributes that this code does not know are skipped.
 *   -ENOMSG     it is another kind of message
 *   -EMSGSIZE   the message is longer than len: cut off on its way
 *   -EBADMSG    a length disagrees, or there is no NFQA_PACKET_HDR
 * After an error packet_id is known if present has IPQ_HAS_PACKET_HDR. */
int ipq_attr_parse(struct ipq_packet *packet, const void *message, size_t len);

/* header.c */

/* Fills in the packet's layout: ip_version, protocol, fragment, l4, body, end; sets parsed. Any
 * bytes are taken, whatever they claim. (RFC 791; RFC 8200 section 4; RFC 4302 for AH in the
 * chain.) */
void ipq_header_parse(struct ipq_packet *packet);

/* checksum.c: the Internet checksum (RFC 1071) */

/* Adds len bytes to a sum of 16-bit words in one's complement; sums may begin at 0 and go on from
 * each other where the earlier bytes were even in number. Any alignment. */
uint32_t ipq_checksum_add(uint32_t sum, const void *bytes, size_t len);
/* The checksum field, in the byte order that it is stored in (store it by memcpy). */
uint16_t ipq_checksum_fold(uint32_t sum);
/* The sum of the pseudo-header of a packet whose IP header is at ip (version 4 or 6), for a
 * transport of len bytes. (RFC 9293 section 3.1, RFC 8200 section 8.1) */
uint32_t ipq_checksum_pseudo(const uint8_t *ip, uint8_t protocol, uint32_t len);

/* crc32c.c: the checksum of SCTP (RFC 9260, appendix A) */

uint32_t ipq_crc32c(const void *bytes, size_t len);
/* The same, as computed where the processor has no instruction for it. */
uint32_t ipq_crc32c_portable(const void *bytes, size_t len);

/* rewrite.c, finish.c: changes to a packet, and what has to follow from them */

/* Why a changed packet cannot be sent. */
enum ipq_rewrite_error {
	IPQ_REWRITE_OK = 0,
	IPQ_REWRITE_TRUNCATED = -1, /* only a part of the packet was copied */
	IPQ_REWRITE_FRAGMENT =
		-2, /* a fragment's transport checksum covers other fragments' bytes */
	IPQ_REWRITE_TOO_LONG = -3, /* over IPQ_PAYLOAD_MAX bytes */
	IPQ_REWRITE_VERSION = -4,  /* the IP version is another one than before, or none */
	IPQ_REWRITE_HEADER = -5, /* the IP header or the transport header is malformed or cut off */
	IPQ_REWRITE_BOUNDS = -6	 /* offset and length are outside of the packet */
};
/* In words, with the remedy where there is one; never NULL. */
const char *ipq_rewrite_strerror(int error);

/* These three change the packet, set IPQ_SET_PAYLOAD, and note in dirty and l4_delta what
 * ipq_rewrite_finish() has to do; refused, they change nothing. bytes may lie in the packet. parsed
 * becomes 0 where headers may have moved.
 *
 * Padding behind the IP packet (a capture may have it) is not part of it: it cannot be reached, and
 * the first change drops it. From then on the packet ends where its bytes end, whatever its length
 * fields say. */

/* Stores len bytes over those at offset. IPQ_REWRITE_BOUNDS. */
int ipq_rewrite_store(struct ipq_packet *packet, uint32_t offset, const void *bytes, uint32_t len);
/* Puts new_len bytes in the place of the len bytes at offset; what follows moves, len (the field)
 * with it. A packet that grows moves to its spare memory. IPQ_REWRITE_BOUNDS,
 * IPQ_REWRITE_TOO_LONG. */
int ipq_rewrite_replace(struct ipq_packet *packet, uint32_t offset, uint32_t len, const void *bytes,
			uint32_t new_len);
/* Makes the packet these bytes, and a truncated one whole. IPQ_REWRITE_TOO_LONG. */
int ipq_rewrite_set(struct ipq_packet *packet, const void *bytes, uint32_t len);

/* Makes a changed packet's lengths and checksums right, as it is to be sent:
 *   lengths     IPv4 total length, IPv6 payload length, UDP length, where anything but bytes in
 *               their place changed; a UDP-Lite or DCCP coverage of more than is left becomes 0,
 *               which is all
 *   checksums   IPv4 header; TCP, UDP, UDP-Lite and DCCP by their coverage, ICMP, ICMPv6, SCTP,
 *               GRE where it has one. Nothing behind ESP, AH (over IPv4) and other protocols, and
 *               nothing inside of a tunnel, even where that is what was not ready
 * A UDP checksum of 0 stays 0 over IPv4. A transport checksum that was complete and wrong stays
 * wrong by as much if only fields changed: the receiver is to find out. One that was not ready, or
 * belongs to a GSO packet, is computed.
 *
 * What is refused is not touched: it stays as the filter left it, dirty and with IPQ_SET_PAYLOAD.
 * It must not be sent so. The caller gives it the error verdict and clears set.
 *   IPQ_REWRITE_TRUNCATED, IPQ_REWRITE_TOO_LONG
 *   IPQ_REWRITE_FRAGMENT   the checksum would have to be computed of bytes in other fragments:
 *                          a later fragment's transport changed, or a first one's but for bytes in
 *                          their place; addresses, TTL and the like may
 *   IPQ_REWRITE_VERSION    by family, or hw_protocol and VLAN tags, it came with another one
 *   IPQ_REWRITE_HEADER */
int ipq_rewrite_finish(struct ipq_packet *packet);

/* prefix.c */

/* An address and how many of its bits, from the first on, a network's addresses have in common. */
struct ipq_prefix {
	uint8_t version; /* 4 or 6 */
	uint8_t len;
	uint8_t address[16]; /* network order; IPv4 has the first 4 bytes */
};

/* Reads an address as inet_pton(3) does; text is len bytes and needs no 0 byte. Gives its version,
 * 4 or 6, or -EINVAL. */
int ipq_address_parse(uint8_t address[16], const char *text, size_t len);

/* Reads "10.0.0.0/8", "2001:db8::/32", or an address alone, which is a prefix of all its bits. Bits
 * of the address behind the prefix are kept. -EINVAL; -ERANGE where the length is too large. */
int ipq_prefix_parse(struct ipq_prefix *prefix, const char *text, size_t len);

/* netset.c: sets of prefixes, made once and looked up for each packet */

struct ipq_netset;

/* An empty set. -ENOMEM. Caller frees it with ipq_netset_free(), which takes NULL. */
int ipq_netset_new(struct ipq_netset **set);
void ipq_netset_free(struct ipq_netset *set);

/* Adds a prefix. Prefixes may overlap and come more than once. Bits of the address behind the
 * prefix do not matter: 10.1.2.3/8 is 10.0.0.0/8, as it is for iptables, ipset and nft, whose lists
 * may be used here. What is added is found once the set is finished. -EINVAL   it is none (version,
 * text) -ERANGE   the length is too large -EBUSY    the set is finished -E2BIG    there are too
 * many -ENOMEM */
int ipq_netset_add(struct ipq_netset *set, const struct ipq_prefix *prefix);
int ipq_netset_add_text(struct ipq_netset *set, const char *text, size_t len);

/* Adds the prefixes in a file, one a line. Blanks around them, empty lines, and what follows a '#'
 * or a ';' are skipped. Stops at the first error; line is then the number of the bad line, or 0
 * where the file could not be read (the error is that of fopen(3) or of reading). What came before
 * it stays. */
int ipq_netset_load(struct ipq_netset *set, const char *path, uint32_t *line);

/* Makes what was added ready to be found; nothing can be added any more. A second time does
 * nothing. After -ENOMEM the set is as before. */
int ipq_netset_finish(struct ipq_netset *set);

/* Whether the address (network order, 4 or 16 bytes by version, which is 4 or 6) is in one of the
 * set's prefixes. Then prefix_len, unless it is NULL, is the length of the longest. Lookups take no
 * memory, no lock and no system call, and any number of threads may do them at once. */
bool ipq_netset_has(const struct ipq_netset *set, int version, const uint8_t *address,
		    uint8_t *prefix_len);

/* The same for a packet's addresses; false where the packet has no whole IP header. */
bool ipq_netset_has_saddr(const struct ipq_netset *set, struct ipq_packet *packet);
bool ipq_netset_has_daddr(const struct ipq_netset *set, struct ipq_packet *packet);

/* How many prefixes were added, each as often as it was, and how many bytes the set takes. */
uint32_t ipq_netset_count(const struct ipq_netset *set);
size_t ipq_netset_memory(const struct ipq_netset *set);

/* An error of the functions above in words, never NULL; good until the next call. */
const char *ipq_netset_strerror(int error);

/* conntrack.c */

/* Reads packet->ct. -ENOENT where the packet has none, -EBADMSG where it is malformed. */
int ipq_conntrack_parse(const struct ipq_packet *packet, struct ipq_conntrack *conntrack);

/* device.c */

/* The interface of that index, never NULL: name "" and type 0 where there is none. Good until the
 * next call with the same cache. errno is kept. A cached answer is at most a second old. */
const struct ipq_device *ipq_device_get(struct ipq_devices *devices, uint32_t index);
void ipq_devices_clear(struct ipq_devices *devices);

/* verdict.c */

/* Room for the verdict messages of one system call. */
struct ipq_verdict_buffer {
	uint8_t bytes[8192];
	struct iovec iov[2 * IPQ_BATCH_MAX + 2];
	size_t used;   /* of bytes */
	size_t iovlen; /* of iov */
	size_t total;  /* bytes that iov spans */
	uint32_t messages;
};

/* Encodes verdicts of batch from packet number next on, as many as one sendmsg() of at most limit
 * bytes takes (a single message may be longer), and gives the number of the packet to go on with,
 * batch->count at the end. Held packets are left out. Packets in a row with the same verdict, mark
 * and priority become one NFQNL_MSG_VERDICT_BATCH, which settles every id up to its own; may_merge
 * is false where an earlier packet of the queue waits for a verdict of its own that is not held.
 * Payloads are pointed to, not copied: they must stay until the buffer is sent. Packet number next,
 * which is not held, may be impossible, and nothing is encoded then: -EMSGSIZE for a payload over
 * IPQ_PAYLOAD_MAX, -EINVAL for a verdict that the kernel would refuse. */
int ipq_verdict_encode(struct ipq_verdict_buffer *buffer, const struct ipq_batch *batch,
		       uint32_t next, size_t limit, bool may_merge);

/* Whether the kernel takes this verdict. */
bool ipq_verdict_valid(uint32_t verdict);

/* config.c */

enum {
	IPQ_CONFIG_SIZE = 64,  /* bytes that a configuration message needs at most */
	IPQ_NFQA_PRIORITY = 21 /* NFQA_PRIORITY, which kernel headers before 5.18 lack */
};

/* NFQNL_MSG_CONFIG messages for one queue, built in buf (IPQ_CONFIG_SIZE bytes), as requests that
 * ask for no answer. The caller sets nlmsg_seq, and NLM_F_ACK where it wants one. */
struct nlmsghdr *ipq_config_bind(void *buf, uint16_t queue_num);
struct nlmsghdr *ipq_config_mode(void *buf, uint16_t queue_num, uint8_t mode, uint32_t range);
struct nlmsghdr *ipq_config_maxlen(void *buf, uint16_t queue_num, uint32_t maxlen);
/* Sets those flags (NFQA_CFG_F_*) that are in mask; the others stay as they are. */
struct nlmsghdr *ipq_config_flags(void *buf, uint16_t queue_num, uint32_t mask, uint32_t flags);

/* Whether CAP_NET_ADMIN is among this process's effective capabilities, in its own user namespace.
 */
bool ipq_has_net_admin(void);

/* status.c */

struct ipq_queue_status {
	uint32_t portid;       /* of the netlink socket that owns it */
	uint32_t waiting;      /* packets in it, without a verdict */
	uint32_t dropped;      /* packets that found it full, since it was bound */
	uint32_t user_dropped; /* packets for which the socket had no room; the same */
};

/* A queue of this network namespace, by /proc/net/netfilter/nfnetlink_queue. -ENOENT: nobody has
 * bound it; -EOPNOTSUPP: no such file, the kernel has no nfnetlink_queue; -EACCES: in a user
 * namespace of one's own, which may not read it. With fail-open neither drop counter moves. */
int ipq_queue_status(uint16_t queue_num, struct ipq_queue_status *status);

/* queue.c */

struct ipq_queue;

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

/* accept-all's best settings: queue 0, whole packets, 1024 of them, all flags but fail-open. */
void ipq_queue_defaults(struct ipq_queue_options *options);

/* Opens a netlink socket for the queue. Processes that are forked from here on share it: one may
 * bind the queue, and another have its packets. The queue belongs to the socket, and lasts until
 * all of them have closed it. -EPROTONOSUPPORT: the kernel has no netfilter netlink. */
int ipq_queue_new(struct ipq_queue **queue, uint16_t queue_num);

/* Binds the queue, whose number is that of its making, to the socket. Packets come from then on.
 *   -EPERM                 without CAP_NET_ADMIN, or another socket owns the queue; see
 *                          ipq_queue_status()
 *   -EPROTONOSUPPORT, -EINVAL   the kernel has no nfnetlink_queue
 *   -EOPNOTSUPP            IPQ_QUEUE_FAIL_OPEN is wanted and the kernel lacks it
 *   -ERANGE                an option is out of range */
int ipq_queue_bind(struct ipq_queue *queue, const struct ipq_queue_options *options);

/* A queue that is bound already, by the socket fd, which another process has had and which the
 * queue has from here on. -EINVAL: it is no netfilter socket. -ENOMEM. */
int ipq_queue_adopt(struct ipq_queue **queue, int fd, uint16_t queue_num);

/* Sets a bound queue's options while packets come and wait: all but the flags that no option of a
 * person's is for. What the kernel says to them is among the refusals of its packets. */
int ipq_queue_rebind(struct ipq_queue *queue, const struct ipq_queue_options *options);

/* The queue's socket, which stays its own, and its netlink port. */
int ipq_queue_fd(const struct ipq_queue *queue);
uint32_t ipq_queue_portid(const struct ipq_queue *queue);

/* ipq_queue_new() and ipq_queue_bind(). */
int ipq_queue_open(struct ipq_queue **queue, const struct ipq_queue_options *options);
void ipq_queue_close(struct ipq_queue *queue);

/* Changes what is copied of each packet from now on (copy_mode and copy_range), while packets come.
 * The batch's slots must be large enough. */
int ipq_queue_copy(struct ipq_queue *queue, const struct ipq_queue_options *options);

/* Has receive() poll for packets for so long before it waits for them, 0 at first. Being woken is
 * most of a single packet's latency; polling takes a processor. A signal is noticed after it. */
void ipq_queue_spin(struct ipq_queue *queue, uint32_t us);

/* The queue as a source; it stays the queue's. Closing either closes both. */
struct ipq_source *ipq_queue_source(struct ipq_queue *queue);

/* Bytes that a batch's slot must have for these options. */
uint32_t ipq_queue_slot_size(const struct ipq_queue_options *options);

/* Bytes of receive buffer that are asked for with these options. */
uint32_t ipq_queue_rcvbuf(const struct ipq_queue_options *options);

/* enum ipq_queue_flag that the kernel granted. */
uint32_t ipq_queue_flags(const struct ipq_queue *queue);

#endif
