/* Packets inside of a packet as a filter looks into them, and changes them: what an ICMP error quotes, what
 * a tunnel carries. */
#include "inside.h"
#include "checksum.h"
#include "cut.h"
#include "inner.h"
#include "packet.h"
#include "transport.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>

enum {
	PART_LEAST = 8,	   /* bytes of a transport's header that RFC 792 has quoted */
	QUOTE_LEAST = 128, /* bytes that RFC 4884 has quoted where it tells their length */
	IPV4_SUM = 10	   /* the checksum's offset */
};

/* Bytes of the packet that an ICMP error quotes, by its length field where it has one that can be; 0
 * where it quotes none. (RFC 4884 sections 4 and 5) */
static uint32_t quote_len(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->data + packet->l4;
	uint32_t left = (uint32_t)packet->end - packet->body, said = 0;

	if (packet->ip_version == 4 && packet->protocol == IPPROTO_ICMP) {
		switch (p[0]) {
		case ICMP_DEST_UNREACH:
		case ICMP_TIME_EXCEEDED:
		case ICMP_PARAMETERPROB: said = p[5] * 4U; break;
		case ICMP_SOURCE_QUENCH:
		case ICMP_REDIRECT: break;
		default: return 0;
		}
	} else if (packet->ip_version == 6 && packet->protocol == IPPROTO_ICMPV6) {
		switch (p[0]) {
		case ICMP6_DST_UNREACH:
		case ICMP6_TIME_EXCEEDED: said = p[4] * 8U; break;
		case ICMP6_PACKET_TOO_BIG:
		case ICMP6_PARAM_PROB: break;
		default: return 0;
		}
	} else {
		return 0;
	}
	return said >= QUOTE_LEAST && said < left ? said : left;
}

/* Makes inner the packet that this one quotes; false where it quotes none. */
static bool quote_view(struct ipq_packet *inner, const struct ipq_packet *packet)
{
	uint32_t len, total;

	if (!packet->l4)
		return false;
	len = quote_len(packet);
	if (len == 0)
		return false;
	total = ipq_header_total(packet->data + packet->body, len);
	*inner = (struct ipq_packet){
		.data = packet->data + packet->body,
		.data_len = len,
		.len = total > len ? total : len,
		.cut = IPQ_CUT_QUOTE,
	};
	ipq_header_parse(inner);
	return inner->ip_version == packet->ip_version;
}

/* Has the beginning of a transport header count, of which the quote ends before it does. */
static void part_take(struct ipq_packet *inner)
{
	uint8_t protocol = inner->protocol;

	if (inner->l4 || inner->malformed != IPQ_MALFORMED_QUOTE ||
	    inner->fragment == IPQ_FRAGMENT_LATER ||
	    (protocol != IPPROTO_TCP && protocol != IPPROTO_SCTP && protocol != IPPROTO_DCCP) ||
	    inner->end - inner->upper < PART_LEAST)
		return;
	inner->l4 = inner->upper;
	inner->body = inner->end;
	inner->part = 1;
}

/* Makes inner the packet inside of this one; false where there is none. */
static bool step(struct ipq_packet *inner, struct ipq_packet *packet)
{
	uint32_t at = packet->body;

	if (!quote_view(inner, packet)) {
		at = ipq_inner_known(packet);
		if (at == 0 || !ipq_inner_view(inner, packet, at))
			return false;
	}
	part_take(inner);
	inner->at = (uint16_t)(packet->at + at);
	inner->depth = (uint8_t)(packet->depth + 1);
	inner->own = packet->own;
	inner->outer = packet;
	return true;
}

uint32_t ipq_inside_quoted(const struct ipq_packet *packet)
{
	struct ipq_packet inner;

	if (packet->depth == IPQ_INSIDE_MAX || !quote_view(&inner, packet))
		return 0;
	return (uint32_t)packet->at + packet->body;
}

uint32_t ipq_inside_carried(const struct ipq_packet *packet)
{
	uint32_t at = packet->depth == IPQ_INSIDE_MAX ? 0 : ipq_inner_known(packet);

	return at ? packet->at + at : 0;
}

struct ipq_packet *ipq_inside_around(struct ipq_inside *inside, struct ipq_packet *packet,
				     uint32_t offset)
{
	struct ipq_packet *last = packet;

	if (!packet->parsed)
		ipq_header_parse(packet);
	for (uint32_t depth = 0; depth < IPQ_INSIDE_MAX; depth++) {
		struct ipq_packet *inner = &inside->levels[depth];

		if (!step(inner, last) || inner->at >= offset)
			break;
		last = inner;
	}
	return last == packet ? NULL : last;
}

struct ipq_packet *ipq_inside_open(struct ipq_inside *inside, struct ipq_packet *packet,
				   uint32_t at)
{
	struct ipq_packet *last = ipq_inside_around(inside, packet, at + 1);

	return last && last->at == at ? last : NULL;
}

/* Whether the change is one of lengths, or of where headers are. Checksums are among what
 * ipq_transport_moves() looks at: it is asked for what lies between them. */
