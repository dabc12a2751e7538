/*
 * Changes to a packet, and what follows from them. A plain array has the bytes that the packet has
 * to have; sums are computed byte pair by byte pair.
 *
 * "Wrong by" is the sum over all that a checksum covers, itself and pseudo-header included, modulo
 * 65535: 0 where it is right. For SCTP it is 0 or 1.
 */
#include "fuzz.h"
#include "sums.h"
#include "lib/packet/transport.h"

#include <netinet/in.h>
#include <linux/netfilter.h>

enum { CHANGES_MAX = 24, NO_SUM = 0x10000 };

static uint8_t model[2 * IPQ_PACKET_MAX];
static uint32_t model_len;
static uint8_t scratch[IPQ_PACKET_MAX];
static uint8_t *spare;
static bool had_none;		     /* a UDP checksum that was 0 */
static uint32_t came_size, came_udp; /* bytes within reach, and UDP's own length */

static uint32_t sctp_wrong_by(const uint8_t *p, size_t len)
{
	static uint8_t copy[IPQ_PACKET_MAX];
	uint32_t crc = (uint32_t)p[8] | (uint32_t)p[9] << 8 | (uint32_t)p[10] << 16 |
		       (uint32_t)p[11] << 24;

	memcpy(copy, p, len);
	memset(copy + 8, 0, 4);
	return crc_of(copy, len) != crc;
}

static bool has_none(const struct ipq_packet *packet)
{
	return packet->protocol == IPPROTO_UDP && packet->l4 &&
	       load16(packet->data + packet->l4 + 6) == 0;
}

/* By what the transport's checksum is wrong; NO_SUM where it has none. */
static uint32_t wrong_by(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->data;
	struct ipq_transport t;
	uint32_t sum = 0;

	ipq_transport_find(packet, &t);
	if (t.sum == IPQ_SUM_NONE || !t.field || !t.covered)
		return NO_SUM;
	if (packet->ip_version == 4 && has_none(packet))
		return NO_SUM;
	if (t.sum == IPQ_SUM_CRC32C)
		return sctp_wrong_by(p + t.start, t.covered - t.start);
	if (t.sum == IPQ_SUM_PSEUDO)
		sum = sum_pseudo(p + t.source, p + t.destination, t.address_len, t.len,
				 packet->protocol);
	return sum_add(sum, p + t.start, t.covered - t.start);
}

/* Makes the checksum right, so that changes begin with what hosts send. */
static void complete(struct ipq_packet *packet)
{
	struct ipq_transport t;
	uint32_t wrong;

	ipq_transport_find(packet, &t);
	if (!t.field)
		return;
	store16(packet->data + t.field, 1);
	wrong = wrong_by(packet);
	if (wrong != NO_SUM && t.sum != IPQ_SUM_CRC32C)
		store16(packet->data + t.field, (0xffff + 1 - wrong) % 0xffff);
}

static void replace_model(uint32_t offset, uint32_t len, const uint8_t *bytes, uint32_t new_len)
{
	memmove(model + offset + new_len, model + offset + len, model_len - offset - len);
	if (new_len)
		memcpy(model + offset, bytes, new_len);
	model_len = model_len - len + new_len;
}

/* How far changes reach. What is known of the packet's places has to be what they are. */
static uint32_t reach(const struct ipq_packet *packet)
{
	struct ipq_packet copy = *packet;

	ipq_header_parse(&copy);
	CHECK(!packet->parsed || memcmp(packet, &copy, sizeof(copy)) == 0);
	return copy.ip_version ? copy.end : copy.data_len;
}

/* New bytes: of the input, of the packet itself, or many. */
static uint8_t *bytes_choose(struct input *in, struct ipq_packet *packet, uint32_t *len)
{
	uint8_t kind = take8(in);
	size_t n = take8(in);
	const uint8_t *p;

	if (kind & 1)
		n = take16(in);
	*len = (uint32_t)n;
	if (kind & 2 && n <= packet->data_len)
		return packet->data + take16(in) % (packet->data_len - n + 1);
	p = take(in, &n);
	memset(scratch, kind, *len);
	memcpy(scratch, p, n);
	return scratch;
}

