/* What flow a packet belongs to: by its headers, and for an ICMP error by those that it quotes. */
#include "table.h"
#include "lib/bytes.h"
#include "lib/ports.h"
#include "lib/packet/packet.h"

#include <netinet/in.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>

/* The type that asks, where this one asks for an answer with the same identifier, or is one; -1.
 * (RFC 792, RFC 950, RFC 4443) */
static int icmp_request(uint8_t version, uint8_t type)
{
	if (version == 6)
		return type == ICMP6_ECHO_REQUEST || type == ICMP6_ECHO_REPLY ? ICMP6_ECHO_REQUEST
									      : -1;
	switch (type) {
	case ICMP_ECHO:
	case ICMP_ECHOREPLY: return ICMP_ECHO;
	case ICMP_TIMESTAMP:
	case ICMP_TIMESTAMPREPLY: return ICMP_TIMESTAMP;
	case ICMP_INFO_REQUEST:
	case ICMP_INFO_REPLY: return ICMP_INFO_REQUEST;
	case ICMP_ADDRESS:
	case ICMP_ADDRESSREPLY: return ICMP_ADDRESS;
	default: return -1;
	}
}

/* Those whose bodies quote a packet. */
static bool is_error(const struct ipq_packet *packet)
{
	uint8_t type;

	if (!packet->l4 || (packet->protocol != IPPROTO_ICMP && packet->protocol != IPPROTO_ICMPV6))
		return false;
	type = packet->data[packet->l4];
	if (packet->protocol == IPPROTO_ICMPV6)
		return type < ICMP6_ECHO_REQUEST;
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

/* Ports, or what stands for them: of the sender and of the receiver. */
static bool ports_of(const struct ipq_packet *packet, uint16_t ports[2])
{
	const uint8_t *l4 = packet->data + packet->l4;
	int request;

	ports[0] = 0;
	ports[1] = 0;
	if (ipq_has_ports(packet->protocol)) {
		if (!packet->l4)
			return false;
		ports[0] = ipq_load16(l4);
		ports[1] = ipq_load16(l4 + 2);
		return true;
	}
	switch (packet->protocol) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (!packet->l4)
			return false;
		request = icmp_request(packet->ip_version, l4[0]);
		ports[1] = request < 0 ? l4[0] : (uint16_t)request;
		if (request >= 0)
			ports[0] = ipq_load16(l4 + 4);
		if (request >= 0 && request != l4[0]) {
			ports[1] = ports[0];
			ports[0] = (uint16_t)request;
		}
		return true;
	default: return true;
	}
}

/* CTA_ZONE among the attributes of NFQA_CT; 0 where there is none. */
static uint16_t zone_of(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->ct;
	uint32_t left = packet->present & IPQ_HAS_CT ? packet->ct_len : 0;
	struct nlattr attr;
	uint32_t step;

	for (; left >= NLA_HDRLEN; p += step, left -= step) {
		memcpy(&attr, p, sizeof(attr));
		if (attr.nla_len < NLA_HDRLEN || attr.nla_len > left)
			return 0;
		if ((attr.nla_type & NLA_TYPE_MASK) == CTA_ZONE &&
		    attr.nla_len >= NLA_HDRLEN + sizeof(uint16_t))
			return ipq_load16(p + NLA_HDRLEN);
		step = NLA_ALIGN((uint32_t)attr.nla_len);
		if (step > left)
			return 0;
	}
	return 0;
}

static int address_compare(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint32_t x = ipq_load32(a), y = ipq_load32(b);

	if (x != y)
		return x < y ? -1 : 1;
	return len == 4 ? 0 : memcmp(a + 4, b + 4, len - 4);
}

/* What is read as words soon is stored as words. */
static void store_tail(struct ipq_flow_key *key, uint16_t port, uint16_t port_2, uint16_t zone,
		       uint8_t protocol, uint8_t version)
{
	const bool is_little = __BYTE_ORDER == __LITTLE_ENDIAN;
	const uint32_t words[2] = {
		is_little ? port | (uint32_t)port_2 << 16 : port_2 | (uint32_t)port << 16,
		is_little ? zone | (uint32_t)protocol << 16 | (uint32_t)version << 24
			  : version | (uint32_t)protocol << 8 | (uint32_t)zone << 16,
	};

	memcpy(key->ports, &words[0], sizeof(words[0]));
	memcpy(&key->zone, &words[1], sizeof(words[1]));
}

