/* Where a packet's headers are. */
#include "cut.h"
#include "packet.h"
#include "lib/bytes.h"

#include <netinet/in.h>
#include <netinet/ip6.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>

enum {
	IPV4_HEADER = 20,
	IPV6_HEADER = 40,
	EXTENSION_LEAST = 8,
	AH_LEAST = 12,
	VLAN_TAG = 4,
	ARP_HEADER = 8
};

/* Whether the copy has ended before the packet did. */
static bool ends_with_copy(const struct ipq_packet *packet)
{
	return ipq_cut_off(packet) && packet->end >= packet->data_len;
}

/* Notes why the headers cannot be told for sure; the first reason stays. Where the packet was not
 * copied whole and its copy has ended, what is missing may be there on the wire. */
static void doubt(struct ipq_packet *packet, enum ipq_malformed reason, bool is_at_end)
{
	if (packet->malformed)
		return;
	if (is_at_end && ends_with_copy(packet))
		reason = packet->cut == IPQ_CUT_QUOTE ? IPQ_MALFORMED_QUOTE
			 : ipq_cut_by_capture(packet) ? IPQ_MALFORMED_CAPTURE
						      : IPQ_MALFORMED_COPY;
	else if (is_at_end && packet->fragment == IPQ_FRAGMENT_FIRST)
		reason = IPQ_MALFORMED_FRAGMENT;
	packet->malformed = (uint8_t)reason;
}

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

/* A length of 0 is what segmentation leaves that has yet to tell it, or more than 16 bits hold. */
static void ip_length_check(struct ipq_packet *packet, uint32_t len, uint32_t least)
{
	uint32_t wire = packet->len > packet->data_len ? packet->len : packet->data_len;

	if (packet->dirty & IPQ_DIRTY_ALL || len == 0)
		return;
	if (len < least || len > wire - packet->l3)
		doubt(packet, IPQ_MALFORMED_LENGTH, false);
}

/* The fewest bytes that a transport's header has; 0 where the protocol has none that is known here:
 * what it has is its body. */
static uint16_t transport_least(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP: return 20;
	case IPPROTO_DCCP:
	case IPPROTO_SCTP:
	case IPPROTO_AH: return 12;
	case IPPROTO_GRE: return 4;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
	case IPPROTO_ESP:
	case IPPROTO_MH: return 8;
	default: return 0;
	}
}

/* The length of the transport header at p, by what it says itself; below its least where it cannot
 * be one. The least of it is there. */
static uint16_t transport_len(uint8_t protocol, const uint8_t *p)
{
	uint16_t len;

	switch (protocol) {
	case IPPROTO_TCP: return (uint16_t)((p[12] >> 4) * 4);
	case IPPROTO_DCCP:
		/* RFC 4340 section 5.1: with 48-bit sequence numbers (X) it has 16 bytes, else 12
		 */
		len = (uint16_t)(p[4] * 4);
		return len >= (p[8] & 1 ? 16 : 12) ? len : 0;
	case IPPROTO_GRE:
		/* RFC 2784, RFC 2890: checksum, key and sequence number are optional words */
		return (uint16_t)(4 + (p[0] & 0x80 ? 4 : 0) + (p[0] & 0x20 ? 4 : 0) +
				  (p[0] & 0x10 ? 4 : 0));
	case IPPROTO_AH: return (uint16_t)((p[1] + 2) * 4); /* RFC 4302 section 2.2 */
	case IPPROTO_MH: return (uint16_t)((p[1] + 1) * 8); /* RFC 6275 section 6.1.1 */
	default: return transport_least(protocol);
	}
}

/* RFC 768; RFC 2675 section 4: 0 in a jumbogram. That it is shorter than what is there is legal
 * (RFC 9868). */
