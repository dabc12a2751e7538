/* Where a transport keeps its checksum, and what that covers. */
#include "transport.h"
#include "checksum.h"
#include "cut.h"
#include "packet.h"
#include "lib/bytes.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>

enum { IPV6_HEADER = 40, ADDRESS_4 = 4, ADDRESS_6 = 16, IP6OPT_HOME_ADDRESS = 0xc9 };

static enum ipq_sum sum_of(uint8_t protocol, uint8_t ip_version)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP: return IPQ_SUM_PSEUDO;
	case IPPROTO_ICMP: return ip_version == 4 ? IPQ_SUM_PLAIN : IPQ_SUM_NONE;
	case IPPROTO_ICMPV6: return ip_version == 6 ? IPQ_SUM_PSEUDO : IPQ_SUM_NONE;
	case IPPROTO_SCTP: return IPQ_SUM_CRC32C;
	case IPPROTO_GRE: return IPQ_SUM_PLAIN;
	case IPPROTO_MH: return ip_version == 6 ? IPQ_SUM_PSEUDO : IPQ_SUM_NONE;
	/* Extension headers that are cut off, or that later fragments go on from. Behind them comes
	 * nobody knows what. */
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS: return ip_version == 6 ? IPQ_SUM_PSEUDO : IPQ_SUM_NONE;
	default: return IPQ_SUM_NONE;
	}
}

/* Where the final destination is by the routing header at offset at; otherwise where the IP header
 * has it. (RFC 8200 section 8.1) */
static uint16_t routing_destination(const uint8_t *data, uint16_t at, uint16_t otherwise)
{
	uint8_t units = data[at + 1];
	uint8_t segments_left = data[at + 3];

	if (segments_left == 0 || units < 2)
		return otherwise;
	switch (data[at + 2]) {
	case 0: return (uint16_t)(at + 8 + (units / 2 - 1) * ADDRESS_6); /* RFC 2460 section 4.4 */
	case 2:								 /* RFC 6275 section 6.4 */
	case 4: return (uint16_t)(at + 8); /* RFC 8754 section 2: the last segment comes first */
	default: return otherwise;
	}
}

/* Where the home address is in the destination options of len bytes at offset at, which counts in
 * place of the source; otherwise where the IP header has it. (RFC 6275 section 6.3) */
static uint16_t home_address(const uint8_t *data, uint32_t at, uint32_t len, uint16_t otherwise)
{
	const uint32_t end = at + len;

	for (at += 2; at < end; at += len) {
		len = 1;
		if (data[at] != IP6OPT_PAD1 && end - at >= 2)
			len = 2U + data[at + 1];
		if (len > end - at)
			break;
		if (data[at] == IP6OPT_HOME_ADDRESS && len == 2 + ADDRESS_6)
			return (uint16_t)(at + 2);
	}
	return otherwise;
}

/* The first routing header and the first home address count. The chain is all there:
 * ipq_header_parse() went through it to upper. */
static void addresses_find_6(const struct ipq_packet *packet, struct ipq_transport *t)
{
	const uint8_t *p = packet->data;
	const uint16_t source = (uint16_t)(packet->l3 + 8), destination = (uint16_t)(source + 16);
	uint32_t at = (uint32_t)packet->l3 + IPV6_HEADER;
	uint8_t type = p[packet->l3 + 6];
	bool is_routed = false;
	uint32_t len;

	t->source = source;
	t->destination = destination;
	t->address_len = ADDRESS_6;
	for (; at < packet->upper; at += len) {
		len = ipq_header_extension_len(type, p + at);
		if (type == IPPROTO_ROUTING && !is_routed)
			t->destination = routing_destination(p, (uint16_t)at, destination);
		else if (type == IPPROTO_DSTOPTS && t->source == source)
			t->source = home_address(p, at, len, source);
		is_routed = is_routed || type == IPPROTO_ROUTING;
		type = p[at];
	}
}

/* A source route that is not at its end has the final destination last, which is the one that the
 * sender counted. (RFC 791 section 3.1) */
