/* Where a packet's headers are. */
#include "packet.h"
#include "lib/bytes.h"

#include <netinet/in.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>

enum {
	IPV4_HEADER = 20,
	IPV6_HEADER = 40,
	FRAGMENT_HEADER = 8,
	/* A chain as long as a packet is legal. This many is more than anybody sends. */
	EXTENSIONS_MAX = 64,
	VLAN_TAG = 4
};

/* Where the IP packet ends that begins at start and says that it has len bytes, of which left are
 * there. Once something in it moved it ends where its bytes end: its length field follows in
 * ipq_rewrite_finish(). */
static uint16_t packet_end(const struct ipq_packet *packet, uint16_t start, uint32_t len,
			   uint16_t left)
{
	if (len >= left || packet->dirty & IPQ_DIRTY_ALL)
		return (uint16_t)(start + left);
	return (uint16_t)(start + len);
}

/* The length of the transport header at p, of which left bytes are there; 0 where it is not wholly
 * there or cannot be one. Protocols without a header that is known here have none, and a body. */
static uint16_t transport_len(uint8_t protocol, const uint8_t *p, uint16_t left)
{
	uint16_t len;

	switch (protocol) {
	case IPPROTO_TCP:
		if (left < 20)
			return 0;
		len = (uint16_t)((p[12] >> 4) * 4);
		return len >= 20 && len <= left ? len : 0;
	case IPPROTO_DCCP:
		/* RFC 4340 section 5.1: with 48-bit sequence numbers (X) it has 16 bytes, else 12
		 */
		if (left < 12)
			return 0;
		len = (uint16_t)(p[4] * 4);
		return len >= (p[8] & 1 ? 16 : 12) && len <= left ? len : 0;
	case IPPROTO_GRE:
		/* RFC 2784, RFC 2890: checksum, key and sequence number are optional words */
		if (left < 4)
			return 0;
		len = (uint16_t)(4 + (p[0] & 0x80 ? 4 : 0) + (p[0] & 0x20 ? 4 : 0) +
				 (p[0] & 0x10 ? 4 : 0));
		return len <= left ? len : 0;
	case IPPROTO_AH:
		/* RFC 4302 section 2.2: in 32-bit words, minus 2 */
		if (left < 12)
			return 0;
		len = (uint16_t)((p[1] + 2) * 4);
		return len >= 12 && len <= left ? len : 0;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
	case IPPROTO_ESP: return left >= 8 ? 8 : 0;
	case IPPROTO_SCTP: return left >= 12 ? 12 : 0;
	default: return 0;
	}
}

static void transport_parse(struct ipq_packet *packet, uint16_t offset)
{
	uint16_t len;

	if (packet->fragment == IPQ_FRAGMENT_LATER || offset > packet->end)
		return;
	len = transport_len(packet->protocol, packet->data + offset,
			    (uint16_t)(packet->end - offset));
	if (len == 0)
		return;
	packet->l4 = offset;
	packet->body = (uint16_t)(offset + len);
	if (packet->protocol == IPPROTO_AH)
		packet->ah = offset;
}

static void ipv4_parse(struct ipq_packet *packet, uint16_t start, uint16_t size)
{
	const uint8_t *p = packet->data + start;
	uint16_t left = (uint16_t)(size - start);
	uint16_t header, total, fragment;

	if (left < IPV4_HEADER)
		return;
	header = (uint16_t)((p[0] & 15) * 4);
	if (header < IPV4_HEADER || header > left)
		return;
	packet->ip_version = 4;
	packet->protocol = p[9];
	/* Less than the header is nonsense: then the packet is what bytes there are. */
	total = ipq_load16(p + 2);
	packet->end = packet_end(packet, start, total >= header ? total : left, left);
	fragment = ipq_load16(p + 6);
	if (fragment & 0x1fff)
		packet->fragment = IPQ_FRAGMENT_LATER;
	else if (fragment & 0x2000)
		packet->fragment = IPQ_FRAGMENT_FIRST;
	transport_parse(packet, (uint16_t)(start + header));
}

