/* Verdicts of a batch as netlink messages. */
#include "messages.h"
#include "queue.h"
#include "lib/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

struct verdict_message {
	struct nlmsghdr nlh;
	struct nfgenmsg nfg;
	struct nlattr attr;
	struct nfqnl_msg_verdict_hdr verdict;
};

struct u32_attr {
	struct nlattr attr;
	uint32_t value;
};

/* Header, mark and priority: the largest piece that put() is asked for. */
#define HEAD_MAX (sizeof(struct verdict_message) + 2 * sizeof(struct u32_attr) + NLA_HDRLEN)

bool ipq_verdict_valid(uint32_t verdict)
{
	switch (verdict & IPQ_VERDICT_MASK) {
	case IPQ_DROP:
	case IPQ_ACCEPT:
	case IPQ_REPEAT:
	case IPQ_STOP: return verdict <= IPQ_VERDICT_MASK;
	case IPQ_QUEUE: return (verdict & 0x7f00) == 0;
	default: return false;
	}
}

int ipq_verdict_read(uint32_t number, uint32_t *verdict, uint32_t *reject)
{
	bool is_reject = number >= (IPQ_REJECT | IPQ_REJECT_DEFAULT) &&
			 number <= (IPQ_REJECT | IPQ_REJECT_ADMIN_PROHIBITED);

	if (!is_reject && !ipq_verdict_valid(number))
		return -EINVAL;
	*verdict = is_reject ? IPQ_DROP : number;
	*reject = is_reject ? number - IPQ_REJECT : IPQ_REJECT_NOT;
	return 0;
}

static const char *name_of(uint32_t verdict)
{
	switch (verdict) {
	case IPQ_DROP: return "drop";
	case IPQ_ACCEPT: return "accept";
	case IPQ_REPEAT: return "repeat";
	case IPQ_STOP: return "stop";
	default: return NULL;
	}
}

size_t ipq_verdict_text(uint32_t verdict, char *to)
{
	const char *name = name_of(verdict);
	char *at = to;

	if (name) {
		at = ipq_put_text(at, name);
	} else if ((verdict & IPQ_VERDICT_MASK) == IPQ_QUEUE) {
		at = ipq_put_number(ipq_put_text(at, "queue "), verdict >> IPQ_QUEUE_SHIFT);
		if (verdict & IPQ_QUEUE_BYPASS)
			at = ipq_put_text(at, " bypass");
	} else {
		at = ipq_put_number(ipq_put_text(at, "verdict "), verdict);
	}
	return (size_t)(at - to);
}

size_t ipq_judged_text(const struct ipq_packet *packet, char *to)
{
	if (packet->reject && packet->verdict == IPQ_DROP)
		return (size_t)(ipq_put_text(to, "reject") - to);
	return ipq_verdict_text(packet->verdict, to);
}

static bool is_same(const struct ipq_packet *a, const struct ipq_packet *b)
{
	return !b->held && a->verdict == b->verdict && a->set == b->set &&
	       (!(a->set & IPQ_SET_MARK) || a->mark == b->mark) &&
	       (!(a->set & IPQ_SET_PRIORITY) || a->priority == b->priority);
}

/* The last packet of the run that begins with number first. */
static uint32_t run_end(const struct ipq_batch *batch, uint32_t first, bool may_merge)
{
	const struct ipq_packet *packet = &batch->packets[first];
	uint32_t last = first;

	if (!may_merge || packet->set & IPQ_SET_PAYLOAD)
		return first;
	while (last + 1 < batch->count && is_same(packet, &batch->packets[last + 1]))
		last++;
	return last;
}

static size_t message_size(const struct ipq_packet *packet)
{
	size_t size = sizeof(struct verdict_message);

	if (packet->set & IPQ_SET_MARK)
		size += sizeof(struct u32_attr);
	if (packet->set & IPQ_SET_PRIORITY)
		size += sizeof(struct u32_attr);
	if (packet->set & IPQ_SET_PAYLOAD)
		size += NLA_HDRLEN + NLA_ALIGN((size_t)packet->data_len);
	return size;
}

static bool fits(const struct ipq_verdict_buffer *buffer, size_t size, size_t limit)
{
	return buffer->messages == 0 ||
	       (buffer->total + size <= limit &&
		buffer->used + HEAD_MAX + NLA_ALIGNTO <= sizeof(buffer->bytes) &&
		buffer->iovlen + 3 <= sizeof(buffer->iov) / sizeof(buffer->iov[0]));
}

