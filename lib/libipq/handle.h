/*
 * The room of libipq(3): the classic library, for programs that were written for ip_queue.
 *
 * Called by   other people's programs, by libipq.h, which is installed. Nothing else of this
 *             project uses it.
 *
 * How         libipq.c has the eleven functions of the interface, and its table of errors.
 *             request.c writes what goes to the kernel, socket.c waits and receives, message.c
 *             turns a message of nfnetlink_queue's into one of ip_queue's, queue.c picks the
 *             queue's number and knows of the other handle's.
 *
 * States      of a handle: open (a socket; no privilege is needed), bound (by the first
 *             ipq_set_mode(), and only from then on do packets come), closed.
 *
 * Always      Structures, sizes, return values, error numbers and texts are those that programs
 *             were compiled for. Functions may be called from several threads and after fork().
 *             What the kernel thinks of a request comes in band, as it did.
 */
#ifndef LIBIPQ_HANDLE_H
#define LIBIPQ_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "lib/queue/queue.h"
#include "libipq.h"

/* A handle is used by several threads at once and by forked processes, so nothing of it is needed
 * twice in a call, and no lock is held that a fork could leave locked. */
struct ipq_classic {
	struct ipq_handle handle; /* first: it is all that programs know */
	uint8_t family;		  /* NFPROTO_IPV4 or NFPROTO_IPV6 */
	uint16_t queue_num;
	atomic_bool is_asking;	  /* has asked the kernel for packets, and was not refused */
	atomic_bool gave_nothing; /* has given an empty message: see ipq_message_empty() */
	atomic_flag devices_in_use;
	struct ipq_devices devices; /* uses handle.fd */
};

/* The first bytes of a kernel message: more than all that comes before the payload. */
enum { IPQ_HEAD_SIZE = 2048 };
struct ipq_head {
	_Alignas(uint64_t) uint8_t bytes[IPQ_HEAD_SIZE];
};

/* queue.c */

/* Picks the queue of a handle for family, and remembers it for ipq_classic_release(). -EINVAL when
 * the environment names none. */
int ipq_classic_claim(uint8_t family, uint16_t *queue_num);
void ipq_classic_release(uint8_t family);
/* Whether a handle for family is open in this process. */
bool ipq_classic_is_claimed(uint8_t family);
/* Notes that the handle has asked the kernel for packets, or that it was refused. */
void ipq_classic_set_asking(struct ipq_classic *classic, bool is_asking);
/* For a packet of a family that the handle did not ask for: whether this process has a handle that
 * is for it; and as verdict to give the packet that it goes to that handle's queue, or that it is
 * dropped where nobody asks for it. Takes no lock, and touches no other handle: that one may be
 * destroyed meanwhile, and a packet that goes to its queue then is dropped by the kernel. */
bool ipq_classic_other(const struct ipq_classic *classic, uint8_t family, uint32_t *verdict);

/* socket.c. On failure -1, with errno. */

/* Gives the handle's socket its address. */
int ipq_classic_bind(struct ipq_classic *classic);

/* Gives a socket room for a burst of packets: 8 MB, or what the system allows anybody. errno may
 * change. */
void ipq_classic_make_room(int fd);

/* The time that is so far away; and waits for something to read: 1, or 0 at the deadline. */
struct timespec ipq_classic_deadline(int microseconds);
int ipq_classic_wait(int fd, const struct timespec *deadline);

/* Takes one message: its head, the rest of it at the start of buf, and who sent it. Gives its whole
 * length. */
ssize_t ipq_classic_receive(int fd, struct ipq_head *head, unsigned char *buf, size_t len,
			    struct sockaddr_nl *from, int flags);

/* request.c: one message to the kernel each, which is not waited for. 0 or a negative errno;
 * what the kernel thinks of the message comes in band. */

int ipq_request_mode(struct ipq_classic *classic, uint8_t mode, size_t range);
/* Without replacement if data is NULL. -EMSGSIZE: the replacement is over IPQ_PAYLOAD_MAX. */
int ipq_request_verdict(const struct ipq_classic *classic, ipq_id_t id, unsigned int verdict,
			const void *data, size_t data_len);
/* The same with a verdict of nfnetlink_queue's, such as NF_QUEUE_NR(), and no replacement. */
int ipq_request_raw_verdict(const struct ipq_classic *classic, uint32_t id, uint32_t verdict);

/* message.c */

/* Which packet it is. */
struct ipq_identity {
	uint32_t id;
	uint8_t family;
};

/* Turns one kernel message of len bytes, of which the first IPQ_HEAD_SIZE are in head and the rest
 * is at the start of buf, into ip_queue's, in buf. Gives its length, and of a packet its identity.
 *   -EMSGSIZE      it is longer than buf_len
 *   -EAFNOSUPPORT  it is a packet of another family than the handle's
 *   -EBADMSG       it makes no sense */
ssize_t ipq_message_translate(struct ipq_classic *classic, struct ipq_head *head, size_t len,
			      unsigned char *buf, size_t buf_len, struct ipq_identity *identity);

/* Makes a message of no type in buf, or as much of it as there is room for: what follows its header
 * is a packet with the id 0 and without data. */
void ipq_message_empty(unsigned char *buf, size_t buf_len);

#endif