static void udp_length_check(struct ipq_packet *packet)
{
	uint16_t len = ipq_load16(packet->data + packet->l4 + 4);
	bool is_cut = packet->fragment || ends_with_copy(packet);

	if (packet->dirty & IPQ_DIRTY_ALL || (len == 0 && packet->ip_version == 6))
		return;
	if (len < 8 || (len > packet->end - packet->l4 && !is_cut))
		doubt(packet, IPQ_MALFORMED_TRANSPORT, false);
}

static void transport_parse(struct ipq_packet *packet)
{
	const uint16_t offset = packet->upper;
	uint16_t least = transport_least(packet->protocol);
	uint16_t left = (uint16_t)(packet->end - offset);
	uint16_t len;

	if (packet->fragment == IPQ_FRAGMENT_LATER || least == 0)
		return;
	len = left < least ? least : transport_len(packet->protocol, packet->data + offset);
	if (len < least || len > left) {
		doubt(packet, IPQ_MALFORMED_TRANSPORT, len > left);
		return;
	}
	packet->l4 = offset;
	packet->body = (uint16_t)(offset + len);
	if (packet->protocol == IPPROTO_AH)
		packet->ah = offset;
	if (packet->protocol == IPPROTO_UDP)
		udp_length_check(packet);
}

/* By its header of 20 bytes at p; 0 where that is nonsense. Then the packet is what bytes there are. */
static uint32_t ipv4_total(const uint8_t *p)
{
	uint32_t total = ipq_load16(p + 2);

	return total >= (p[0] & 15U) * 4 ? total : 0;
}

static void ipv4_parse(struct ipq_packet *packet, uint16_t start, uint16_t size)
{
	const uint8_t *p = packet->data + start;
	uint16_t left = (uint16_t)(size - start);
	uint16_t header, fragment;
	uint32_t total;

	if (left < IPV4_HEADER) {
		doubt(packet, IPQ_MALFORMED_IP, true);
		return;
	}
	header = (uint16_t)((p[0] & 15) * 4);
	if (header < IPV4_HEADER || header > left) {
		doubt(packet, IPQ_MALFORMED_IP, header > left);
		return;
	}
	packet->ip_version = 4;
	packet->protocol = p[9];
	total = ipv4_total(p);
	ip_length_check(packet, ipq_load16(p + 2), header);
	packet->end = packet_end(packet, start, total ? total : left, left);
	fragment = ipq_load16(p + 6);
	if (fragment & 0x1fff)
		packet->fragment = IPQ_FRAGMENT_LATER;
	else if (fragment & 0x2000)
		packet->fragment = IPQ_FRAGMENT_FIRST;
	packet->upper = (uint16_t)(start + header);
	transport_parse(packet);
}

/* What may go on with another header, by Linux (ipv6_ext_hdr() in net/ipv6/exthdrs_core.c). The
 * Mobility Header is none: nothing follows it (RFC 6275 section 6.1.1). */
bool ipq_header_is_extension(uint8_t type)
{
	switch (type) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS: return true;
	default: return false;
	}
}

uint32_t ipq_header_extension_len(uint8_t type, const uint8_t *p)
{
	switch (type) {
	case IPPROTO_FRAGMENT: return 8;
	case IPPROTO_AH: return (uint32_t)(p[1] + 2) * 4;
	default: return (uint32_t)(p[1] + 1) * 8;
	}
}

/* RFC 2675: the payload's length by the option of a jumbogram, in the hop-by-hop options that begin
 * at p, of which left bytes are there. 0 where there is none, or none that can be. */
static uint32_t jumbo_payload(const uint8_t *p, uint32_t left)
{
	uint32_t at = 2, end, len, payload;

	if (left < EXTENSION_LEAST)
		return 0;
	end = ipq_header_extension_len(IPPROTO_HOPOPTS, p);
	for (; end <= left && at < end; at += len) {
		len = 1;
		if (p[at] != IP6OPT_PAD1)
			len = end - at < 2 ? end : 2U + p[at + 1];
		if (len > end - at)
			return 0;
		if (p[at] != IP6OPT_JUMBO || len != IP6OPT_JUMBO_LEN)
			continue;
		payload = ipq_load32(p + at + 2);
		return payload > IPQ_PACKET_MAX && payload <= UINT32_MAX - IPV6_HEADER ? payload
										       : 0;
	}
	return 0;
}

