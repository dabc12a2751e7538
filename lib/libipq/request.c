/* What libipq asks of the kernel. */
#include "handle.h"
#include "lib/queue/messages.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>

enum { RANGE_MAX = 65535, IPV4_HEADER = 20, IPV6_HEADER = 40 };

/* A queue is bound once: its owner's second attempt is EBUSY. The kernel knows best whose it is; in
 * a chroot, or when root was given up, it cannot be asked. */
static bool must_bind(const struct ipq_classic *classic)
{
	struct ipq_procfs_queue status;

	switch (ipq_procfs_queue(classic->queue_num, &status)) {
	case 0: return status.portid != classic->handle.local.nl_pid;
	case -ENOENT: return true;
	default: return !atomic_load(&classic->is_asking);
	}
}

int ipq_request_mode(struct ipq_classic *classic, uint8_t mode, size_t range)
{
	_Alignas(struct nlmsghdr) char buf[IPQ_CONFIG_SIZE];
	uint32_t copy_range = range < RANGE_MAX ? (uint32_t)range : RANGE_MAX;
	struct nlmsghdr *nlh = ipq_netlink_mode(buf, classic->queue_num, mode, copy_range);
	struct nfqnl_msg_config_cmd bind = {.command = NFQNL_CFG_CMD_BIND};
	uint32_t no_flags = 0;

	if (mode > IPQ_COPY_MAX) {
		/* ip_queue answered EINVAL. nfnetlink_queue passes over such a mode, but flags
		 * without a mask are EINVAL to it, and the whole message is refused. */
		ipq_netlink_put(nlh, NFQA_CFG_FLAGS, &no_flags, sizeof(no_flags));
	} else {
		/* In the same message, so that a refusal is one error and not two. */
		if (must_bind(classic))
			ipq_netlink_put(nlh, NFQA_CFG_CMD, &bind, sizeof(bind));
		ipq_classic_set_asking(classic, true);
	}
	return send(classic->handle.fd, nlh, nlh->nlmsg_len, 0) < 0 ? -errno : 0;
}

static uint32_t verdict_of(const struct ipq_classic *classic, unsigned int verdict)
{
	switch (verdict) {
	/* Whoever steals a packet frees it. The kernel refuses this and keeps the packet. */
	case NF_STOLEN: return NF_DROP;
	/* Back to where it came from, which is not queue 0 for every handle. */
	case NF_QUEUE: return NF_QUEUE_NR(classic->queue_num);
	default: return verdict;
	}
}

/* ip_queue let a packet pass as it was when its replacement had no room for a header. */
static bool is_replacement(const struct ipq_classic *classic, size_t data_len)
{
	return data_len >= (classic->family == NFPROTO_IPV6 ? IPV6_HEADER : IPV4_HEADER);
}

/* A verdict message without its attributes, which the kernel refuses as EINVAL, touching no packet.
 */
static void make_invalid(struct ipq_verdict_buffer *buffer)
{
	struct nlmsghdr *nlh = buffer->iov[0].iov_base;

	nlh->nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg));
	buffer->iov[0].iov_len = nlh->nlmsg_len;
}

static int verdict_send(const struct ipq_classic *classic, struct ipq_packet *packet, bool valid)
{
	struct ipq_batch one = {.packets = packet, .count = 1, .capacity = 1};
	struct ipq_verdict_buffer buffer;
	struct msghdr message = {.msg_iov = buffer.iov};
	int ret;

	packet->queue_num = classic->queue_num;
	ret = ipq_verdict_encode(&buffer, &one, 0, SIZE_MAX);
	if (ret < 0)
		return ret;
	if (!valid)
		make_invalid(&buffer);
	message.msg_iovlen = buffer.iovlen;
	return sendmsg(classic->handle.fd, &message, 0) < 0 ? -errno : 0;
}

int ipq_request_verdict(const struct ipq_classic *classic, ipq_id_t id, unsigned int verdict,
			const void *data, size_t data_len)
{
	struct ipq_packet packet = {
		/* Ids are 32 bits wide and begin with 1; no other may hit a packet. */
		.packet_id = id <= UINT32_MAX ? (uint32_t)id : 0,
		.verdict = verdict_of(classic, verdict),
	};
	/* The upper bits had no meaning to ip_queue; here they do. */
	bool valid = verdict <= NF_MAX_VERDICT;

	if (!valid)
		packet.verdict = NF_DROP;
	if (data && packet.verdict != NF_DROP && is_replacement(classic, data_len)) {
		packet.set = IPQ_SET_PAYLOAD;
		packet.data = (uint8_t *)data;
		packet.data_len = data_len < UINT32_MAX ? (uint32_t)data_len : UINT32_MAX;
	}
	return verdict_send(classic, &packet, valid);
}

int ipq_request_raw_verdict(const struct ipq_classic *classic, uint32_t id, uint32_t verdict)
{
	struct ipq_packet packet = {.packet_id = id, .verdict = verdict};

	return verdict_send(classic, &packet, true);
}