/* Fills in key and side. False: the packet has none. */
static bool key_of(const struct ipq_packet *packet, uint16_t zone, struct ipq_flow_seen *seen)
{
	struct ipq_flow_key *key = &seen->key;
	uint32_t len = packet->ip_version == 4 ? 4 : 16;
	const uint8_t *saddr = packet->data + packet->l3 + (len == 4 ? 12 : 8);
	uint16_t ports[2];
	int order;

	if (!packet->ip_version || packet->fragment == IPQ_FRAGMENT_LATER ||
	    !ports_of(packet, ports))
		return false;
	order = address_compare(saddr, saddr + len, len);
	if (order == 0)
		order = ports[0] - ports[1];
	seen->side = order > 0;
	memset(key, 0, sizeof(*key));
	memcpy(key->addresses[seen->side], saddr, len);
	memcpy(key->addresses[!seen->side], saddr + len, len);
	store_tail(key, ports[seen->side], ports[!seen->side], zone, packet->protocol,
		   packet->ip_version);
	return true;
}

/* The key of the packet that an error quotes. */
static bool quoted_key_of(const struct ipq_packet *packet, uint16_t zone,
			  struct ipq_flow_seen *seen)
{
	struct ipq_packet outer = *packet;
	struct ipq_inside inside;
	uint32_t at = ipq_inside_quoted(&outer);
	struct ipq_packet *quoted = at ? ipq_inside_open(&inside, &outer, at) : NULL;

	if (!quoted || is_error(quoted) || !key_of(quoted, zone, seen))
		return false;
	/* The error goes to the sender of what it quotes. */
	seen->side = !seen->side;
	seen->is_related = 1;
	return true;
}

void ipq_flow_see(const struct ipq_flows *flows, const struct ipq_packet *packet,
		  struct ipq_flow_seen *seen)
{
	uint16_t zone = zone_of(packet);

	seen->is_related = 0;
	seen->has_key =
		is_error(packet) ? quoted_key_of(packet, zone, seen) : key_of(packet, zone, seen);
	if (seen->has_key)
		seen->hash = ipq_flow_hash(flows->key, &seen->key);
}

/* Has the records fetched that a bucket's tags lead to. Whether there are any. */
static bool fetch_records(const struct ipq_flows *flows, const struct ipq_flow_bucket *bucket,
			  uint8_t tag)
{
	struct ipq_flow_slots slots = ipq_flow_slots(bucket, tag);
	bool is_any = slots.low || slots.high;
	const struct ipq_flow *flow;
	uint32_t slot;

	while ((slot = ipq_flow_slot(&slots)) < IPQ_FLOW_SLOTS) {
		flow = ipq_flow_at(flows, ipq_flow_read(&bucket->numbers[slot]));
		if (!flow)
			continue;
		__builtin_prefetch(flow, 1);
		__builtin_prefetch((const char *)flow + 64, 1);
	}
	return is_any;
}

/* First those that are in their first bucket; of the others the second one is fetched meanwhile. */
static void fetch_flows(const struct ipq_flows *flows, uint32_t count)
{
	uint64_t elsewhere = 0;
	const struct ipq_flow_seen *seen;
	const struct ipq_flow_bucket *bucket;

	for (uint32_t i = 0; i < count; i++) {
		seen = &flows->seen[i];
		if (!seen->has_key)
			continue;
		bucket = ipq_flow_bucket(flows, seen->hash);
		if (fetch_records(flows, bucket, ipq_flow_tag(seen->hash)) || !bucket->overflow)
			continue;
		__builtin_prefetch(ipq_flow_bucket_2(flows, seen->hash), 1);
		elsewhere |= UINT64_C(1) << i;
	}
	for (; elsewhere; elsewhere &= elsewhere - 1) {
		seen = &flows->seen[__builtin_ctzll(elsewhere)];
		fetch_records(flows, ipq_flow_bucket_2(flows, seen->hash),
			      ipq_flow_tag(seen->hash));
	}
}

void ipq_flows_batch(struct ipq_flows *flows, struct ipq_batch *batch, int64_t now_us)
{
	uint32_t count = batch->count < IPQ_BATCH_MAX ? batch->count : IPQ_BATCH_MAX;
	struct ipq_flow_seen *seen;

	flows->now_us = now_us;
	flows->packets = batch->packets;
	for (uint32_t i = 0; i < IPQ_BATCH_MAX; i++)
		flows->seen[i].is_ready = i < count;
	for (uint32_t i = 0; i < count; i++) {
		seen = &flows->seen[i];
		if (!batch->packets[i].parsed)
			ipq_header_parse(&batch->packets[i]);
		ipq_flow_see(flows, &batch->packets[i], seen);
		if (seen->has_key)
			__builtin_prefetch(ipq_flow_bucket(flows, seen->hash), 1);
	}
	fetch_flows(flows, count);
}