/* By its header at p, of which left bytes are there, 40 of them or more; 0 where that is nonsense.
 * Linux takes hop-by-hop options without a jumbogram's for all that is there (ip6_rcv_core() in
 * net/ipv6/ip6_input.c), and a TCP packet of no payload is one that segmentation has yet to tell its
 * length. */
static uint32_t ipv6_total(const uint8_t *p, uint32_t left)
{
	uint32_t payload = ipq_load16(p + 4);

	if (payload == 0 && p[6] == IPPROTO_TCP)
		return 0;
	if (payload == 0 && p[6] == IPPROTO_HOPOPTS) {
		payload = jumbo_payload(p + IPV6_HEADER, left - IPV6_HEADER);
		return payload ? payload + IPV6_HEADER : 0;
	}
	return payload + IPV6_HEADER;
}

uint32_t ipq_header_total(const uint8_t *bytes, uint32_t len)
{
	if (len >= IPV4_HEADER && bytes[0] >> 4 == 4 && (bytes[0] & 15) * 4 >= IPV4_HEADER)
		return ipv4_total(bytes);
	if (len >= IPV6_HEADER && bytes[0] >> 4 == 6)
		return ipv6_total(bytes, len);
	return 0;
}

/* What the extension header of len bytes tells of the packet that begins at upper. */
static void extension_read(struct ipq_packet *packet, const uint8_t *header, uint32_t len)
{
	uint16_t field;

	if (packet->protocol == IPPROTO_FRAGMENT) {
		field = ipq_load16(header + 2);
		if (field & 0xfff8)
			packet->fragment = IPQ_FRAGMENT_LATER;
		else if (field & 1)
			packet->fragment = IPQ_FRAGMENT_FIRST;
	} else if (packet->protocol == IPPROTO_AH && len < AH_LEAST) {
		doubt(packet, IPQ_MALFORMED_CHAIN, false);
	} else if (packet->protocol == IPPROTO_AH) {
		packet->ah = packet->upper;
	}
}

static void ipv6_parse(struct ipq_packet *packet, uint16_t start, uint16_t size)
{
	const uint8_t *p = packet->data;
	uint16_t left = (uint16_t)(size - start);
	uint32_t total, len;
	bool lacks_jumbo;

	if (left < IPV6_HEADER) {
		doubt(packet, IPQ_MALFORMED_IP, true);
		return;
	}
	packet->ip_version = 6;
	packet->protocol = p[start + 6];
	packet->upper = (uint16_t)(start + IPV6_HEADER);
	total = ipv6_total(p + start, left);
	lacks_jumbo = total == 0 && packet->protocol == IPPROTO_HOPOPTS;
	/* What segmentation has yet to cut may be larger than any packet, and no jumbogram. */
	if (total == IPV6_HEADER && packet->len > IPQ_PACKET_MAX + IPV6_HEADER)
		total = 0;
	ip_length_check(packet, total, IPV6_HEADER);
	packet->end = packet_end(packet, start, total ? total : left, left);
	while (ipq_header_is_extension(packet->protocol) &&
	       packet->fragment != IPQ_FRAGMENT_LATER) {
		const uint8_t *header = p + packet->upper;

		left = (uint16_t)(packet->end - packet->upper);
		len = left < EXTENSION_LEAST ? EXTENSION_LEAST
					     : ipq_header_extension_len(packet->protocol, header);
		if (len > left) {
			doubt(packet, IPQ_MALFORMED_CHAIN, true);
			return;
		}
		extension_read(packet, header, len);
		packet->protocol = header[0];
		packet->upper = (uint16_t)(packet->upper + len);
	}
	if (lacks_jumbo && !(packet->dirty & IPQ_DIRTY_ALL))
		doubt(packet, IPQ_MALFORMED_LENGTH, false);
	transport_parse(packet);
}