static void addresses_find_4(const struct ipq_packet *packet, struct ipq_transport *t)
{
	const uint8_t *p = packet->data + packet->l3;
	uint32_t end = (p[0] & 15U) * 4, at = 20, len;

	t->source = (uint16_t)(packet->l3 + 12);
	t->destination = (uint16_t)(packet->l3 + 16);
	t->address_len = ADDRESS_4;
	for (; at < end && p[at] != IPOPT_EOL; at += len) {
		len = p[at] == IPOPT_NOP ? 1 : end - at < 2 ? 0 : p[at + 1];
		if (len == 0 || len > end - at || (len == 1 && p[at] != IPOPT_NOP))
			return;
		if ((p[at] != IPOPT_LSRR && p[at] != IPOPT_SSRR) || len < 7)
			continue;
		if (p[at + 2] >= 4 && p[at + 2] <= len - 3)
			t->destination = (uint16_t)(packet->l3 + at + len - ADDRESS_4);
		return;
	}
}

/* UDP's own length; all there is where that field cannot be right. */
static uint16_t udp_end(const struct ipq_packet *packet)
{
	uint16_t len = ipq_load16(packet->data + packet->l4 + 4);

	if (len < 8 || len > packet->end - packet->l4)
		return packet->end;
	return (uint16_t)(packet->l4 + len);
}

/* RFC 3828 section 3.1: 0 is all, 1 to 7 are illegal. */
static uint16_t udplite_end(const struct ipq_packet *packet)
{
	uint16_t coverage = ipq_load16(packet->data + packet->l4 + 4);

	if (coverage == 0 || coverage > packet->end - packet->l4)
		return packet->end;
	return coverage < 8 ? 0 : (uint16_t)(packet->l4 + coverage);
}

/* RFC 4340 section 9.2: 0 is all, 1 the header with its options, each more four bytes of data. */
static uint16_t dccp_end(const struct ipq_packet *packet)
{
	uint16_t coverage = packet->data[packet->l4 + 5] & 15;

	if (coverage == 0 || (coverage - 1) * 4 > packet->end - packet->body)
		return packet->end;
	return (uint16_t)(packet->body + (coverage - 1) * 4);
}

/* Of a header that is cut off: the checksum, where that is there. It covers what is there
 * behind it, all of which is the header's. */
static uint16_t cut_field(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	const uint32_t left = (uint32_t)packet->end - t->start;
	uint16_t field;

	if (!ipq_cut_by_capture(packet) || packet->fragment == IPQ_FRAGMENT_LATER)
		return 0;
	switch (packet->protocol) {
	case IPPROTO_TCP: field = 16; break;
	case IPPROTO_DCCP: field = 6; break;
	case IPPROTO_MH: field = 4; break;
	case IPPROTO_GRE: field = left > 0 && packet->data[t->start] & 0x80 ? 4 : 0; break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: field = 2; break;
	default: field = 0; break; /* it ends its header, or is not known */
	}
	return field && left >= field + sizeof(uint16_t) ? (uint16_t)(t->start + field) : 0;
}

void ipq_transport_find(const struct ipq_packet *packet, struct ipq_transport *t)
{
	uint16_t field;

	t->sum = sum_of(packet->protocol, packet->ip_version);
	t->start = packet->upper;
	t->field = 0;
	t->covered = packet->end;
	t->len = (uint16_t)(packet->end - t->start);
	if (packet->ip_version == 4)
		addresses_find_4(packet, t);
	else
		addresses_find_6(packet, t);
	if (t->sum == IPQ_SUM_NONE)
		return;
	if (packet->l4 == 0 || packet->part) {
		t->field = cut_field(packet, t);
		return;
	}
	switch (packet->protocol) {
	case IPPROTO_TCP: field = 16; break;
	case IPPROTO_UDP:
		field = 6;
		t->covered = udp_end(packet);
		t->len = (uint16_t)(t->covered - t->start);
		break;
	case IPPROTO_UDPLITE:
		field = 6;
		t->covered = udplite_end(packet);
		break;
	case IPPROTO_DCCP:
		field = 6;
		t->covered = dccp_end(packet);
		break;
	case IPPROTO_SCTP: field = 8; break;
	case IPPROTO_MH: field = 4; break;
	case IPPROTO_GRE:
		field = 4;
		if (!(packet->data[packet->l4] & 0x80))
			t->sum = IPQ_SUM_NONE;
		break;
	default: field = 2; break;
	}
	if (t->sum != IPQ_SUM_NONE)
		t->field = (uint16_t)(t->start + field);
}

