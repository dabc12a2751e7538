/* What tells the sender of a packet, or both its ends, that it was not let through. */
#include "checksum.h"
#include "cut.h"
#include "make.h"
#include "packet.h"
#include "lib/bytes.h"
#include "lib/ports.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <string.h>

enum {
	ICMP_HEADER = 8,
	MOST_4 = 576,	 /* bytes that an error has: RFC 1812 section 4.3.2.3 */
	MOST_6 = 1280,	 /* RFC 4443 section 2.4 (c) */
	TOS_ERROR = 0xc0 /* internetwork control: RFC 1812 section 4.3.2.5 */
};

/* The packet with its layout, of which nothing but its headers is looked at. */
static const struct ipq_packet *parsed(const struct ipq_packet *from, struct ipq_packet *room)
{
	if (from->parsed)
		return from;
	*room = *from;
	ipq_header_parse(room);
	return room;
}

/* Whether enough of the headers is there to know what an answer is to. */
static bool is_readable(const struct ipq_packet *packet)
{
	switch (packet->malformed) {
	case IPQ_MALFORMED_NOT: return packet->ip_version != 0;
	case IPQ_MALFORMED_COPY:
	case IPQ_MALFORMED_CAPTURE:
	case IPQ_MALFORMED_QUOTE: break;
	default: return false;
	}
	if (packet->ip_version == 0)
		return false;
	return packet->ip_version == 4 || !ipq_header_is_extension(packet->protocol);
}

/* Whether a checksum that nobody has verified was wrong when the packet came. What a filter has changed
 * since, and not so that it was looked for, is not known to be wrong. */
static bool is_damaged(const struct ipq_packet *packet)
{
	struct ipq_packet copy;

	if (!(packet->present & IPQ_HAS_SKB_INFO) ||
	    (packet->skb_info & (IPQ_SKB_CSUM_NOTVERIFIED | IPQ_SKB_CSUMNOTREADY | IPQ_SKB_GSO)) !=
		    IPQ_SKB_CSUM_NOTVERIFIED)
		return false;
	if (packet->dirty)
		return packet->dirty & IPQ_DIRTY_NOTED && packet->l4_wrong;
	if (packet->set & IPQ_SET_PAYLOAD)
		return false;
	copy = *packet;
	return ipq_sums_wrong(&copy) != 0;
}

/* A packet that is to be answered by a segment of TCP or an ICMP error. */
static int rules_check(const struct ipq_packet *packet, const struct ipq_ends *ends)
{
	if (packet->fragment == IPQ_FRAGMENT_LATER || ipq_make_is_for_many(packet, ends) ||
	    is_damaged(packet))
		return -IPQ_UNSENT_RULE;
	return 0;
}

static bool has_tcp(const struct ipq_packet *packet)
{
	return packet->protocol == IPPROTO_TCP && packet->l4 && !packet->part;
}

static int reset_make(const struct ipq_ends *ends, const struct ipq_segment *segment,
		      uint8_t *bytes, uint32_t size)
{
	uint32_t header = ipq_make_ip_len(ends), len = header + IPQ_MAKE_TCP;

	if (len > size)
		return -IPQ_UNSENT_ROOM;
	ipq_make_ip(bytes, ends, IPQ_MAKE_TCP, 0, true);
	ipq_make_tcp(bytes + header, ends, segment);
	ipq_make_sums(bytes, len);
	return (int)len;
}

/* RFC 9293 section 3.10.7.1: it goes on where the packet says that the receiver is, or acknowledges all
 * of the packet. */
static int answer_reset(const struct ipq_packet *packet, struct ipq_ends *ends, uint8_t *bytes,
			uint32_t size)
{
	const uint8_t *tcp = packet->data + packet->l4;
	struct ipq_segment segment = {.flags = TH_RST};
	uint8_t flags;

	if (!has_tcp(packet))
		return -IPQ_UNSENT_RULE;
	flags = tcp[13];
	if (flags & TH_RST)
		return -IPQ_UNSENT_RULE;
	if (flags & TH_ACK) {
		segment.seq = ipq_load32(tcp + 8);
	} else {
		segment.flags |= TH_ACK;
		segment.ack = ipq_load32(tcp + 4) + ipq_make_payload(packet) + !!(flags & TH_SYN) +
			      !!(flags & TH_FIN);
	}
	ipq_make_turn(ends);
	return reset_make(ends, &segment, bytes, size);
}

