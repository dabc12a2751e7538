/* Packets inside of packets: found where they are, and finished without a byte beside their checksum
 * and the one around it. */
#include "fuzz.h"
#include "sums.h"
#include "lib/packet/inner.h"
#include "lib/packet/transport.h"

#include <netinet/in.h>
#include <linux/netfilter.h>

/* Each that is found lies in the one around it, and ends with it. */
static void found_check(const struct ipq_packet *packet)
{
	struct ipq_packet around = *packet, inner;

	for (uint32_t at; (at = ipq_inner_start(&around)) != 0; around = inner) {
		CHECK(at > around.l3 && at < around.end);
		CHECK(ipq_inner_view(&inner, &around, at));
		CHECK(inner.data == around.data + at && inner.l3 == 0);
		CHECK(inner.end <= inner.data_len &&
		      inner.data + inner.data_len == around.data + around.end);
	}
}

/* The inner packet's checksum is right, or the sum of its pseudo-header. */
static void finished_check(const struct ipq_packet *packet)
{
	struct ipq_packet inner;
	struct ipq_transport t;
	uint16_t pseudo;

	CHECK(ipq_inner_view(&inner, packet, packet->inner));
	ipq_transport_find(&inner, &t);
	CHECK(t.field && t.covered);
	if (t.sum != IPQ_SUM_PSEUDO)
		return;
	pseudo = ipq_transport_pseudo(&inner, &t);
	if (packet->skb_info & IPQ_SKB_GSO && inner.protocol == IPPROTO_UDP) {
		CHECK(memcmp(inner.data + t.field, &pseudo, 2) == 0);
		return;
	}
	CHECK(sum_add(sum_pseudo(inner.data + t.source, inner.data + t.destination, t.address_len,
				 t.len, inner.protocol),
		      inner.data + t.start, (size_t)(t.covered - t.start)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = {bytes, len};
	uint8_t flags = take8(&in), ttl = flags & 4 ? 8 : 7, value = take8(&in);
	struct ipq_packet packet = {
		.present = IPQ_HAS_PAYLOAD | IPQ_HAS_SKB_INFO,
		.skb_info = flags & 1 ? IPQ_SKB_CSUMNOTREADY | IPQ_SKB_GSO : IPQ_SKB_CSUMNOTREADY,
		.hook = flags >> 4 & 3,
		.data_len = (uint32_t)in.len,
		.len = (uint32_t)in.len,
	};
	uint8_t *before = own(in.bytes, in.len);

	packet.data = own(in.bytes, in.len);
	ipq_header_parse(&packet);
	found_check(&packet);
	if (ipq_rewrite_store(&packet, ttl, &value, 1) == 0) {
		enum ipq_unready unready = packet.unready;
		uint32_t differ = 0;
		int ret = ipq_rewrite_finish(&packet);

		if (packet.ip_version)
			CHECK(ret == 0 || unready != IPQ_UNREADY_NONE);
		CHECK(unready != IPQ_UNREADY_UNKNOWN || ret < 0);
		if (ret == 0 && unready == IPQ_UNREADY_INNER)
			finished_check(&packet);
		for (uint32_t i = 0; i < packet.data_len; i++)
			differ += packet.data[i] != before[i];
		/* The byte, IP's length and checksum, UDP's length, two checksums. */
		CHECK(differ <= 1 + 4 + 2 + 4 + 4);
	}
	free(before);
	free(packet.data);
	return 0;
}
