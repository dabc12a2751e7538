/* Netlink messages: whatever they say, a packet points into its message. */
#include "fuzz.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

enum { PACKET = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET, VERDICTS = 3 };

static void inside(const void *part, size_t part_len, const uint8_t *message, size_t len)
{
	const uint8_t *p = part;

	CHECK(p >= message && p <= message + len && part_len <= len - (size_t)(p - message));
}

static void conntrack_check(const struct ipq_packet *packet)
{
	struct ipq_conntrack conntrack;
	int ret = ipq_conntrack_parse(packet, &conntrack);

	CHECK(ret == 0 || !(packet->present & IPQ_HAS_CT) || conntrack.has == conntrack.has);
	if (ret == 0 && !(conntrack.has & IPQ_CT_HAS_ZONE))
		CHECK(conntrack.zone == 0);
}

/* Its verdict, as a message: the lengths that it tells are those that it has. */
static void verdict_check(const struct ipq_packet *packet)
{
	static struct ipq_verdict_buffer buffer;
	struct ipq_packet packets[VERDICTS] = {*packet, *packet, *packet};
	struct ipq_batch batch = {.packets = packets,
				  .count = VERDICTS,
				  .capacity = VERDICTS,
				  .unknown = packet->hook & 1};
	size_t total = 0;
	int next;

	packets[1].set = packet->mark & 7;
	for (uint32_t at = 0; at < VERDICTS; at = (uint32_t)next) {
		next = ipq_verdict_encode(&buffer, &batch, at, packet->len);
		CHECK(next > (int)at && next <= VERDICTS);
		CHECK(buffer.used <= sizeof(buffer.bytes));
		total = 0;
		for (size_t i = 0; i < buffer.iovlen; i++)
			total += buffer.iov[i].iov_len;
		CHECK(total == buffer.total);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct ipq_packet packet = {.verdict = IPQ_ACCEPT};
	uint8_t *message = own(bytes, len);
	struct nlmsghdr *nlh = (struct nlmsghdr *)message;
	int ret;

	/* Most of them have to be packets. The first flag says whether the length is right too. */
	if (len >= sizeof(*nlh)) {
		if (!(nlh->nlmsg_flags & 1))
			nlh->nlmsg_type = PACKET;
		if (!(nlh->nlmsg_flags & 2))
			nlh->nlmsg_len = (uint32_t)len;
	}
	ret = ipq_attr_parse(&packet, message, len);
	if (packet.present & IPQ_HAS_PAYLOAD)
		inside(packet.data, packet.data_len, message, len);
	if (packet.present & IPQ_HAS_CT)
		inside(packet.ct, packet.ct_len, message, len);
	if (packet.present & IPQ_HAS_SECCTX)
		inside(packet.secctx, packet.secctx_len, message, len);
	if (packet.present & IPQ_HAS_L2HDR)
		inside(packet.l2hdr, packet.l2hdr_len, message, len);
	if (ret == 0) {
		CHECK(packet.present & IPQ_HAS_PACKET_HDR);
		CHECK(packet.data_len <= packet.len);
		CHECK(!(packet.present & IPQ_HAS_HWADDR) || packet.hw_addrlen <= 8);
		CHECK(nlh->nlmsg_type == PACKET && nlh->nlmsg_len <= len);
		conntrack_check(&packet);
		verdict_check(&packet);
		ipq_header_parse(&packet);
	}
	free(message);
	return 0;
}
