/* A changed packet's lengths and checksums. */
#include "checksum.h"
#include "cut.h"
#include "inner.h"
#include "packet.h"
#include "transport.h"
#include "lib/bytes.h"

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

/* Of packets that are cut off only a capture's can be changed, in their place. */
static int cut_check(const struct ipq_packet *packet)
{
	if (!ipq_cut_by_capture(packet))
		return packet->cut == IPQ_CUT_MOST ? IPQ_REWRITE_MOST : IPQ_REWRITE_TRUNCATED;
	return packet->dirty & IPQ_DIRTY_ALL || packet->unready ? IPQ_REWRITE_CUT : IPQ_REWRITE_OK;
}

static int ip_check(struct ipq_packet *packet)
{
	uint8_t before, version;
	int ret;

	if (ipq_cut_off(packet)) {
		ret = cut_check(packet);
		if (ret < 0)
			return ret;
	}
	if (packet->data_len > IPQ_PAYLOAD_MAX)
		return IPQ_REWRITE_TOO_LONG;
	if (!packet->parsed)
		ipq_header_parse(packet);
	if (ipq_header_is_arp(packet)) {
		packet->dirty = 0; /* nothing has to follow */
		return IPQ_REWRITE_OK;
	}
	if (packet->l3 >= packet->data_len)
		return IPQ_REWRITE_VERSION;
	before = version_before(packet);
	version = packet->data[packet->l3] >> 4;
	if ((version != 4 && version != 6) || (before && version != before))
		return IPQ_REWRITE_VERSION;
	return packet->ip_version ? IPQ_REWRITE_OK : IPQ_REWRITE_HEADER;
}

/* Whether the transport's checksum has to follow what changed. That of a fragment does not only
 * because the IP header was made anew; and one that a capture has cut off is nowhere. */
static bool transport_follows(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	if (t->sum == IPQ_SUM_NONE)
		return false;
	if (!t->field && ipq_cut_by_capture(packet) && packet->fragment != IPQ_FRAGMENT_LATER)
		return false;
	if (packet->dirty & IPQ_DIRTY_TRANSPORT || packet->unready)
		return true;
	return packet->dirty & IPQ_DIRTY_ALL && packet->fragment == IPQ_FRAGMENT_NONE;
}

/* RFC 768: UDP's 0 is none. */
static bool has_no_sum(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	return packet->protocol == IPPROTO_UDP && ipq_load16(packet->data + t->field) == 0;
}

/* Whether it may go without: over IPv4, and as a tunnel's (RFC 6935). RFC 8200 section 8.1: other
 * packets over IPv6 have to have one. */
static bool may_have_no_sum(const struct ipq_packet *packet)
{
	return packet->ip_version == 4 || packet->unready == IPQ_UNREADY_INNER;
}

/* Whether the checksum can follow although a part of what it covers is in other fragments, or was not
 * captured: it has to be here, and to be told by what has changed alone. */
static bool follows_in_part(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	return packet->fragment != IPQ_FRAGMENT_LATER && !(packet->dirty & IPQ_DIRTY_ALL) &&
	       !packet->unready && t->field && t->sum != IPQ_SUM_CRC32C &&
	       !(packet->ip_version == 6 && has_no_sum(packet, t));
}

/* Whether UDP's length is still the one that it came with, which ended before the packet did; at most
 * len bytes are left for it. */
static bool keeps_udp_length(const struct ipq_packet *packet, uint32_t len)
{
	return packet->udp_len && packet->udp_len <= len &&
	       ipq_load16(packet->data + packet->l4 + 4) == packet->udp_len;
}