static void put_iov(struct ipq_verdict_buffer *buffer, void *base, size_t len)
{
	buffer->iov[buffer->iovlen++] = (struct iovec){.iov_base = base, .iov_len = len};
	buffer->total += len;
}

/* len bytes of the buffer's own memory, as one piece with what was put before them if they touch.
 */
static void put(struct ipq_verdict_buffer *buffer, const void *bytes, size_t len)
{
	uint8_t *p = buffer->bytes + buffer->used;
	struct iovec *last = buffer->iovlen ? &buffer->iov[buffer->iovlen - 1] : NULL;

	memcpy(p, bytes, len);
	buffer->used += len;
	if (last && (uint8_t *)last->iov_base + last->iov_len == p) {
		last->iov_len += len;
		buffer->total += len;
	} else {
		put_iov(buffer, p, len);
	}
}

static void put_u32(struct ipq_verdict_buffer *buffer, uint16_t type, uint32_t value)
{
	struct u32_attr attr = {
		.attr = {.nla_len = sizeof(attr), .nla_type = type},
		.value = htonl(value),
	};

	put(buffer, &attr, sizeof(attr));
}

static void put_payload(struct ipq_verdict_buffer *buffer, const struct ipq_packet *packet)
{
	static const uint8_t padding[NLA_ALIGNTO];
	struct nlattr attr = {
		.nla_len = (uint16_t)(NLA_HDRLEN + packet->data_len),
		.nla_type = NFQA_PAYLOAD,
	};
	size_t rest = NLA_ALIGN((size_t)packet->data_len) - packet->data_len;

	put(buffer, &attr, sizeof(attr));
	if (packet->data_len)
		put_iov(buffer, packet->data, packet->data_len);
	if (rest)
		put(buffer, padding, rest);
}

static void put_message(struct ipq_verdict_buffer *buffer, const struct ipq_packet *packet,
			uint8_t type, uint32_t id, size_t size)
{
	struct verdict_message message = {
		.nlh = {.nlmsg_len = (uint32_t)size,
			.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | type,
			.nlmsg_flags = NLM_F_REQUEST},
		.nfg = {.version = NFNETLINK_V0, .res_id = htons(packet->queue_num)},
		.attr = {.nla_len = NLA_HDRLEN + sizeof(message.verdict),
			 .nla_type = NFQA_VERDICT_HDR},
		.verdict = {.verdict = htonl(packet->verdict), .id = htonl(id)},
	};

	put(buffer, &message, sizeof(message));
	if (packet->set & IPQ_SET_MARK)
		put_u32(buffer, NFQA_MARK, packet->mark);
	if (packet->set & IPQ_SET_PRIORITY)
		put_u32(buffer, IPQ_NFQA_PRIORITY, packet->priority);
	if (packet->set & IPQ_SET_PAYLOAD)
		put_payload(buffer, packet);
	buffer->messages++;
}

static int check(const struct ipq_packet *packet)
{
	if (!ipq_verdict_valid(packet->verdict))
		return -EINVAL;
	if (packet->set & IPQ_SET_PAYLOAD && packet->data_len > IPQ_PAYLOAD_MAX)
		return -EMSGSIZE;
	return 0;
}

int ipq_verdict_encode(struct ipq_verdict_buffer *buffer, const struct ipq_batch *batch,
		       uint32_t next, size_t limit)
{
	/* A batch verdict would be that of what is held, too, and of what nobody has seen. */
	bool may_merge = batch->held_count == 0 && batch->unknown == 0;

	buffer->used = 0;
	buffer->iovlen = 0;
	buffer->total = 0;
	buffer->messages = 0;
	while (next < batch->count) {
		const struct ipq_packet *packet = &batch->packets[next];
		uint32_t last = run_end(batch, next, may_merge);
		size_t size = message_size(packet);
		int ret = check(packet);

		if (packet->held) {
			next++;
			continue;
		}

		if (ret < 0 && buffer->messages == 0)
			return ret;
		if (ret < 0 || !fits(buffer, size, limit))
			break;
		put_message(buffer, packet,
			    last > next ? NFQNL_MSG_VERDICT_BATCH : NFQNL_MSG_VERDICT,
			    batch->packets[last].packet_id, size);
		next = last + 1;
	}
	return (int)next;
}
