/* A changed packet's lengths and checksums. */
#include "checksum.h"
#include "packet.h"
#include "transport.h"
#include "lib/bytes.h"

#include <endian.h>
#include <netinet/in.h>
#include <string.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>

/* The IP version that the packet came with, told by whoever handed it in; 0 where nobody did. */
static uint8_t version_before(const struct ipq_packet *packet)
{
	uint16_t type = packet->hw_protocol;

	if (packet->family == NFPROTO_IPV4)
		return 4;
	if (packet->family == NFPROTO_IPV6)
		return 6;
	/* Behind VLAN tags, the last of which names it. */
	if (packet->family == NFPROTO_BRIDGE && packet->l3 > 0)
		type = ipq_load16(packet->data + packet->l3 - 2);
	if (type == ETH_P_IP)
		return 4;
	return type == ETH_P_IPV6 ? 6 : 0;
}

static int ip_check(struct ipq_packet *packet)
{
	uint8_t before, version;

	if (packet->data_len < packet->len)
		return IPQ_REWRITE_TRUNCATED;
	if (packet->data_len > IPQ_PAYLOAD_MAX)
		return IPQ_REWRITE_TOO_LONG;
	if (!packet->parsed)
		ipq_header_parse(packet);
	if (packet->l3 >= packet->data_len)
		return IPQ_REWRITE_VERSION;
	before = version_before(packet);
	version = packet->data[packet->l3] >> 4;
	if ((version != 4 && version != 6) || (before && version != before))
		return IPQ_REWRITE_VERSION;
	return packet->ip_version ? IPQ_REWRITE_OK : IPQ_REWRITE_HEADER;
}

/* Whether the transport checksum is not there yet: the network card or the segmentation would have
 * computed it, and neither does after a rewrite. */
static bool is_unready(const struct ipq_packet *packet)
{
	return packet->present & IPQ_HAS_SKB_INFO &&
	       packet->skb_info & (IPQ_SKB_CSUMNOTREADY | IPQ_SKB_GSO);
}

/* Whether the transport's checksum has to follow what changed. That of a fragment does not only
 * because the IP header was made anew. */
static bool transport_follows(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	if (t->sum == IPQ_SUM_NONE)
		return false;
	if (packet->dirty & IPQ_DIRTY_TRANSPORT || is_unready(packet))
		return true;
	return packet->dirty & IPQ_DIRTY_ALL && packet->fragment == IPQ_FRAGMENT_NONE;
}

/* RFC 768: UDP's 0 is none. */
static bool has_no_sum(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	return packet->protocol == IPPROTO_UDP && ipq_load16(packet->data + t->field) == 0;
}

/* Whether the checksum can follow although a part of what it covers is elsewhere: it has to be
 * here, and to be told by what has changed alone. */
static bool follows_in_fragment(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	return packet->fragment == IPQ_FRAGMENT_FIRST && !(packet->dirty & IPQ_DIRTY_ALL) &&
	       !is_unready(packet) && t->field && t->sum != IPQ_SUM_CRC32C &&
	       !(packet->ip_version == 6 && has_no_sum(packet, t));
}

/* Without fragments: a first one tells the length of the whole. */
static void transport_length(struct ipq_packet *packet)
{
	uint8_t *p = packet->data + packet->l4;
	uint32_t len = (uint32_t)packet->end - packet->l4;

	/* Coverage is the sender's choice; where it went lost with the bytes, it is all. */
	if (packet->protocol == IPPROTO_UDP)
		ipq_store16(p + 4, len);
	else if (packet->protocol == IPPROTO_UDPLITE && ipq_load16(p + 4) > len)
		ipq_store16(p + 4, 0);
	else if (packet->protocol == IPPROTO_DCCP &&
		 ((p[5] & 15) - 1) * 4 > packet->end - packet->body)
		p[5] &= 0xf0;
}

static void ip_length(struct ipq_packet *packet)
{
	uint8_t *p = packet->data + packet->l3;
	uint32_t len = packet->data_len - packet->l3;

	if (packet->ip_version == 4)
		ipq_store16(p + 2, len);
	else
		ipq_store16(p + 4, len - 40);
}

/* In full: 20 bytes cost no more than keeping account of changes. */
static void ipv4_checksum(struct ipq_packet *packet)
{
	uint8_t *p = packet->data + packet->l3;
	uint16_t checksum;

	ipq_store16(p + 10, 0);
	checksum = ipq_checksum_fold(ipq_checksum_add(0, p, (size_t)(p[0] & 15) * 4));
	memcpy(p + 10, &checksum, sizeof(checksum));
}