static void change(struct input *in, struct ipq_packet *packet)
{
	uint8_t kind = take8(in) % 3;
	uint32_t size = reach(packet);
	uint32_t offset = take16(in), len = take16(in), new_len;
	uint8_t *bytes, *copy;
	bool inside;
	int ret;

	if (take8(in) & 3) { /* most of them fit */
		offset %= size + 1;
		len %= size - offset + 1;
	}
	bytes = bytes_choose(in, packet, &new_len);
	copy = own(bytes, new_len);
	inside = offset <= size && (kind == 0 ? new_len : len) <= size - offset;
	if (kind == 0) {
		ret = ipq_rewrite_store(packet, offset, bytes, new_len);
		CHECK(ret == (inside ? IPQ_REWRITE_OK : IPQ_REWRITE_BOUNDS));
		len = new_len;
	} else if (kind == 1) {
		ret = ipq_rewrite_replace(packet, offset, len, bytes, new_len);
		CHECK(inside || ret == IPQ_REWRITE_BOUNDS);
		CHECK(ret == IPQ_REWRITE_OK || !inside || size - len + new_len > IPQ_PAYLOAD_MAX);
	} else {
		ret = ipq_rewrite_set(packet, bytes, new_len);
		CHECK(ret == IPQ_REWRITE_OK || new_len > IPQ_PAYLOAD_MAX);
		offset = 0;
		len = size;
	}
	if (kind == 2 && ret == IPQ_REWRITE_OK && !packet->dirty) {
		/* What it came with, padding or not, changes nothing. */
		CHECK(new_len == size || new_len == packet->data_len);
		CHECK(memcmp(model, copy, new_len) == 0);
	} else if (ret == IPQ_REWRITE_OK && (kind == 2 || len || new_len)) {
		model_len = size; /* without padding */
		replace_model(offset, len, copy, new_len);
		CHECK(packet->dirty && packet->set & IPQ_SET_PAYLOAD);
	}
	free(copy);
	CHECK(packet->data_len == model_len && memcmp(packet->data, model, model_len) == 0);
}

/* The packet as its receiver sees it. */
static struct ipq_packet received(const struct ipq_packet *packet)
{
	struct ipq_packet copy = {
		.data = packet->data,
		.data_len = packet->data_len,
		.len = packet->len,
		.cut = packet->cut,
		.family = packet->family,
		.hw_protocol = packet->hw_protocol,
	};

	ipq_header_parse(&copy);
	return copy;
}

/* Lengths as they have to be where all bytes are there. */
static void lengths_check(const struct ipq_packet *copy, uint16_t dirty)
{
	const uint8_t *ip = copy->data + copy->l3;
	uint32_t udp = 0;

	if (copy->ip_version == 4)
		CHECK(load16(ip + 2) == copy->data_len - copy->l3);
	else
		CHECK(load16(ip + 4) == copy->data_len - copy->l3 - 40U);
	if (copy->protocol == IPPROTO_UDP && copy->l4)
		udp = load16(copy->data + copy->l4 + 4);
	/* UDP's may be less, as it came. */
	if (udp && !copy->fragment && dirty & IPQ_DIRTY_ALL)
		CHECK(udp == copy->data_len - copy->l4 ||
		      (udp == came_udp && copy->data_len == came_size));
}

static void finished_check(const struct ipq_packet *packet, uint32_t wrong, uint16_t dirty)
{
	struct ipq_packet copy = received(packet);
	uint32_t wrong_now = wrong_by(&copy);
	const uint8_t *ip = packet->data + copy.l3;
	bool is_unready = packet->present & IPQ_HAS_SKB_INFO && packet->skb_info & 3;
	/* Segmentation makes UDP's of the sum of the pseudo-header; a tunnel may have none. */
	bool is_open = is_unready && copy.protocol == IPPROTO_UDP &&
		       (packet->skb_info & IPQ_SKB_GSO || packet->unready == IPQ_UNREADY_INNER);

	CHECK(packet->dirty == 0 && copy.ip_version && copy.end == packet->data_len);
	if (copy.ip_version == 4)
		CHECK(sum_add(0, ip, (ip[0] & 15U) * 4) == 0);
	if (packet->data_len == packet->len)
		lengths_check(&copy, dirty);
	CHECK(packet->family != NFPROTO_IPV4 || copy.ip_version == 4);
	CHECK(packet->family != NFPROTO_IPV6 || copy.ip_version == 6);
	if (copy.fragment)
		return;
	if (wrong_now == NO_SUM || is_open)
		return;
	if (packet->skb_info & IPQ_SKB_CSUM_NOTVERIFIED && wrong != 0 && !is_unready)
		return; /* what came wrong stays so */
	if (dirty & IPQ_DIRTY_ALL || is_unready ||
	    (dirty & IPQ_DIRTY_TRANSPORT && copy.protocol == IPPROTO_SCTP))
		CHECK(wrong_now == 0);
	else /* or it had none, which IPv6 does not know */
		CHECK(wrong_now == wrong || (had_none && wrong_now == 0));
}