int ipq_packet_reset(const struct ipq_packet *from, const struct ipq_tuple *known, uint8_t *bytes,
		     uint32_t size)
{
	struct ipq_packet room;
	const struct ipq_packet *packet = parsed(from, &room);
	struct ipq_segment segment = {.flags = TH_RST};
	struct ipq_ends ends;
	const uint8_t *tcp;
	int ret;

	if (!is_readable(packet))
		return -IPQ_UNSENT_MALFORMED;
	ipq_make_ends(packet, known, &ends);
	ret = rules_check(packet, &ends);
	if (ret < 0)
		return ret;
	tcp = packet->data + packet->l4;
	if (!has_tcp(packet) || tcp[13] & TH_RST)
		return -IPQ_UNSENT_RULE;
	segment.seq = ipq_load32(tcp + 4);
	if (tcp[13] & TH_ACK) {
		segment.flags |= TH_ACK;
		segment.ack = ipq_load32(tcp + 8);
	}
	return reset_make(&ends, &segment, bytes, size);
}

/* Whether an ICMP error may answer the ICMP message. Of IPv4's the kernel knows these to be no errors
 * (icmp_pointers in net/ipv4/icmp.c); of IPv6's the upper half is informational (RFC 4443 section
 * 2.1), a redirect among it. */
