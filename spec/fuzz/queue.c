/* A queue from its socket to its socket, whose calls are answered here: whatever messages come,
 * each packet whose id could be read gets a verdict, no other id does, and what is sent are
 * messages. */
#include "fuzz.h"

#include <errno.h>
#include <poll.h>
#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <sys/socket.h>

enum {
	PACKET = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET,
	VERDICT = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT,
	VERDICT_BATCH = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT_BATCH,
	SLOT = 1024,
	DATAGRAMS_MAX = 256,
	DATAGRAM_MAX = 600,
	ID_AT = NLMSG_HDRLEN + sizeof(struct nfgenmsg) + NLA_HDRLEN, /* in most messages */
	SENT_MAX = 1 << 18
};

/* What came, and what became of it. */
static struct {
	uint32_t id;
	bool is_settled;
} given[DATAGRAMS_MAX];
static uint32_t given_count, unread;
static struct input socket_in;
static uint8_t sent[SENT_MAX];

/* One datagram: its length and flags, then its bytes. Most of them have to be packets. */
static size_t next_datagram(uint8_t *slot, size_t room)
{
	uint8_t flags = take8(&socket_in);
	size_t len = take16(&socket_in) % DATAGRAM_MAX;
	const uint8_t *bytes = take(&socket_in, &len);
	struct nlmsghdr nlh;

	CHECK(room == SLOT);
	memcpy(slot, bytes, len);
	if (len >= sizeof(nlh)) {
		memcpy(&nlh, slot, sizeof(nlh));
		if (!(flags & 3))
			nlh.nlmsg_type = PACKET;
		if (!(flags & 12))
			nlh.nlmsg_len = (uint32_t)len;
		memcpy(slot, &nlh, sizeof(nlh));
	}
	return len;
}

/* The kernel's ids ascend. A message that has its own elsewhere becomes none. */
static void note(uint8_t *message, size_t len)
{
	struct ipq_packet packet = {.verdict = IPQ_ACCEPT};
	uint32_t id = htonl(given_count + 1);
	int ret;

	if (len >= ID_AT + sizeof(id))
		memcpy(message + ID_AT, &id, sizeof(id));
	ret = ipq_attr_parse(&packet, message, len);
	if (ret == -ENOMSG)
		return;
	if (ret != 0 && !(packet.present & IPQ_HAS_PACKET_HDR))
		unread++;
	else if (packet.packet_id == given_count + 1)
		given[given_count++].id = packet.packet_id;
	else
		memset(message, 0, NLMSG_HDRLEN);
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned int capacity, int flags,
	     struct timespec *timeout)
{
	unsigned int count = 0, most = 1U + take8(&socket_in) % 8;

	(void)fd;
	(void)flags;
	(void)timeout;
	while (count < capacity && count < most && socket_in.len && given_count < DATAGRAMS_MAX) {
		const struct iovec *iov = messages[count].msg_hdr.msg_iov;

		messages[count].msg_len = (unsigned int)next_datagram(iov->iov_base, iov->iov_len);
		note((uint8_t *)iov->iov_base, messages[count].msg_len);
		count++;
	}
	if (count)
		return (int)count;
	errno = EAGAIN;
	return -1;
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	(void)fds;
	(void)count;
	(void)timeout;
	(void)mask;
	return 0;
}

static void settle(uint32_t id, bool and_before)
{
	bool is_known = false;

	for (uint32_t i = 0; i < given_count; i++)
		if (given[i].id == id || (and_before && (int32_t)(given[i].id - id) <= 0)) {
			is_known = is_known || given[i].id == id;
			given[i].is_settled = true;
		}
	CHECK(is_known);
	/* It would settle what could not be read, too. */
	CHECK(!and_before || !unread);
}

