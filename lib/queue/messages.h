/* NFQUEUE's netlink messages (linux/netfilter/nfnetlink_queue.h), for the files of this room and
 * for lib/libipq: those that come from the kernel, and those that go to it. */
#ifndef IPQ_MESSAGES_H
#define IPQ_MESSAGES_H

#include <stddef.h>
#include <sys/uio.h>

#include "lib/ipq_abi.h"

struct nlmsghdr;

enum {
	IPQ_CONFIG_SIZE = 64,  /* bytes that a configuration message needs at most */
	IPQ_NFQA_PRIORITY = 21 /* NFQA_PRIORITY, which kernel headers before 5.18 lack */
};

/* attr.c */

/* Reads one NFQNL_MSG_PACKET message of len bytes into packet, whose pointers then point into it.
 * Attributes that this code does not know are skipped. 0, or:
 *   -ENOMSG    it is another kind of message
 *   -EMSGSIZE  the message is longer than len: cut off on its way
 *   -EBADMSG   a length disagrees, or there is no NFQA_PACKET_HDR
 * After an error packet_id is known if present has IPQ_HAS_PACKET_HDR. */
int ipq_attr_parse(struct ipq_packet *packet, const void *message, size_t len);

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
 * and priority become one NFQNL_MSG_VERDICT_BATCH, which is the verdict of every id up to its own,
 * unless packets are held, or may wait that the batch knows nothing of. Payloads are pointed to, not copied: they must stay until the buffer is sent. Packet
 * number next, which is not held, may be impossible, and nothing is encoded then: -EMSGSIZE for a
 * payload over IPQ_PAYLOAD_MAX, -EINVAL for a verdict that the kernel would refuse. */
int ipq_verdict_encode(struct ipq_verdict_buffer *buffer, const struct ipq_batch *batch,
		       uint32_t next, size_t limit);

/* netlink.c */

/* NFQNL_MSG_CONFIG messages for one queue, built in buf (IPQ_CONFIG_SIZE bytes), as requests that
 * ask for no answer. The caller sets nlmsg_seq, and NLM_F_ACK where it wants one. */
struct nlmsghdr *ipq_netlink_bind(void *buf, uint16_t queue_num);
struct nlmsghdr *ipq_netlink_unbind(void *buf, uint16_t queue_num);
struct nlmsghdr *ipq_netlink_mode(void *buf, uint16_t queue_num, uint8_t mode, uint32_t range);
struct nlmsghdr *ipq_netlink_maxlen(void *buf, uint16_t queue_num, uint32_t maxlen);
/* Sets those flags (NFQA_CFG_F_*) that are in mask; the others stay as they are. */
struct nlmsghdr *ipq_netlink_flags(void *buf, uint16_t queue_num, uint32_t mask, uint32_t flags);
/* Appends an attribute with len bytes at value to one of these messages, whose buffer has the room. */
void ipq_netlink_put(struct nlmsghdr *nlh, uint16_t type, const void *value, size_t len);

#endif