uint16_t ipq_transport_pseudo(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	const uint8_t *p = packet->data;
	const uint8_t tail[8] = {0, 0, (uint8_t)(t->len >> 8), (uint8_t)t->len, 0,
				 0, 0, packet->protocol};
	uint32_t sum = ipq_checksum_add(0, tail, sizeof(tail));

	sum = ipq_checksum_add(sum, p + t->source, t->address_len);
	sum = ipq_checksum_add(sum, p + t->destination, t->address_len);
	return (uint16_t)~ipq_checksum_fold(sum);
}

uint32_t ipq_transport_sum(const struct ipq_packet *packet, const struct ipq_transport *t)
{
	const uint8_t *start = packet->data + t->start;
	const size_t len = (size_t)(t->covered - t->start);
	const size_t size = t->sum == IPQ_SUM_CRC32C ? sizeof(uint32_t) : sizeof(uint16_t);
	uint8_t *field = packet->data + t->field;
	uint32_t was = 0, sum = 0;

	/* It counts as zeros. */
	memcpy(&was, field, size);
	memset(field, 0, size);
	if (t->sum == IPQ_SUM_CRC32C) {
		sum = htole32(ipq_crc32c(start, len));
	} else {
		if (t->sum == IPQ_SUM_PSEUDO)
			sum = ipq_transport_pseudo(packet, t);
		sum = ipq_checksum_fold(ipq_checksum_add(sum, start, len));
	}
	memcpy(field, &was, size);
	return sum;
}

uint16_t ipq_transport_stored(const struct ipq_packet *packet, uint16_t checksum)
{
	bool is_udp = packet->protocol == IPPROTO_UDP || packet->protocol == IPPROTO_UDPLITE;

	return checksum == 0 && is_udp ? 0xffff : checksum;
}

uint16_t ipq_transport_next(const struct ipq_packet *packet, const struct ipq_transport *t,
			    uint16_t delta)
{
	uint16_t checksum;

	memcpy(&checksum, packet->data + t->field, sizeof(checksum));
	checksum = ipq_checksum_next(checksum, delta);
	/* ICMP has no pseudo-header, so it may be all zeros, of which the sum does not tell. One
	 * that was wrong and has come to 0 stays so. */
	if (checksum == 0 && t->sum == IPQ_SUM_PLAIN && ipq_transport_sum(packet, t) == 0xffff)
		checksum = 0xffff;
	return ipq_transport_stored(packet, checksum);
}

/* A byte of a header, and the bits of it that other things hang on. A mask of 0 ends a list. */
struct key {
	uint8_t at;
	uint8_t mask;
};

/* All but the DF flag of the fragment field. */
static const struct key ipv4_keys[] = {{0, 0xff}, {2, 0xff},  {3, 0xff},  {6, 0xbf}, {7, 0xff},
				       {9, 0xff}, {10, 0xff}, {11, 0xff}, {0, 0}};