static bool moves(const struct ipq_packet *packet, const struct ipq_transport *t,
		  const struct ipq_change *change)
{
	const uint32_t size = t->sum == IPQ_SUM_CRC32C ? 4 : 2;
	const uint32_t gaps[][2] = {{packet->ip_version == 4 ? IPV4_SUM : 0, 2}, {t->field, size}};
	const uint32_t stop = packet->l4 ? packet->body : packet->upper;
	uint32_t at = change->at, end = change->at + change->len;

	if (end > stop)
		end = stop;
	for (size_t i = 0; i < 2 && at < end; i++) {
		const uint32_t gap = gaps[i][0];
		const uint32_t until = gap < end ? gap : end;

		if (gap == 0)
			continue;
		if (at < until &&
		    ipq_transport_moves(packet, at, change->bytes + (at - change->at), until - at))
			return true;
		if (at < gap + gaps[i][1] && end > gap)
			at = gap + gaps[i][1];
	}
	return at < end &&
	       ipq_transport_moves(packet, at, change->bytes + (at - change->at), end - at);
}

/* Stores them in the packet around this one, whose checksums follow. */
static int pass(struct ipq_packet *packet, uint32_t offset, const uint8_t *bytes, uint32_t len)
{
	struct ipq_packet *outer = packet->outer;

	return ipq_rewrite_store(outer, (uint32_t)packet->at - outer->at + offset, bytes, len);
}

static int pass_sum(struct ipq_packet *packet, uint32_t field, uint16_t checksum)
{
	return pass(packet, field, (const uint8_t *)&checksum, sizeof(checksum));
}

/* Whether checksums are to follow at all. */
static bool is_fixed(const struct ipq_packet *packet)
{
	while (packet->outer)
		packet = packet->outer;
	return packet->fix != 0;
}

/* What the sum of what the transport's checksum covers grows by. */
static uint16_t transport_delta(const struct ipq_transport *t, const struct ipq_change *change)
{
	uint16_t delta = ipq_change_delta(change, t->start, t->covered);

	if (t->sum != IPQ_SUM_PSEUDO)
		return delta;
	delta = ipq_checksum_plus(
		delta, ipq_change_delta(change, t->source, t->source + (uint32_t)t->address_len));
	return ipq_checksum_plus(delta,
				 ipq_change_delta(change, t->destination,
						  t->destination + (uint32_t)t->address_len));
}

/* Whether the transport's checksum follows the change. UDP's 0 is none, and SCTP's is nobody's yet, or
 * none (RFC 9653). */
static bool transport_follows(const struct ipq_packet *packet, const struct ipq_transport *t,
			      const struct ipq_change *change)
{
	static const uint8_t none[4];
	const uint32_t size = t->sum == IPQ_SUM_CRC32C ? 4 : 2;
	bool is_none;

	if (!t->field || !t->covered || ipq_change_touches(change, t->field, t->field + size))
		return false;
	is_none = memcmp(packet->data + t->field, none, size) == 0;
	if (t->sum == IPQ_SUM_CRC32C)
		return !is_none && !ipq_cut_off(packet) && packet->fragment == IPQ_FRAGMENT_NONE &&
		       ipq_change_touches(change, t->start, t->covered);
	return !(is_none && packet->protocol == IPPROTO_UDP) && transport_delta(t, change) != 0;
}

/* Stores the bytes, and has the transport's checksum follow. */
static int transport_store(struct ipq_packet *packet, const struct ipq_transport *t,
			   const struct ipq_change *change)
{
	uint16_t delta = transport_delta(t, change);
	uint32_t crc = 0;
	int ret;

	if (t->sum == IPQ_SUM_CRC32C) {
		memcpy(&crc, packet->data + t->field, sizeof(crc));
		crc ^= ipq_transport_sum(packet, t); /* by what it is wrong */
	}
	ret = pass(packet, change->at, change->bytes, change->len);
	if (ret < 0)
		return ret;
	if (t->sum != IPQ_SUM_CRC32C)
		return pass_sum(packet, t->field, ipq_transport_next(packet, t, delta));
	crc ^= ipq_transport_sum(packet, t);
	return pass(packet, t->field, (const uint8_t *)&crc, sizeof(crc));
}

/* Stores the bytes, with which this packet's checksums change, and all of that in the packets around
 * it. */
static int follow(struct ipq_packet *packet, const struct ipq_change *change)
{
	struct ipq_transport t;
	uint16_t delta = 0, checksum;
	int ret;

	if (!is_fixed(packet))
		return pass(packet, change->at, change->bytes, change->len);
	ipq_transport_find(packet, &t);
	if (packet->ip_version == 4 && !ipq_change_touches(change, IPV4_SUM, IPV4_SUM + 2))
		delta = ipq_change_delta(change, 0, packet->upper);
	if (transport_follows(packet, &t, change))
		ret = transport_store(packet, &t, change);
	else
		ret = pass(packet, change->at, change->bytes, change->len);
	if (ret < 0 || delta == 0)
		return ret;
	memcpy(&checksum, packet->data + IPV4_SUM, sizeof(checksum));
	return pass_sum(packet, IPV4_SUM, ipq_checksum_next(checksum, delta));
}

int ipq_inside_store(struct ipq_packet *packet, uint32_t offset, const uint8_t *bytes, uint32_t len)
{
	const struct ipq_change change = {packet->data, offset, bytes, len};
	struct ipq_transport t;

	ipq_transport_find(packet, &t);
	return moves(packet, &t, &change) ? IPQ_REWRITE_INSIDE : follow(packet, &change);
}