static void cut_check(const struct ipq_packet *packet, int ret, uint16_t dirty)
{
	if (packet->cut == IPQ_CUT_QUEUE)
		CHECK(ret == IPQ_REWRITE_TRUNCATED);
	else if (packet->cut == IPQ_CUT_MOST)
		CHECK(ret == IPQ_REWRITE_MOST);
	else
		CHECK(ret == IPQ_REWRITE_CUT || !(dirty & IPQ_DIRTY_ALL));
}

static void finish(struct ipq_packet *packet, uint32_t wrong)
{
	uint16_t dirty = packet->dirty;
	uint32_t differ = 0;
	int ret = ipq_rewrite_finish(packet);

	CHECK(packet->data_len == model_len);
	for (uint32_t i = 0; i < model_len; i++)
		differ += packet->data[i] != model[i];
	CHECK(ipq_rewrite_strerror(ret));
	/* At most: IPv4 length and checksum, UDP length and a checksum, and another one inside. */
	CHECK(differ <= 12 && (differ == 0 || ret == IPQ_REWRITE_OK));
	if (dirty == 0)
		CHECK(ret == IPQ_REWRITE_OK && differ == 0);
	else if (ret == IPQ_REWRITE_OK && ipq_header_is_arp(packet))
		CHECK(packet->dirty == 0 && differ == 0);
	else if (ret == IPQ_REWRITE_OK)
		finished_check(packet, wrong, dirty);
	else
		CHECK(packet->dirty == dirty && packet->set & IPQ_SET_PAYLOAD);
	if (dirty && packet->data_len < packet->len)
		cut_check(packet, ret, dirty);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_BRIDGE,
					   NFPROTO_UNSPEC};
	struct input in = {bytes, len};
	uint8_t flags = take8(&in), changes = take8(&in) % CHANGES_MAX;
	size_t size = take16(&in);
	struct ipq_packet packet = {.present = IPQ_HAS_PAYLOAD | IPQ_HAS_SKB_INFO};
	const uint8_t *p = take(&in, &size);
	uint32_t wrong = NO_SUM;
	uint8_t *slot = own(p, size);

	spare = spare ? spare : malloc(IPQ_PACKET_MAX);
	packet.family = families[flags & 3];
	packet.skb_info = flags & 4		     ? flags >> 6
			  : flags >> 6 & IPQ_SKB_GSO ? IPQ_SKB_CSUM_NOTVERIFIED
						     : 0;
	packet.hook = changes % (NF_INET_POST_ROUTING + 1);
	packet.hw_protocol = packet.family == NFPROTO_BRIDGE && size > 1 && flags & 8
				     ? 0x8100
				     : (uint16_t)(flags & 16 ? 0x86dd : 0x0800);
	packet.data = slot;
	packet.spare = spare;
	packet.data_len = (uint32_t)size;
	packet.len = (uint32_t)size;
	if (flags >> 3 == 7) {
		packet.cut = take8(&in) % 3;
		packet.len += take8(&in);
	}
	ipq_header_parse(&packet);
	if (packet.ip_version && flags & 32)
		complete(&packet);
	if (packet.ip_version)
		wrong = wrong_by(&packet);
	had_none = has_none(&packet);
	came_size = packet.end;
	came_udp = packet.protocol == IPPROTO_UDP && packet.l4 ? load16(packet.data + packet.l4 + 4)
							       : 0;
	memcpy(model, packet.data, size);
	model_len = (uint32_t)size;
	while (changes--)
		change(&in, &packet);
	finish(&packet, wrong);
	free(slot);
	return 0;
}
