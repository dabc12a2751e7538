/* What tunnels carry, and whose checksum is not finished. */
#include "cut.h"
#include "inner.h"
#include "packet.h"
#include "transport.h"
#include "lib/bytes.h"

#include <netinet/in.h>
#include <string.h>
#include <linux/if_ether.h>

enum {
	DEPTH_MAX = IPQ_INSIDE_MAX, /* Linux itself gives up at as many */
	MAC_ADDRESSES = 12,
	FRAME_LEAST = 64, /* IEEE 802.3, with a tag: shorter frames are padded */
	VLAN_TAG = 4,
	TUNNEL_HEADER = 8 /* VXLAN, GENEVE without options, GTP-U without extensions */
};

bool ipq_inner_view(struct ipq_packet *inner, const struct ipq_packet *packet, uint32_t at)
{
	bool is_cut = ipq_cut_off(packet) && packet->end == packet->data_len;

	if (at >= packet->end)
		return false;
	*inner = (struct ipq_packet){
		.data = packet->data + at,
		.data_len = packet->end - at,
		.len = (is_cut ? packet->len : packet->end) - at,
		.cut = packet->cut,
	};
	ipq_header_parse(inner);
	return inner->ip_version != 0;
}

/* at, if an IP packet begins there and ends with this one, or may_pad, which has more bytes then. */
static uint32_t padded_at(const struct ipq_packet *packet, uint32_t at, bool may_pad)
{
	struct ipq_packet inner;

	if (!ipq_inner_view(&inner, packet, at) || inner.malformed == IPQ_MALFORMED_LENGTH)
		return 0;
	return inner.end == inner.data_len || may_pad ? at : 0;
}

static uint32_t ip_at(const struct ipq_packet *packet, uint32_t at)
{
	return padded_at(packet, at, false);
}

static uint32_t typed_at(const struct ipq_packet *packet, uint16_t type, uint32_t at);

/* Behind the addresses and VLAN tags of an Ethernet header at offset at. */
static uint32_t ethernet_at(const struct ipq_packet *packet, uint32_t at)
{
	const uint8_t *p = packet->data;
	bool may_pad;
	uint16_t type;

	if (at > packet->end || packet->end - at < MAC_ADDRESSES + 2)
		return 0;
	may_pad = packet->end - at <= FRAME_LEAST;
	at += MAC_ADDRESSES;
	type = ipq_load16(p + at);
	while ((type == ETH_P_8021Q || type == ETH_P_8021AD) && packet->end - at >= VLAN_TAG + 2) {
		at += VLAN_TAG;
		type = ipq_load16(p + at);
	}
	return type == ETH_P_IP || type == ETH_P_IPV6 ? padded_at(packet, at + 2, may_pad) : 0;
}

static uint32_t typed_at(const struct ipq_packet *packet, uint16_t type, uint32_t at)
{
	switch (type) {
	case ETH_P_IP:
	case ETH_P_IPV6: return ip_at(packet, at);
	case ETH_P_TEB: return ethernet_at(packet, at);
	default: return 0;
	}
}

static uint32_t vxlan_at(const struct ipq_packet *packet, const uint8_t *p, uint32_t at)
{
	enum { VNI = 0x08, GPE = 0x04, GPE_IPV4 = 1, GPE_IPV6 = 2 };

	if (!(p[0] & VNI))
		return 0;
	if (p[0] & GPE && (p[3] == GPE_IPV4 || p[3] == GPE_IPV6))
		return ip_at(packet, at + TUNNEL_HEADER);
	return ethernet_at(packet, at + TUNNEL_HEADER);
}

static uint32_t geneve_at(const struct ipq_packet *packet, const uint8_t *p, uint32_t at)
{
	uint32_t options = (p[0] & 0x3fU) * 4;

	if (p[0] >> 6 != 0)
		return 0;
	return typed_at(packet, ipq_load16(p + 2), at + TUNNEL_HEADER + options);
}

