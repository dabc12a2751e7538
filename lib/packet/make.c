/* What the packets of our own are made of: ends, headers, checksums. */
#include "make.h"
#include "checksum.h"
#include "cut.h"
#include "packet.h"
#include "transport.h"
#include "lib/bytes.h"
#include "lib/ports.h"

#include <netinet/in.h>
#include <string.h>

enum { IPV4_DF = 0x4000, ETHER_HEADER = 14, SLL_HEADER = 16, SLL2_HEADER = 20 };

bool ipq_make_is_known(const struct ipq_packet *packet, const struct ipq_tuple *known)
{
	return known && known->ip_version == packet->ip_version &&
	       known->protocol == packet->protocol;
}

/* As the packet has them. */
static void ends_find(const struct ipq_packet *packet, struct ipq_ends *ends)
{
	const uint8_t *ip = packet->data + packet->l3, *l4 = packet->data + packet->l4;
	bool has_ports = packet->l4 && ipq_has_ports(packet->protocol);

	*ends = (struct ipq_ends){
		.ip_version = packet->ip_version,
		.protocol = packet->protocol,
		.source = ip + (packet->ip_version == 4 ? 12 : 8),
		.destination = ip + (packet->ip_version == 4 ? 16 : 24),
		.sport = has_ports ? ipq_load16(l4) : 0,
		.dport = has_ports ? ipq_load16(l4 + 2) : 0,
	};
}

void ipq_make_ends(const struct ipq_packet *packet, const struct ipq_tuple *known,
		   struct ipq_ends *ends)
{
	ends_find(packet, ends);
	if (!ipq_make_is_known(packet, known))
		return;
	ends->source = known->saddr;
	ends->destination = known->daddr;
	ends->sport = known->sport;
	ends->dport = known->dport;
}

void ipq_make_turn(struct ipq_ends *ends)
{
	const struct ipq_ends was = *ends;

	ends->source = was.destination;
	ends->destination = was.source;
	ends->sport = was.dport;
	ends->dport = was.sport;
}

static bool is_many(uint8_t ip_version, const uint8_t *address)
{
	if (ip_version == 6)
		return address[0] == 0xff;
	return address[0] >> 4 == 14 || ipq_load32(address) == INADDR_BROADCAST;
}

static bool is_nobody(uint8_t ip_version, const uint8_t *address)
{
	static const uint8_t none[16];

	return memcmp(address, none, ip_version == 6 ? 16 : 4) == 0;
}

static bool ends_are_many(const struct ipq_ends *ends)
{
	uint8_t version = ends->ip_version;

	return is_many(version, ends->destination) || is_many(version, ends->source) ||
	       is_nobody(version, ends->source);
}

/* By the link header, where it is there: sent to a group's address of Ethernet, or told so by the
 * kernel, whose types PACKET_BROADCAST and PACKET_MULTICAST a cooked header has. */
static bool link_is_many(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->l2hdr;
	uint32_t type;

	if (!(packet->present & IPQ_HAS_L2HDR))
		return false;
	switch (packet->link) {
	case IPQ_LINK_ETHER: return packet->l2hdr_len >= ETHER_HEADER && p[0] & 1;
	case IPQ_LINK_SLL: type = packet->l2hdr_len >= SLL_HEADER ? ipq_load16(p) : 0; break;
	case IPQ_LINK_SLL2: type = packet->l2hdr_len >= SLL2_HEADER ? p[10] : 0; break;
	default: return false;
	}
	return type == 1 || type == 2;
}

bool ipq_make_is_for_many(const struct ipq_packet *packet, const struct ipq_ends *ends)
{
	struct ipq_ends own;

	ends_find(packet, &own);
	return ends_are_many(&own) || ends_are_many(ends) || link_is_many(packet);
}

uint32_t ipq_make_payload(const struct ipq_packet *packet)
{
	uint32_t header = (uint32_t)packet->body - packet->l3, total;

	if (!ipq_cut_off(packet))
		return (uint32_t)packet->end - packet->body;
	total = ipq_header_total(packet->data + packet->l3, packet->data_len - packet->l3);
	if (total == 0)
		total = packet->len - packet->l3;
	return total > header ? total - header : 0;
}

uint32_t ipq_make_ip_len(const struct ipq_ends *ends)
{
	return ends->ip_version == 4 ? IPQ_MAKE_IPV4 : IPQ_MAKE_IPV6;
}

void ipq_make_ip(uint8_t *bytes, const struct ipq_ends *ends, uint32_t len, uint8_t tos,
		 bool is_whole)
{
	memset(bytes, 0, ipq_make_ip_len(ends));
	if (ends->ip_version == 4) {
		bytes[0] = 0x45;
		bytes[1] = tos;
		ipq_store16(bytes + 2, len + IPQ_MAKE_IPV4);
		ipq_store16(bytes + 6, is_whole ? IPV4_DF : 0);
		bytes[8] = IPQ_MAKE_TTL;
		bytes[9] = ends->protocol;
		memcpy(bytes + 12, ends->source, 4);
		memcpy(bytes + 16, ends->destination, 4);
	} else {
		bytes[0] = (uint8_t)(0x60 | tos >> 4);
		bytes[1] = (uint8_t)(tos << 4);
		ipq_store16(bytes + 4, len);
		bytes[6] = ends->protocol;
		bytes[7] = IPQ_MAKE_TTL;
		memcpy(bytes + 8, ends->source, 16);
		memcpy(bytes + 24, ends->destination, 16);
	}
}

void ipq_make_tcp(uint8_t *bytes, const struct ipq_ends *ends, const struct ipq_segment *segment)
{
	memset(bytes, 0, IPQ_MAKE_TCP);
	ipq_store16(bytes, ends->sport);
	ipq_store16(bytes + 2, ends->dport);
	ipq_store16(bytes + 4, segment->seq >> 16);
	ipq_store16(bytes + 6, segment->seq);
	ipq_store16(bytes + 8, segment->ack >> 16);
	ipq_store16(bytes + 10, segment->ack);
	bytes[12] = IPQ_MAKE_TCP / 4 << 4;
	bytes[13] = segment->flags;
	ipq_store16(bytes + 14, segment->window);
}

void ipq_make_sums(uint8_t *bytes, uint32_t len)
{
	struct ipq_packet packet = {.data = bytes, .data_len = len, .len = len};
	struct ipq_transport t;
	uint32_t crc;
	uint16_t sum;

	ipq_header_parse(&packet);
	if (packet.ip_version == 4)
		ipq_checksum_ipv4(bytes);
	ipq_transport_find(&packet, &t);
	if (!t.field || !t.covered)
		return;
	if (t.sum == IPQ_SUM_CRC32C) {
		crc = ipq_transport_sum(&packet, &t);
		memcpy(bytes + t.field, &crc, sizeof(crc));
		return;
	}
	sum = ipq_transport_stored(&packet, (uint16_t)ipq_transport_sum(&packet, &t));
	memcpy(bytes + t.field, &sum, sizeof(sum));
}