static const struct key ipv6_keys[] = {{0, 0xf0}, {4, 0xff}, {5, 0xff}, {6, 0xff}, {0, 0}};
static const struct key tcp_keys[] = {{12, 0xf0}, {16, 0xff}, {17, 0xff}, {0, 0}};
static const struct key udp_keys[] = {{4, 0xff}, {5, 0xff}, {6, 0xff}, {7, 0xff}, {0, 0}};
static const struct key icmp_keys[] = {{2, 0xff}, {3, 0xff}, {0, 0}};
static const struct key dccp_keys[] = {{4, 0xff}, {5, 0x0f}, {6, 0xff}, {7, 0xff}, {8, 1}, {0, 0}};
static const struct key gre_keys[] = {{0, 0xb0}, {4, 0xff}, {5, 0xff}, {0, 0}};
static const struct key mh_keys[] = {{1, 0xff}, {4, 0xff}, {5, 0xff}, {0, 0}};
static const struct key ah_keys[] = {{1, 0xff}, {0, 0}};
static const struct key no_keys[] = {{0, 0}};

static const struct key *transport_keys(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP: return tcp_keys;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE: return udp_keys;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: return icmp_keys;
	case IPPROTO_DCCP: return dccp_keys;
	case IPPROTO_GRE: return gre_keys;
	case IPPROTO_MH: return mh_keys;
	case IPPROTO_AH: return ah_keys;
	default: return no_keys;
	}
}

static bool keys_change(const struct ipq_packet *packet, const struct key *key, uint32_t header,
			uint32_t offset, const uint8_t *bytes, uint32_t len)
{
	for (; key->mask != 0; key++) {
		uint32_t at = header + key->at;

		if (at >= offset && at - offset < len &&
		    (packet->data[at] ^ bytes[at - offset]) & key->mask)
			return true;
	}
	return false;
}

/* Whether they change any of the bytes from offset start on, up to stop. */
static bool range_changes(const struct ipq_packet *packet, uint32_t start, uint32_t stop,
			  uint32_t offset, const uint8_t *bytes, uint32_t len)
{
	if (start < offset)
		start = offset;
	if (stop > offset + len)
		stop = offset + len;
	return start < stop &&
	       memcmp(packet->data + start, bytes + (start - offset), stop - start) != 0;
}

/* Options and extension headers: between the IP header's fixed part and what follows all of it. */
static bool chain_changes(const struct ipq_packet *packet, uint32_t offset, const uint8_t *bytes,
			  uint32_t len)
{
	uint32_t start = packet->l3 + (packet->ip_version == 4 ? 20U : IPV6_HEADER);

	return range_changes(packet, start, packet->upper, offset, bytes, len);
}

/* Version, header length, and the fragment field but DF. */
static const struct key ipv4_layout[] = {{0, 0xff}, {6, 0xbf}, {7, 0xff}, {0, 0}};
static const struct key ipv6_layout[] = {{0, 0xf0}, {6, 0xff}, {0, 0}};

bool ipq_transport_lays_out(const struct ipq_packet *packet, uint32_t offset, const uint8_t *bytes,
			    uint32_t len)
{
	const struct key *keys = packet->ip_version == 4 ? ipv4_layout : ipv6_layout;

	return keys_change(packet, keys, packet->l3, offset, bytes, len) ||
	       chain_changes(packet, offset, bytes, len);
}

bool ipq_transport_moves(const struct ipq_packet *packet, uint32_t offset, const uint8_t *bytes,
			 uint32_t len)
{
	const struct key *keys = packet->ip_version == 4 ? ipv4_keys : ipv6_keys;
	uint16_t l3 = packet->l3;

	if (offset < l3 || keys_change(packet, keys, l3, offset, bytes, len) ||
	    chain_changes(packet, offset, bytes, len))
		return true;
	if ((packet->l4 && offset >= packet->body) || packet->fragment == IPQ_FRAGMENT_LATER)
		return false;
	/* What could not be a header may have become one. What a capture has cut off has not. */
	if (!packet->l4 && !ipq_cut_by_capture(packet))
		return offset + len > packet->upper;
	if (!packet->l4 && ipq_header_is_extension(packet->protocol))
		return range_changes(packet, packet->upper, packet->end, offset, bytes, len);
	keys = transport_keys(packet->protocol);
	return keys_change(packet, keys, packet->upper, offset, bytes, len);
}