static uint32_t gtp_at(const struct ipq_packet *packet, const uint8_t *p, uint32_t at)
{
	enum { VERSION_1 = 0x30, OPTIONAL = 0x07, EXTENDED = 0x04, G_PDU = 255 };
	uint32_t len = TUNNEL_HEADER;
	uint8_t next;

	if ((p[0] & 0xf8) != VERSION_1 || p[1] != G_PDU)
		return 0;
	if (!(p[0] & OPTIONAL))
		return ip_at(packet, at + len);
	len += 4;
	next = p[0] & EXTENDED && packet->end - at >= len ? p[len - 1] : 0;
	/* An extension's length is its first byte, in words; its last byte names the next one. */
	while (next && packet->end - at > len && p[len]) {
		uint32_t size = p[len] * 4U;

		if (size > packet->end - at - len)
			return 0;
		len += size;
		next = p[len - 1];
	}
	return ip_at(packet, at + len);
}

/* An IP packet without a header before it (FOU, GUE variant 1), or behind GUE's of variant 0. */
static uint32_t gue_at(const struct ipq_packet *packet, const uint8_t *p, uint32_t at)
{
	uint32_t header = 4 + (p[0] & 0x1fU) * 4;

	if (p[0] >> 4 == 4 || p[0] >> 4 == 6)
		return ip_at(packet, at);
	if (p[0] >> 5 != 0 || (p[1] != IPPROTO_IPIP && p[1] != IPPROTO_IPV6))
		return 0;
	return ip_at(packet, at + header);
}

static uint32_t udp_at(const struct ipq_packet *packet)
{
	static uint32_t (*const ways[])(const struct ipq_packet *, const uint8_t *,
					uint32_t) = {vxlan_at, geneve_at, gtp_at, gue_at};
	uint32_t at = packet->body, found = 0;

	if (packet->end - at < TUNNEL_HEADER)
		return 0;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]) && !found; i++)
		found = ways[i](packet, packet->data + at, at);
	return found;
}

/* By its port, as IANA has them. */
static uint32_t udp_port_at(const struct ipq_packet *packet)
{
	enum { VXLAN = 4789, GENEVE = 6081, GTP_U = 2152 };
	const uint8_t *p = packet->data + packet->body;

	if (packet->end - packet->body < TUNNEL_HEADER)
		return 0;
	switch (ipq_load16(packet->data + packet->l4 + 2)) {
	case VXLAN: return vxlan_at(packet, p, packet->body);
	case GENEVE: return geneve_at(packet, p, packet->body);
	case GTP_U: return gtp_at(packet, p, packet->body);
	default: return 0;
	}
}

static uint32_t start_of(const struct ipq_packet *packet,
			 uint32_t (*in_udp)(const struct ipq_packet *packet))
{
	if (packet->ip_version == 0 || packet->fragment || packet->malformed)
		return 0;
	switch (packet->protocol) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6: return ip_at(packet, packet->upper);
	case IPPROTO_GRE:
		return typed_at(packet, ipq_load16(packet->data + packet->l4 + 2), packet->body);
	case IPPROTO_UDP: return in_udp(packet);
	default: return 0;
	}
}

uint32_t ipq_inner_start(const struct ipq_packet *packet)
{
	return start_of(packet, udp_at);
}

uint32_t ipq_inner_known(const struct ipq_packet *packet)
{
	return start_of(packet, udp_port_at);
}

/* Whether the transport's checksum is left to others. The sum of a pseudo-header is never 0, which is
 * UDP's none. */
static bool is_unfinished(const struct ipq_packet *packet)
{
	static const uint8_t none[4];
	const uint8_t *field;
	struct ipq_transport t;
	uint16_t pseudo;

	ipq_transport_find(packet, &t);
	if (!t.field)
		return false;
	field = packet->data + t.field;
	if (t.sum == IPQ_SUM_CRC32C)
		return memcmp(field, none, 4) == 0;
	if (t.sum != IPQ_SUM_PSEUDO)
		return false;
	/* By its own length: the copy may end before it does. */
	if (packet->protocol == IPPROTO_UDP)
		t.len = ipq_load16(packet->data + packet->l4 + 4);
	pseudo = ipq_transport_pseudo(packet, &t);
	return memcmp(field, &pseudo, sizeof(pseudo)) == 0;
}