/* RFC 826: two addresses of the sender and two of the target follow, whose lengths it tells. */
uint32_t ipq_header_arp_len(const uint8_t *bytes, uint32_t len)
{
	return len < ARP_HEADER ? 0 : ARP_HEADER + 2U * bytes[4] + 2U * bytes[5];
}

bool ipq_header_is_arp(const struct ipq_packet *packet)
{
	uint16_t type = packet->hw_protocol;

	if (packet->family != NFPROTO_BRIDGE)
		return packet->family == NFPROTO_ARP;
	if (packet->l3 >= packet->data_len)
		return false;
	/* Behind VLAN tags, the last of which names it. */
	if (packet->l3 > 0)
		type = ipq_load16(packet->data + packet->l3 - 2);
	return type == ETH_P_ARP;
}

static void arp_parse(struct ipq_packet *packet, uint16_t start, uint16_t size)
{
	uint16_t left = (uint16_t)(size - start);
	uint32_t len = ipq_header_arp_len(packet->data + start, left);

	if (len == 0 || len > left)
		doubt(packet, IPQ_MALFORMED_IP, true);
	else
		packet->upper = (uint16_t)(start + len);
}

/* Where the IP header or the ARP of a bridged packet begins, behind its VLAN tags; size where it has
 * neither. */
static uint16_t bridged_start(const struct ipq_packet *packet, uint16_t size)
{
	uint16_t type = packet->hw_protocol;
	uint16_t start = 0;

	while ((type == ETH_P_8021Q || type == ETH_P_8021AD) && size - start >= VLAN_TAG) {
		type = ipq_load16(packet->data + start + 2);
		start = (uint16_t)(start + VLAN_TAG);
	}
	return type == ETH_P_IP || type == ETH_P_IPV6 || type == ETH_P_ARP ? start : size;
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
	packet->malformed = IPQ_MALFORMED_NOT;
	packet->l3 = start;
	packet->upper = start;
	packet->l4 = 0;
	packet->ah = 0;
	packet->body = 0;
	packet->end = size;
	if (size == 0)
		packet->malformed = IPQ_MALFORMED_COPY;
	if (start >= size)
		return;
	if (ipq_header_is_arp(packet)) {
		arp_parse(packet, start, size);
		return;
	}
	switch (packet->data[start] >> 4) {
	case 4: ipv4_parse(packet, start, size); break;
	case 6: ipv6_parse(packet, start, size); break;
	default: doubt(packet, IPQ_MALFORMED_IP, false); break;
	}
}

const char *ipq_header_strmalformed(int malformed)
{
	switch (malformed) {
	case IPQ_MALFORMED_NOT: return "nothing is malformed";
	case IPQ_MALFORMED_COPY:
		return "the copy of the packet ends in its headers: a longer --copy-range, or the "
		       "script's queue.range, shows them";
	case IPQ_MALFORMED_IP: return "the IP header is cut off, or none";
	case IPQ_MALFORMED_LENGTH:
		return "the IP header tells another length than the packet can have";
	case IPQ_MALFORMED_CHAIN: return "an IPv6 extension header is cut off or too short";
	case IPQ_MALFORMED_TRANSPORT:
		return "the transport header is cut off, or tells a length that it cannot have";
	case IPQ_MALFORMED_FRAGMENT:
		return "the first fragment ends before the transport header does";
	case IPQ_MALFORMED_CAPTURE:
		return "the capture has only a part of the packet, which ends in its headers: a "
		       "larger snapshot length (tcpdump -s) shows them";
	case IPQ_MALFORMED_QUOTE:
		return "the ICMP error quotes only a part of the packet, which ends in its headers";
	default: return "unknown";
	}
}