static uint32_t pseudo_sum(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	const uint8_t *p = packet->data;
	const uint8_t *destination = p + t->source + t->address_len;
	uint32_t sum = ipq_checksum_pseudo(p + packet->l3, packet->protocol, t->len);
	uint16_t minus;

	if (p + t->destination == destination)
		return sum;
	/* A routing header has the final destination: that one in, the header's out. */
	sum = ipq_checksum_add(sum, p + t->destination, t->address_len);
	minus = ipq_checksum_fold(ipq_checksum_add(0, destination, t->address_len));
	return ipq_checksum_add(sum, &minus, sizeof(minus));
}

static uint16_t full_sum(struct ipq_packet *packet, const struct ipq_transport *t)
{
	uint8_t *p = packet->data;
	uint32_t sum = t->sum == IPQ_SUM_PSEUDO ? pseudo_sum(packet, t) : 0;

	ipq_store16(p + t->field, 0);
	return ipq_checksum_fold(
		ipq_checksum_add(sum, p + t->start, (size_t)(t->covered - t->start)));
}

static void crc_store(struct ipq_packet *packet, const struct ipq_transport *t)
{
	uint8_t *p = packet->data;
	uint32_t crc = 0;

	memcpy(p + t->field, &crc, sizeof(crc));
	crc = htole32(ipq_crc32c(p + t->start, (size_t)(t->covered - t->start)));
	memcpy(p + t->field, &crc, sizeof(crc));
}

/* RFC 1624, equation 3. Two sums are 0 in one's complement; that of a packet is 0xffff, as only
 * zeros sum to the other. */
static uint16_t next_sum(uint16_t checksum, uint32_t delta)
{
	uint16_t next = ipq_checksum_fold((uint32_t)(uint16_t)~checksum + delta);

	return next == 0xffff ? 0 : next;
}

static void transport_checksum(struct ipq_packet *packet, const struct ipq_transport *t)
{
	bool full = packet->dirty & IPQ_DIRTY_ALL || is_unready(packet) || has_no_sum(packet, t);
	uint8_t *field = packet->data + t->field;
	uint16_t checksum;

	if (t->sum == IPQ_SUM_CRC32C) {
		crc_store(packet, t);
		return;
	}
	/* RFC 8200 section 8.1: IPv6 has to have one. */
	if (has_no_sum(packet, t) && packet->ip_version == 4)
		return;
	memcpy(&checksum, field, sizeof(checksum));
	if (full)
		checksum = full_sum(packet, t);
	else
		checksum = next_sum(checksum, packet->l4_delta);
	/* ICMP has no pseudo-header, so it may be all zeros, of which the sum does not tell. One
	 * that was wrong and has come to 0 stays so. */
	if (!full && checksum == 0 && t->sum == IPQ_SUM_PLAIN && full_sum(packet, t) == 0xffff)
		checksum = 0xffff;
	if (checksum == 0 &&
	    (packet->protocol == IPPROTO_UDP || packet->protocol == IPPROTO_UDPLITE))
		checksum = 0xffff;
	memcpy(field, &checksum, sizeof(checksum));
}

int ipq_rewrite_finish(struct ipq_packet *packet)
{
	struct ipq_transport t;
	bool follows;
	int ret;

	if (!packet->dirty)
		return IPQ_REWRITE_OK;
	ret = ip_check(packet);
	if (ret < 0)
		return ret;
	ipq_transport_find(packet, &t);
	follows = transport_follows(packet, &t);
	if (follows && packet->fragment && !follows_in_fragment(packet, &t))
		return IPQ_REWRITE_FRAGMENT;
	if (follows && !(t.field && t.covered))
		return IPQ_REWRITE_HEADER;
	/* Nothing is refused from here on. */
	if (packet->dirty & IPQ_DIRTY_ALL)
		ip_length(packet);
	if (packet->ip_version == 4)
		ipv4_checksum(packet);
	if (follows && packet->dirty & IPQ_DIRTY_ALL) {
		transport_length(packet);
		ipq_transport_find(packet, &t);
	}
	if (follows)
		transport_checksum(packet, &t);
	packet->dirty = 0;
	return IPQ_REWRITE_OK;
}