/* Without fragments: a first one tells the length of the whole. */
static void transport_length(struct ipq_packet *packet)
{
	uint8_t *p = packet->data + packet->l4;
	uint32_t len = (uint32_t)packet->end - packet->l4;

	/* Coverage is the sender's choice; where it went lost with the bytes, it is all. */
	if (packet->protocol == IPPROTO_UDP && keeps_udp_length(packet, len))
		return;
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

/* What the packet's checksum was wrong by when it came it stays wrong by. */
static void crc_store(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	uint32_t crc = ipq_transport_sum(packet, t) ^ packet->l4_wrong;

	memcpy(packet->data + t->field, &crc, sizeof(crc));
}

static void sum_store(const struct ipq_packet *packet, const struct ipq_transport *t,
		      uint16_t checksum)
{
	checksum = ipq_transport_stored(packet, checksum);
	memcpy(packet->data + t->field, &checksum, sizeof(checksum));
}

static void full_store(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	uint16_t checksum = (uint16_t)ipq_transport_sum(packet, t);
	uint16_t wrong = (uint16_t)~ipq_checksum_fold(packet->l4_wrong);

	sum_store(packet, t, wrong ? ipq_checksum_plus(checksum, wrong) : checksum);
}

/* Whether segmentation will make each segment's checksum of what the field holds: the sum of the
 * pseudo-header (udp4_ufo_fragment() and skb_udp_tunnel_segment() in net/ipv4/udp_offload.c). It
 * makes TCP's anew. */
static bool is_segmented(const struct ipq_packet *packet, uint8_t protocol)
{
	return packet->unready && packet->skb_info & IPQ_SKB_GSO && protocol == IPPROTO_UDP;
}

static void transport_checksum(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	if (t->sum == IPQ_SUM_CRC32C)
		crc_store(packet, t);
	else if (has_no_sum(packet, t) && may_have_no_sum(packet))
		return;
	else if (is_segmented(packet, packet->protocol) && packet->hook != NF_INET_LOCAL_IN)
		sum_store(packet, t, ipq_transport_pseudo(packet, t));
	else if (packet->dirty & IPQ_DIRTY_ALL || packet->unready || has_no_sum(packet, t))
		full_store(packet, t);
	else
		sum_store(packet, t, ipq_transport_next(packet, t, packet->l4_delta));
}

/* The checksum that others were to finish in a packet inside. */
static void inner_checksum(const struct ipq_packet *packet, const struct ipq_packet *inner)
{
	struct ipq_transport t;

	ipq_transport_find(inner, &t);
	if (t.sum == IPQ_SUM_CRC32C)
		crc_store(inner, &t);
	else if (is_segmented(packet, inner->protocol))
		sum_store(inner, &t, ipq_transport_pseudo(inner, &t));
	else
		full_store(inner, &t);
}

/* Whether the packet inside is still there whose checksum has to be finished. */
static int inner_check(const struct ipq_packet *packet, struct ipq_packet *inner)
{
	struct ipq_transport t;

	if (packet->unready == IPQ_UNREADY_UNKNOWN || !ipq_inner_view(inner, packet, packet->inner))
		return IPQ_REWRITE_INNER;
	ipq_transport_find(inner, &t);
	return t.field && t.covered ? IPQ_REWRITE_OK : IPQ_REWRITE_INNER;
}

/*
 * Whether segmentation, which goes by what the kernel keeps beside the bytes, makes of the changed
 * packet what its receiver takes. Of UDP on its way to a socket here it does not: the socket's own
 * check meets checksums of the whole packet's length. In PREROUTING nobody knows where it goes.
 * The pieces of an SCTP packet are lost with the change.
 */
static int segments_check(const struct ipq_packet *packet, const struct ipq_transport *t,
			  const struct ipq_packet *inner)
{
	const struct ipq_packet *last = inner ? inner : packet;

	if (!packet->unready || !(packet->skb_info & IPQ_SKB_GSO))
		return IPQ_REWRITE_OK;
	if (last->protocol == IPPROTO_SCTP)
		return IPQ_REWRITE_GSO;
	if (packet->hook == NF_INET_PRE_ROUTING &&
	    (last->protocol == IPPROTO_UDP ||
	     (packet->protocol == IPPROTO_UDP && t->field && !has_no_sum(packet, t))))
		return IPQ_REWRITE_GSO;
	return packet->hook == NF_INET_LOCAL_IN && last->protocol == IPPROTO_UDP ? IPQ_REWRITE_GSO
										 : IPQ_REWRITE_OK;
}

/* Why the packet's checksums cannot be made right. inner is set where there is one whose checksum
 * is. */
static int checksum_check(const struct ipq_packet *packet, const struct ipq_transport *t,
			  struct ipq_packet *inner)
{
	bool has_inner = packet->unready == IPQ_UNREADY_INNER;
	int ret = IPQ_REWRITE_OK;

	if (transport_follows(packet, t)) {
		if (packet->fragment && !follows_in_part(packet, t))
			return IPQ_REWRITE_FRAGMENT;
		if (ipq_cut_off(packet) && !follows_in_part(packet, t))
			return IPQ_REWRITE_CUT;
		if (!(t->field && t->covered))
			return IPQ_REWRITE_HEADER;
	}
	if (packet->unready > IPQ_UNREADY_OWN)
		ret = inner_check(packet, inner);
	return ret < 0 ? ret : segments_check(packet, t, has_inner ? inner : NULL);
}

int ipq_rewrite_finish(struct ipq_packet *packet)
{
	struct ipq_packet inner;
	struct ipq_transport t;
	bool follows;
	int ret;

	if (!packet->dirty)
		return IPQ_REWRITE_OK;
	ret = ip_check(packet);
	if (ret < 0 || !packet->dirty)
		return ret;
	ipq_transport_find(packet, &t);
	ret = checksum_check(packet, &t, &inner);
	if (ret < 0)
		return ret;
	/* Nothing is refused from here on. */
	follows = transport_follows(packet, &t);
	if (packet->dirty & IPQ_DIRTY_ALL)
		ip_length(packet);
	if (packet->ip_version == 4)
		ipq_checksum_ipv4(packet->data + packet->l3);
	if (follows && packet->dirty & IPQ_DIRTY_ALL) {
		transport_length(packet);
		ipq_transport_find(packet, &t);
	}
	/* Within what the packet's own covers. */
	if (packet->unready == IPQ_UNREADY_INNER)
		inner_checksum(packet, &inner);
	if (follows)
		transport_checksum(packet, &t);
	packet->dirty = 0;
	return IPQ_REWRITE_OK;
}
