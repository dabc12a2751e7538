/* Packet headers: places in order and inside, twice the same, whatever the bytes say. */
#include "fuzz.h"
#include "lib/packet/transport.h"

#include <linux/netfilter.h>

static void places_check(const struct ipq_packet *p)
{
	uint32_t size = p->data_len < IPQ_PACKET_MAX ? p->data_len : IPQ_PACKET_MAX;

	CHECK(p->parsed == 1);
	CHECK(p->l3 <= p->upper && p->upper <= p->end && p->end <= size);
	CHECK(p->ip_version == 0 || p->ip_version == p->data[p->l3] >> 4);
	CHECK(p->ip_version || (p->l4 == 0 && p->ah == 0 && p->protocol == 0));
	if (p->l4)
		CHECK(p->upper == p->l4 && p->l3 < p->l4 && p->l4 < p->body && p->body <= p->end);
	else
		CHECK(p->body == 0);
	CHECK(p->l4 == 0 || p->fragment != IPQ_FRAGMENT_LATER);
	CHECK(p->ah == 0 || (p->ah > p->l3 && p->ah + 12 <= p->end));
	CHECK(ipq_header_strmalformed(p->malformed));
	/* What has no headers that could be told says why. */
	CHECK(p->ip_version || p->malformed || p->family != NFPROTO_IPV4);
}

static void arp_check(const struct ipq_packet *p)
{
	uint32_t left = (uint32_t)p->end - p->l3;
	uint32_t len = ipq_header_arp_len(p->data + p->l3, left);

	CHECK(p->ip_version == 0);
	CHECK(p->upper == p->l3 || p->upper == p->l3 + len);
	CHECK(p->malformed || (len >= 8 && len <= left && p->upper > p->l3));
}

static void transport_check(const struct ipq_packet *p)
{
	struct ipq_transport t;

	ipq_transport_find(p, &t);
	CHECK(t.start <= p->end && t.len <= p->end - t.start);
	CHECK(t.covered == 0 || (t.start <= t.covered && t.covered <= p->end));
	CHECK(t.source + t.address_len <= p->end && t.destination + t.address_len <= p->end);
	/* A checksum lies in the transport's header, which has a size that is known, or is cut off by
	 * a capture. */
	if (t.field && p->l4)
		CHECK(t.sum != IPQ_SUM_NONE && t.field > p->l4 && t.field < p->body);
	else if (t.field)
		CHECK(p->data_len < p->len && t.field > p->upper && t.field + 2 <= p->end);
}

/* The packet ends where its header says, and where its bytes do at the latest. */
static void total_check(const struct ipq_packet *p)
{
	uint32_t total = ipq_header_total(p->data, p->data_len);
	uint32_t size = p->data_len < IPQ_PACKET_MAX ? p->data_len : IPQ_PACKET_MAX;

	CHECK(total == 0 || total >= 20);
	if (p->ip_version && p->l3 == 0 && !p->dirty && p->len <= IPQ_PACKET_MAX)
		CHECK(p->end == (total && total < size ? total : size));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = {bytes, len};
	uint8_t flags = take8(&in);
	uint16_t bridged = flags & 1 ? take16(&in) : 0;
	struct ipq_packet packet = {
		.family = flags & 1   ? NFPROTO_BRIDGE
			  : flags & 4 ? NFPROTO_ARP
				      : NFPROTO_IPV4,
		.hw_protocol = flags & 1 ? bridged : 0x0800,
		.dirty = flags & 2 ? IPQ_DIRTY_ALL : 0,
		.data_len = (uint32_t)in.len,
		.len = (uint32_t)in.len + (flags & 4 ? flags >> 3 : 0),
		.cut = flags & 4 ? IPQ_CUT_CAPTURE : IPQ_CUT_QUEUE,
	};
	struct ipq_packet before;

	packet.data = own(in.bytes, in.len);
	ipq_header_parse(&packet);
	places_check(&packet);
	total_check(&packet);
	if (packet.ip_version)
		transport_check(&packet);
	if (ipq_header_is_arp(&packet))
		arp_check(&packet);
	before = packet;
	ipq_header_parse(&packet);
	CHECK(memcmp(&before, &packet, sizeof(packet)) == 0);
	free(packet.data);
	return 0;
}
