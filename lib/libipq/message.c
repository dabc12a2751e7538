/* nfnetlink_queue's messages in ip_queue's form. */
#include "handle.h"
#include "lib/queue/messages.h"

#include <arpa/inet.h>
#include <string.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>

/* Layouts that compiled programs have built in. */
#define HAS_OFFSET(type, member, offset) \
	_Static_assert(offsetof(type, member) == (offset), #type "." #member)
#ifdef __LP64__
_Static_assert(sizeof(struct ipq_handle) == 32, "struct ipq_handle");
_Static_assert(sizeof(ipq_packet_msg_t) == 96, "ipq_packet_msg_t");
_Static_assert(sizeof(ipq_peer_msg_t) == 24, "ipq_peer_msg_t");
HAS_OFFSET(ipq_packet_msg_t, hook, 32);
HAS_OFFSET(ipq_packet_msg_t, hw_protocol, 68);
HAS_OFFSET(ipq_packet_msg_t, data_len, 88);
HAS_OFFSET(ipq_packet_msg_t, payload, 96);
#endif
HAS_OFFSET(struct ipq_handle, fd, 0);

enum {
	PACKET_HEAD = NLMSG_LENGTH(sizeof(ipq_packet_msg_t)),
	ERROR_HEAD = NLMSG_LENGTH(sizeof(struct nlmsgerr)),
	PEER_HEAD = NLMSG_LENGTH(sizeof(ipq_peer_msg_t)),
	/* The original sent a mode with this much behind it. */
	MODE_LEN = NLMSG_LENGTH(PEER_HEAD),
	ATTRIBUTES = NLMSG_LENGTH(sizeof(struct nfgenmsg)),
	CONFIG = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG,
	VERDICT = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT
};

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The first attribute of that type between offset and len, which may be cut off in its value. */
static struct nlattr *attr_find(uint8_t *bytes, size_t offset, size_t len, uint16_t type)
{
	while (offset <= len && len - offset >= sizeof(struct nlattr)) {
		struct nlattr *attr = (struct nlattr *)(bytes + offset);

		if (attr->nla_len < sizeof(*attr))
			return NULL;
		if ((attr->nla_type & NLA_TYPE_MASK) == type)
			return attr;
		offset += NLA_ALIGN((size_t)attr->nla_len);
	}
	return NULL;
}

/* The value of an attribute that has size bytes and all of them. */
static void *value_find(uint8_t *bytes, size_t offset, size_t len, uint16_t type, size_t size)
{
	struct nlattr *attr = attr_find(bytes, offset, len, type);

	if (!attr || attr->nla_len < NLA_HDRLEN + size)
		return NULL;
	if (len - (size_t)((uint8_t *)attr - bytes) < NLA_HDRLEN + size)
		return NULL;
	return (uint8_t *)attr + NLA_HDRLEN;
}

/* Makes a message of a head that ends inside the payload: the length of both becomes what is there.
 * Gives the number of payload bytes that are not. */
static size_t head_complete(struct ipq_head *head, size_t len)
{
	struct nlmsghdr *nlh = (struct nlmsghdr *)head->bytes;
	struct nlattr *attr;
	size_t start, size, here;

	if (len <= sizeof(head->bytes) || nlh->nlmsg_len > len)
		return 0;
	attr = attr_find(head->bytes, ATTRIBUTES, sizeof(head->bytes), NFQA_PAYLOAD);
	if (!attr)
		return 0;
	start = (size_t)((uint8_t *)attr - head->bytes) + NLA_HDRLEN;
	size = attr->nla_len - (size_t)NLA_HDRLEN;
	here = smaller(size, sizeof(head->bytes) - start);
	if (size - here > len - sizeof(head->bytes))
		return 0;
	attr->nla_len = (uint16_t)(NLA_HDRLEN + here);
	nlh->nlmsg_len = (uint32_t)(start + here);
	return size - here;
}

/* A copy, as other threads may be at the cache. */
static struct ipq_device device_of(struct ipq_classic *classic, uint32_t index)
{
	struct ipq_device device = {0};

	if (index == 0)
		return device;
	if (atomic_flag_test_and_set(&classic->devices_in_use)) {
		struct ipq_devices uncached = {.fd = classic->devices.fd};

		return *ipq_device_get(&uncached, index);
	}
	device = *ipq_device_get(&classic->devices, index);
	atomic_flag_clear(&classic->devices_in_use);
	return device;
}

static void packet_fill(struct ipq_classic *classic, const struct ipq_packet *packet,
			ipq_packet_msg_t *msg)
{
	uint32_t has = packet->present;
	struct ipq_device in = device_of(classic, has & IPQ_HAS_INDEV ? packet->indev : 0);
	struct ipq_device out = device_of(classic, has & IPQ_HAS_OUTDEV ? packet->outdev : 0);

	memset(msg, 0, sizeof(*msg));
	msg->packet_id = packet->packet_id;
	msg->mark = packet->mark;
	msg->hook = packet->hook;
	msg->hw_protocol = htons(packet->hw_protocol);
	memcpy(msg->indev_name, in.name, sizeof(msg->indev_name));
	memcpy(msg->outdev_name, out.name, sizeof(msg->outdev_name));
	msg->hw_type = in.type;
	if (has & IPQ_HAS_TIMESTAMP) {
		msg->timestamp_sec = (long)packet->timestamp_sec;
		msg->timestamp_usec = (long)packet->timestamp_usec;
	}
	if (has & IPQ_HAS_HWADDR) {
		msg->hw_addrlen = (unsigned char)packet->hw_addrlen;
		memcpy(msg->hw_addr, packet->hw_addr, packet->hw_addrlen);
	}
}

static ssize_t packet_translate(struct ipq_classic *classic, struct ipq_head *head, size_t len,
				unsigned char *buf, size_t buf_len, struct ipq_identity *identity)
{
	size_t rest = head_complete(head, len);
	struct nlmsghdr nlh = {.nlmsg_type = IPQM_PACKET};
	struct ipq_packet packet;
	ipq_packet_msg_t msg;
	size_t end;
	int ret;

	ret = ipq_attr_parse(&packet, head->bytes, smaller(len, sizeof(head->bytes)));
	if (ret < 0)
		return ret == -ENOMSG ? -EBADMSG : ret;
	*identity = (struct ipq_identity){.id = packet.packet_id, .family = packet.family};
	if (packet.family != classic->family)
		return -EAFNOSUPPORT;
	packet_fill(classic, &packet, &msg);
	msg.data_len = packet.data_len + rest;
	end = PACKET_HEAD + msg.data_len;
	if (end > buf_len)
		return -EMSGSIZE;
	memmove(buf + PACKET_HEAD + packet.data_len, buf, rest);
	if (packet.data_len)
		memcpy(buf + PACKET_HEAD, packet.data, packet.data_len);
	/* Padded as ip_queue did, which a buffer need not have room for. */
	nlh.nlmsg_len = (uint32_t)smaller(NLMSG_ALIGN(end), buf_len);
	memset(buf + end, 0, nlh.nlmsg_len - end);
	memcpy(buf, &nlh, sizeof(nlh));
	memcpy(buf + NLMSG_HDRLEN, &msg, sizeof(msg));
	return nlh.nlmsg_len;
}

/* The kernel says EPERM to a process without the privilege and to one whose queue is another's. */
static bool is_owned_by_another(const struct ipq_classic *classic)
{
	struct ipq_procfs_queue status;

	return ipq_procfs_queue(classic->queue_num, &status) == 0 &&
	       status.portid != classic->handle.local.nl_pid && ipq_has_net_admin();
}

static int errno_translate(const struct ipq_classic *classic, int error, bool is_verdict)
{
	if (error == -EPERM && is_owned_by_another(classic))
		return -EBUSY;
	/* There is no queue before the first mode. ip_queue had one, without that packet. */
	if (error == -ENODEV && is_verdict)
		return -ENOENT;
	return error;
}

/* What ip_queue's peer sent, by what was sent in its place. Gives its length. */
static uint32_t peer_restore(ipq_peer_msg_t *peer, bool is_verdict, uint8_t *bytes, size_t offset,
			     size_t len)
{
	struct nfqnl_msg_config_params *params;
	struct nfqnl_msg_verdict_hdr *verdict;
	struct nlattr *payload;

	memset(peer, 0, sizeof(*peer));
	if (!is_verdict) {
		params = value_find(bytes, offset, len, NFQA_CFG_PARAMS, sizeof(*params));
		if (params) {
			peer->msg.mode.value = params->copy_mode;
			peer->msg.mode.range = ntohl(params->copy_range);
		}
		return MODE_LEN;
	}
	verdict = value_find(bytes, offset, len, NFQA_VERDICT_HDR, sizeof(*verdict));
	if (verdict) {
		peer->msg.verdict.value = ntohl(verdict->verdict) & IPQ_VERDICT_MASK;
		peer->msg.verdict.id = ntohl(verdict->id);
	}
	payload = attr_find(bytes, offset, len, NFQA_PAYLOAD);
	if (payload)
		peer->msg.verdict.data_len = payload->nla_len - (size_t)NLA_HDRLEN;
	return (uint32_t)(PEER_HEAD + peer->msg.verdict.data_len);
}

/* An error comes with the request that it is about: its header, and where there is room the rest,
 * but for a packet's replacement. */
static ssize_t error_translate(struct ipq_classic *classic, struct ipq_head *head, size_t len,
			       unsigned char *buf, size_t buf_len)
{
	struct nlmsghdr nlh;
	struct nlmsgerr error;
	ipq_peer_msg_t peer;
	unsigned char whole[ERROR_HEAD + MODE_LEN - NLMSG_HDRLEN] = {0};
	size_t whole_len = ERROR_HEAD;

	len = smaller(len, sizeof(head->bytes));
	if (len < ERROR_HEAD)
		return -EBADMSG;
	if (buf_len < ERROR_HEAD)
		return -EMSGSIZE;
	memcpy(&nlh, head->bytes, sizeof(nlh));
	memcpy(&error, head->bytes + NLMSG_HDRLEN, sizeof(error));
	if (error.msg.nlmsg_type == CONFIG || error.msg.nlmsg_type == VERDICT) {
		bool is_verdict = error.msg.nlmsg_type == VERDICT;
		size_t offset = ERROR_HEAD + sizeof(struct nfgenmsg);

		if (attr_find(head->bytes, offset, len, NFQA_CFG_CMD) && !is_verdict)
			ipq_classic_set_asking(classic, false);
		error.error = errno_translate(classic, error.error, is_verdict);
		error.msg.nlmsg_type = is_verdict ? IPQM_VERDICT : IPQM_MODE;
		error.msg.nlmsg_len = peer_restore(&peer, is_verdict, head->bytes, offset, len);
		memcpy(whole + ERROR_HEAD, &peer, sizeof(peer));
		whole_len = is_verdict ? ERROR_HEAD + sizeof(peer) : sizeof(whole);
	}
	if (whole_len > buf_len)
		whole_len = ERROR_HEAD;
	nlh.nlmsg_len = (uint32_t)whole_len;
	nlh.nlmsg_flags = 0;
	memcpy(whole, &nlh, sizeof(nlh));
	memcpy(whole + NLMSG_HDRLEN, &error, sizeof(error));
	memcpy(buf, whole, whole_len);
	return (ssize_t)whole_len;
}

ssize_t ipq_message_translate(struct ipq_classic *classic, struct ipq_head *head, size_t len,
			      unsigned char *buf, size_t buf_len, struct ipq_identity *identity)
{
	struct nlmsghdr nlh;

	if (len < sizeof(nlh))
		return -EBADMSG;
	memcpy(&nlh, head->bytes, sizeof(nlh));
	if (nlh.nlmsg_type == NLMSG_ERROR)
		return error_translate(classic, head, len, buf, buf_len);
	return packet_translate(classic, head, len, buf, buf_len, identity);
}

void ipq_message_empty(unsigned char *buf, size_t buf_len)
{
	memset(buf, 0, smaller(buf_len, PACKET_HEAD));
}
