/* A packet's copy, which is a packet by itself. */
#include "cut.h"
#include "inner.h"
#include "packet.h"
#include "lib/bytes.h"

#include <string.h>

enum { IPV6_HEADER = 40 };

/* Whether the IP header tells another length than the packet has, as that of what segmentation has yet
 * to cut does. */
static bool lies(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->data + packet->l3;
	uint32_t len = packet->ip_version == 4 ? ipq_load16(p + 2)
					       : ipq_load16(p + 4) + (uint32_t)IPV6_HEADER;

	return len != (uint32_t)packet->end - packet->l3;
}

/* Whether the bytes are right as they are, or meant to be wrong. */
static bool is_complete(const struct ipq_packet *packet)
{
	if (packet->dirty)
		return packet->fix == 0;
	return !packet->unready && !lies(packet);
}

/* What the kernel told of the checksums of a packet inside of another one it told of the outermost. */
static void skb_info_take(struct ipq_packet *packet)
{
	const struct ipq_packet *outer = packet->outer;

	while (outer && outer->outer)
		outer = outer->outer;
	if (!outer)
		return;
	packet->present = outer->present & IPQ_HAS_SKB_INFO;
	packet->skb_info = outer->skb_info;
}

/* Makes the lengths and checksums of the packet right in its copy, len bytes at bytes. That one has
 * nothing to do with segments any more: what they were to get is computed. */
static int finish(const struct ipq_packet *packet, uint8_t *bytes, uint32_t len)
{
	struct ipq_packet copy = {
		.data = bytes,
		.data_len = len,
		.len = len,
		.set = IPQ_SET_PAYLOAD,
		.dirty = packet->dirty,
		.unready = packet->unready,
		.inner = (uint16_t)(packet->inner - packet->l3),
		.l4_delta = packet->l4_delta,
		.l4_wrong = packet->l4_wrong,
		.udp_len = packet->udp_len,
	};

	if (!packet->dirty)
		copy.dirty = lies(packet) ? IPQ_DIRTY_ALL : IPQ_DIRTY_FIELDS;
	switch (ipq_rewrite_finish(&copy)) {
	case IPQ_REWRITE_OK: return (int)len;
	case IPQ_REWRITE_TOO_LONG: return -IPQ_UNSENT_LENGTH;
	default: return -IPQ_UNSENT_MALFORMED;
	}
}

int ipq_packet_copy(const struct ipq_packet *from, uint8_t *bytes, uint32_t size)
{
	struct ipq_packet packet = *from;
	uint32_t len;

	if (!packet.parsed)
		ipq_header_parse(&packet);
	if (ipq_cut_off(&packet) || packet.ip_version == 0 || packet.malformed)
		return -IPQ_UNSENT_MALFORMED;
	skb_info_take(&packet);
	if (!(packet.set & IPQ_SET_PAYLOAD))
		packet.unready = (uint8_t)ipq_inner_unready(&packet);
	if (ipq_inner_cuts_udp(&packet))
		return -IPQ_UNSENT_LENGTH;
	len = (uint32_t)packet.end - packet.l3;
	if (len > size)
		return -IPQ_UNSENT_ROOM;
	memcpy(bytes, packet.data + packet.l3, len);
	return is_complete(&packet) ? (int)len : finish(&packet, bytes, len);
}