/* Whether the transport's checksum is right as the bytes are. Around a packet that is not finished it
 * cannot be: there it counts what that one will be (Documentation/networking/checksum-offloads). */
static bool is_right(const struct ipq_packet *packet)
{
	struct ipq_transport t;
	uint16_t sum;

	ipq_transport_find(packet, &t);
	if (!t.field || !t.covered)
		return false;
	sum = (uint16_t)ipq_transport_sum(packet, &t);
	return memcmp(packet->data + t.field, &sum, sizeof(sum)) == 0;
}

/* Protocols that Linux finishes itself carry no packets, but UDP may. */
static bool may_carry(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
	case IPPROTO_SCTP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
	case IPPROTO_MH: return false;
	default: return true;
	}
}

/* Goes on from inner, which is packet at first, to the packet that it carries, and at to where that
 * one begins in packet. False where it carries none. */
static bool go_inside(struct ipq_packet *inner, const struct ipq_packet *packet, uint32_t *at)
{
	uint32_t start = ipq_inner_start(inner);

	*at += start;
	return start && ipq_inner_view(inner, packet, *at);
}

bool ipq_inner_find(struct ipq_packet *inner, const struct ipq_packet *packet, uint32_t *at)
{
	uint32_t start = ipq_inner_start(packet);

	*at = 0;
	for (int depth = 0; depth < DEPTH_MAX && start; depth++) {
		*at += start;
		if (!ipq_inner_view(inner, packet, *at))
			return false;
		if (is_unfinished(inner))
			return true;
		start = ipq_inner_start(inner);
	}
	return false;
}

enum ipq_unready ipq_inner_unready(struct ipq_packet *packet)
{
	bool is_udp = packet->protocol == IPPROTO_UDP;
	struct ipq_packet inner;
	bool is_open;
	uint32_t at;

	if (!(packet->present & IPQ_HAS_SKB_INFO) ||
	    !(packet->skb_info & (IPQ_SKB_CSUMNOTREADY | IPQ_SKB_GSO)))
		return IPQ_UNREADY_NONE;
	/* What is large because it was put together on its way is finished. */
	if (!(packet->skb_info & IPQ_SKB_CSUMNOTREADY) || packet->ip_version == 0 ||
	    !may_carry(packet->protocol))
		return IPQ_UNREADY_OWN;
	is_open = is_udp && is_unfinished(packet);
	/* Where it is to be cut into segments, a tunnel's is left open as well. */
	if (is_open && !(packet->skb_info & IPQ_SKB_GSO))
		return IPQ_UNREADY_OWN;
	if (ipq_inner_find(&inner, packet, &at)) {
		packet->inner = (uint16_t)at;
		return IPQ_UNREADY_INNER;
	}
	return is_open || (is_udp && is_right(packet)) ? IPQ_UNREADY_OWN : IPQ_UNREADY_UNKNOWN;
}

enum ipq_unready ipq_inner_left(const struct ipq_packet *packet)
{
	struct ipq_packet inner = *packet;
	uint32_t at = 0;

	for (int depth = 0; depth < DEPTH_MAX && go_inside(&inner, packet, &at); depth++)
		if (at == packet->inner)
			return IPQ_UNREADY_INNER;
	return at ? IPQ_UNREADY_UNKNOWN : IPQ_UNREADY_OWN;
}

bool ipq_inner_cuts_udp(const struct ipq_packet *packet)
{
	struct ipq_packet inner;

	if (!packet->unready || !(packet->skb_info & IPQ_SKB_GSO))
		return false;
	if (packet->unready == IPQ_UNREADY_OWN)
		return packet->protocol == IPPROTO_UDP;
	return packet->unready == IPQ_UNREADY_UNKNOWN ||
	       !ipq_inner_view(&inner, packet, packet->inner) || inner.protocol == IPPROTO_UDP;
}