static void message_check(const uint8_t *message, size_t len)
{
	const size_t head = NLMSG_HDRLEN + sizeof(struct nfgenmsg);
	struct nfqnl_msg_verdict_hdr verdict;
	struct nlmsghdr nlh;
	struct nlattr attr;
	size_t at = head;

	memcpy(&nlh, message, sizeof(nlh));
	CHECK(nlh.nlmsg_type == VERDICT || nlh.nlmsg_type == VERDICT_BATCH);
	CHECK(len >= head + NLA_HDRLEN + sizeof(verdict));
	for (bool is_first = true; at < len; is_first = false) {
		CHECK(len - at >= sizeof(attr));
		memcpy(&attr, message + at, sizeof(attr));
		CHECK(attr.nla_len >= NLA_HDRLEN && attr.nla_len <= len - at);
		CHECK(is_first == (attr.nla_type == NFQA_VERDICT_HDR));
		if (is_first)
			memcpy(&verdict, message + at + NLA_HDRLEN, sizeof(verdict));
		at += NLA_ALIGN((size_t)attr.nla_len);
	}
	CHECK(ipq_verdict_valid(ntohl(verdict.verdict)));
	settle(ntohl(verdict.id), nlh.nlmsg_type == VERDICT_BATCH);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	size_t total = 0, at = 0;

	(void)fd;
	(void)flags;
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		CHECK(message->msg_iov[i].iov_len <= sizeof(sent) - total);
		memcpy(sent + total, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
		total += message->msg_iov[i].iov_len;
	}
	while (at < total) {
		struct nlmsghdr nlh;

		CHECK(total - at >= sizeof(nlh));
		memcpy(&nlh, sent + at, sizeof(nlh));
		CHECK(nlh.nlmsg_len >= sizeof(nlh) && nlh.nlmsg_len <= total - at);
		message_check(sent + at, nlh.nlmsg_len);
		at += NLMSG_ALIGN(nlh.nlmsg_len);
	}
	return (ssize_t)total;
}

/* What a filter leaves: any verdict, mark and bytes. */
static void judge(struct ipq_packet *packet, struct input *filter)
{
	static const uint32_t verdicts[] = {IPQ_ACCEPT, IPQ_DROP,   IPQ_REPEAT, IPQ_STOP,
					    0x30003,	IPQ_ACCEPT, 99,		IPQ_ACCEPT};
	uint8_t choice = take8(filter);

	packet->verdict = verdicts[choice & 7];
	packet->set = (choice >> 3 & 7) & (IPQ_SET_MARK | IPQ_SET_PAYLOAD | IPQ_SET_PRIORITY);
	packet->mark = choice >> 6;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct ipq_batch *batch;
	struct input filter;
	struct ipq_queue *queue;
	struct ipq_driver driver = {.batch = batch};

	if (!batch)
		CHECK(ipq_batch_new(&batch, 8, SLOT) == 0);
	memset(given, 0, sizeof(given));
	given_count = 0;
	unread = 0;
	socket_in = (struct input){bytes, len};
	filter.len = take8(&socket_in) % 32;
	filter.bytes = take(&socket_in, &filter.len);
	batch->wake_ns = 1; /* it is always time: the socket's end is no wait */
	CHECK(ipq_queue_new(&queue, 3) == 0);
	driver = (struct ipq_driver){.source = ipq_queue_source(queue), .batch = batch, .woken = 1};
	for (;;) {
		int ret;

		driver.woken = 1;
		ret = ipq_driver_next(&driver);
		if (ret <= 0) {
			CHECK(ret == -ETIME);
			break;
		}
		CHECK((uint32_t)ret == batch->count && batch->count <= batch->capacity);
		for (; batch->current < batch->count; batch->current++)
			judge(&batch->packets[batch->current], &filter);
	}
	for (uint32_t i = 0; i < given_count; i++)
		CHECK(given[i].is_settled);
	for (uint32_t i = 0; i < batch->capacity; i++)
		CHECK(memcmp(batch->slots + (size_t)i * SLOT, "\0\0\0\0", 4) == 0);
	ipq_queue_close(queue);
	return 0;
}
