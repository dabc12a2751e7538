/* Checksums of a capture: what is made right is right, by sums byte pair by byte pair, and no other byte
 * is changed. */
#include "fuzz.h"
#include "sums.h"
#include "lib/packet/inner.h"
#include "lib/packet/transport.h"

#include <netinet/in.h>

static bool crc_is_right(const uint8_t *p, size_t len)
{
	uint8_t *copy = own(p, len);
	uint32_t crc = (uint32_t)p[8] | (uint32_t)p[9] << 8 | (uint32_t)p[10] << 16 |
		       (uint32_t)p[11] << 24;
	bool is_right;

	memset(copy + 8, 0, 4);
	is_right = crc_of(copy, len) == crc;
	free(copy);
	return is_right;
}

/* Whether the transport's checksum is right, or is none, or cannot be told. */
static bool is_right(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->data;
	struct ipq_transport t;
	uint32_t sum = 0;

	if (packet->ip_version == 0 || packet->fragment || packet->malformed ||
	    packet->data_len < packet->len)
		return true;
	ipq_transport_find(packet, &t);
	if (!t.field || !t.covered || (packet->protocol == IPPROTO_UDP && load16(p + t.field) == 0))
		return true;
	if (t.sum == IPQ_SUM_CRC32C)
		return crc_is_right(p + t.start, t.covered - t.start);
	if (t.sum == IPQ_SUM_PSEUDO)
		sum = sum_pseudo(p + t.source, p + t.destination, t.address_len, t.len,
				 packet->protocol);
	return sum_add(sum, p + t.start, t.covered - t.start) == 0;
}

/* Bytes that may have changed: IPv4's checksum, the transport's, and that of one packet inside. */
static void bytes_check(const struct ipq_packet *packet, const uint8_t *before)
{
	uint32_t differ = 0, l3 = packet->l3;

	for (uint32_t i = 0; i < packet->data_len; i++) {
		bool is_ip = packet->ip_version == 4 && (i == l3 + 10 || i == l3 + 11);

		differ += packet->data[i] != before[i];
		CHECK(packet->data[i] == before[i] || is_ip || i >= packet->upper);
	}
	CHECK(differ <= 2 + 4 + 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = {bytes, len};
	uint8_t flags = take8(&in);
	struct ipq_packet packet = {
		.data_len = (uint32_t)in.len,
		.len = (uint32_t)in.len + (flags & 1 ? flags >> 1 : 0),
		.cut = IPQ_CUT_CAPTURE,
	};
	struct ipq_packet inner;
	uint8_t *before = own(in.bytes, in.len);
	uint32_t wrong, at;
	bool changed, has_inner;

	packet.data = own(in.bytes, in.len);
	wrong = ipq_sums_wrong(&packet);
	CHECK(memcmp(packet.data, before, in.len) == 0);
	has_inner = packet.len == packet.data_len && ipq_inner_find(&inner, &packet, &at);
	changed = ipq_sums_mend(&packet);
	CHECK(changed == (memcmp(packet.data, before, in.len) != 0));
	CHECK(changed || !wrong);
	CHECK(!changed || wrong || has_inner);
	bytes_check(&packet, before);
	CHECK(is_right(&packet) && (!has_inner || is_right(&inner)));
	CHECK(ipq_sums_wrong(&packet) == 0);
	CHECK(packet.set == 0 && packet.dirty == 0);
	free(before);
	free(packet.data);
	return 0;
}