static int icmp_check(const struct ipq_packet *packet)
{
	bool is_6 = packet->ip_version == 6;

	if (packet->protocol != (is_6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return 0;
	if (!packet->l4)
		return -IPQ_UNSENT_MALFORMED;
	if (is_6 && packet->data[packet->l4] & 0x80)
		return packet->data[packet->l4] == ND_REDIRECT ? -IPQ_UNSENT_RULE : 0;
	switch (is_6 ? ICMP_DEST_UNREACH : packet->data[packet->l4]) {
	case ICMP_ECHOREPLY:
	case ICMP_ECHO:
	case ICMP_TIMESTAMP:
	case ICMP_TIMESTAMPREPLY:
	case ICMP_INFO_REQUEST:
	case ICMP_INFO_REPLY:
	case ICMP_ADDRESS:
	case ICMP_ADDRESSREPLY: return 0;
	default: return -IPQ_UNSENT_RULE;
	}
}

/* The code of "destination unreachable". (RFC 792, RFC 1812 section 5.2.7.1; RFC 4443 section 3.1) */
static int code_of(enum ipq_reject kind, bool is_6)
{
	switch (kind) {
	case IPQ_REJECT_DEFAULT:
	case IPQ_REJECT_PORT_UNREACHABLE:
		return is_6 ? ICMP6_DST_UNREACH_NOPORT : ICMP_PORT_UNREACH;
	case IPQ_REJECT_HOST_UNREACHABLE: return is_6 ? ICMP6_DST_UNREACH_ADDR : ICMP_HOST_UNREACH;
	case IPQ_REJECT_NET_UNREACHABLE:
	case IPQ_REJECT_NO_ROUTE: return is_6 ? ICMP6_DST_UNREACH_NOROUTE : ICMP_NET_UNREACH;
	case IPQ_REJECT_ADMIN_PROHIBITED: return is_6 ? ICMP6_DST_UNREACH_ADMIN : ICMP_PKT_FILTERED;
	default: return -IPQ_UNSENT_RULE;
	}
}

/* Has the quote, len bytes at bytes, show the ends that the packet's sender knows. Its checksums follow as
 * far as they are there. */
static void quote_follow(const struct ipq_packet *packet, const struct ipq_ends *ends,
			 uint8_t *bytes, uint32_t len)
{
	bool is_unready = packet->skb_info & (IPQ_SKB_CSUMNOTREADY | IPQ_SKB_GSO);
	struct ipq_packet quote = {
		.data = bytes,
		.data_len = len,
		.len = (ipq_cut_off(packet) ? packet->len : packet->end) - (uint32_t)packet->l3,
		.cut = IPQ_CUT_QUOTE,
		.present = packet->present & IPQ_HAS_SKB_INFO,
		.skb_info = is_unready ? IPQ_SKB_CSUMNOTREADY : 0,
	};
	uint32_t is_6 = ends->ip_version == 6, source = is_6 ? 8 : 12, size = is_6 ? 16 : 4;
	uint8_t ports[4];

	ipq_header_parse(&quote);
	(void)ipq_rewrite_store(&quote, source, ends->source, size);
	(void)ipq_rewrite_store(&quote, source + size, ends->destination, size);
	if (ipq_has_ports(ends->protocol)) {
		ipq_store16(ports, ends->sport);
		ipq_store16(ports + 2, ends->dport);
		(void)ipq_rewrite_store(&quote, quote.upper, ports, sizeof(ports));
	}
	if (ipq_rewrite_finish(&quote) < 0 && !is_6)
		ipq_checksum_ipv4(bytes);
}

static int error_make(const struct ipq_packet *packet, const struct ipq_ends *ends, int code,
		      bool is_known, bool is_receiver, uint8_t *bytes, uint32_t size)
{
	static const uint8_t nobody[16];
	bool is_6 = ends->ip_version == 6;
	struct ipq_ends error = {
		.ip_version = ends->ip_version,
		.protocol = is_6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
		.source = is_receiver ? ends->destination : nobody,
		.destination = ends->source,
	};
	uint32_t header = ipq_make_ip_len(&error) + ICMP_HEADER;
	uint32_t quoted = (uint32_t)packet->end - packet->l3;
	uint32_t most = (is_6 ? MOST_6 : MOST_4) - header;
	uint8_t *icmp = bytes + header - ICMP_HEADER;

	if (quoted > most)
		quoted = most;
	if (header + quoted > size)
		return -IPQ_UNSENT_ROOM;
	ipq_make_ip(bytes, &error, ICMP_HEADER + quoted, is_6 ? 0 : TOS_ERROR, false);
	memset(icmp, 0, ICMP_HEADER);
	icmp[0] = is_6 ? ICMP6_DST_UNREACH : ICMP_DEST_UNREACH;
	icmp[1] = (uint8_t)code;
	memcpy(bytes + header, packet->data + packet->l3, quoted);
	if (is_known)
		quote_follow(packet, ends, bytes + header, quoted);
	else if (packet->dirty && !is_6)
		ipq_checksum_ipv4(bytes + header);
	ipq_make_sums(bytes, header + quoted);
	return (int)(header + quoted);
}

int ipq_packet_reject(const struct ipq_packet *from, enum ipq_reject kind,
		      const struct ipq_tuple *known, bool is_receiver, uint8_t *bytes,
		      uint32_t size)
{
	struct ipq_packet room;
	const struct ipq_packet *packet = parsed(from, &room);
	struct ipq_ends ends;
	int code, ret;

	if (!is_readable(packet))
		return -IPQ_UNSENT_MALFORMED;
	ipq_make_ends(packet, known, &ends);
	ret = rules_check(packet, &ends);
	if (ret < 0)
		return ret;
	if (kind == IPQ_REJECT_TCP_RESET ||
	    (kind == IPQ_REJECT_DEFAULT && packet->protocol == IPPROTO_TCP))
		return answer_reset(packet, &ends, bytes, size);
	ret = icmp_check(packet);
	if (ret < 0)
		return ret;
	code = code_of(kind, packet->ip_version == 6);
	if (code < 0)
		return code;
	return error_make(packet, &ends, code, ipq_make_is_known(packet, known), is_receiver, bytes,
			  size);
}