/* The length of the extension header at p, of which left bytes are there; 0 where that is not all
 * of it, or it is none and the chain has ended. */
static uint32_t extension_len(uint8_t type, const uint8_t *p, uint32_t left)
{
	uint32_t len;

	if (left < 8)
		return 0;
	switch (type) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH: len = (uint32_t)(p[1] + 1) * 8; break;
	case IPPROTO_FRAGMENT: len = FRAGMENT_HEADER; break;
	case IPPROTO_AH: len = (uint32_t)(p[1] + 2) * 4; break;
	default: return 0;
	}
	return len <= left ? len : 0;
}

static void fragment_read(struct ipq_packet *packet, const uint8_t *p)
{
	uint16_t field = ipq_load16(p + 2);

	if (field & 0xfff8)
		packet->fragment = IPQ_FRAGMENT_LATER;
	else if (field & 1)
		packet->fragment = IPQ_FRAGMENT_FIRST;
}

static void ipv6_parse(struct ipq_packet *packet, uint16_t start, uint16_t size)
{
	const uint8_t *p = packet->data;
	uint16_t left = (uint16_t)(size - start);
	uint32_t offset = (uint32_t)start + IPV6_HEADER;
	uint32_t total, len;
	uint8_t type;

	if (left < IPV6_HEADER)
		return;
	packet->ip_version = 6;
	/* 0 with a jumbogram (RFC 2675), which is longer than any copy. */
	total = (uint32_t)ipq_load16(p + start + 4) + IPV6_HEADER;
	packet->end = packet_end(packet, start, total > IPV6_HEADER ? total : left, left);
	type = p[start + 6];
	for (int i = 0; i < EXTENSIONS_MAX && packet->fragment != IPQ_FRAGMENT_LATER; i++) {
		len = extension_len(type, p + offset, packet->end - offset);
		if (len == 0)
			break;
		if (type == IPPROTO_FRAGMENT)
			fragment_read(packet, p + offset);
		else if (type == IPPROTO_AH)
			packet->ah = (uint16_t)offset;
		type = p[offset];
		offset += len;
	}
	packet->protocol = type;
	/* Not where the chain goes on behind what was looked at of it. */
	if (extension_len(type, p + offset, packet->end - offset) == 0)
		transport_parse(packet, (uint16_t)offset);
}

/* Where the IP header of a bridged packet begins, behind its VLAN tags; size where it has none. */
static uint16_t bridged_start(const struct ipq_packet *packet, uint16_t size)
{
	uint16_t type = packet->hw_protocol;
	uint16_t start = 0;

	while ((type == ETH_P_8021Q || type == ETH_P_8021AD) && size - start >= VLAN_TAG) {
		type = ipq_load16(packet->data + start + 2);
		start = (uint16_t)(start + VLAN_TAG);
	}
	return type == ETH_P_IP || type == ETH_P_IPV6 ? start : size;
}

void ipq_header_parse(struct ipq_packet *packet)
{
	uint16_t size =
		packet->data_len < IPQ_PACKET_MAX ? (uint16_t)packet->data_len : IPQ_PACKET_MAX;
	uint16_t start = packet->family == NFPROTO_BRIDGE ? bridged_start(packet, size) : 0;

	packet->parsed = 1;
	packet->ip_version = 0;
	packet->protocol = 0;
	packet->fragment = IPQ_FRAGMENT_NONE;
	packet->l3 = start;
	packet->l4 = 0;
	packet->ah = 0;
	packet->body = 0;
	packet->end = size;
	if (start >= size)
		return;
	switch (packet->data[start] >> 4) {
	case 4: ipv4_parse(packet, start, size); break;
	case 6: ipv6_parse(packet, start, size); break;
	default: break;
	}
}
