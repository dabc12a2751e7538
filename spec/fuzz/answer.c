/* Packets of our own, made of any bytes: each is a packet by itself, with right lengths and checksums; it
 * quotes no more than was there, and its pieces fit their way and have all of it. */
#include "fuzz.h"

#include <stdbool.h>
#include <netinet/in.h>
#include <linux/netfilter.h>

enum { ERROR_4 = 28, ERROR_6 = 48 };

/* Memory that ends where what is made may end. */
static uint8_t room[IPQ_PACKET_MAX];

static bool has_ended(int ret)
{
	CHECK(ret >= -IPQ_UNSENT_REASONS);
	return ret < 0;
}

static struct ipq_packet view(uint8_t *bytes, uint32_t len)
{
	struct ipq_packet packet = {.data = bytes, .data_len = len, .len = len};

	ipq_header_parse(&packet);
	return packet;
}

/* A piece of len bytes has those of the packet from offset before on, up to offset, at its end. The first
 * one begins with its headers, which a fragment over IPv6 has 8 more bytes of. */
static void piece_check(const uint8_t *packet, uint32_t before, uint32_t offset,
			const struct ipq_packet *piece)
{
	const uint8_t *p = piece->data;
	uint32_t taken = offset - before;

	CHECK(piece->ip_version && piece->end == piece->data_len);
	if (piece->protocol == IPPROTO_TCP && !piece->fragment) {
		struct ipq_packet copy = *piece;

		CHECK(!piece->malformed && ipq_sums_wrong(&copy) == 0);
		CHECK(before > 0 || piece->end == offset);
		CHECK(piece->end > piece->body);
		taken = (uint32_t)piece->end - piece->body;
		CHECK(before == 0 || taken == offset - before);
	} else if (piece->ip_version == 4) {
		CHECK(ipq_checksum_read(p, (p[0] & 15U) * 4) == 0);
		taken = (uint32_t)piece->end - piece->upper;
		CHECK(before > 0 ? taken == offset - before : piece->end == offset);
	} else if (before == 0) {
		CHECK(piece->end == offset + 8);
		taken = 8; /* at least */
	}
	CHECK(taken < piece->end &&
	      memcmp(p + piece->end - taken, packet + offset - taken, taken) == 0);
}

static void split_check(const uint8_t *bytes, uint32_t len, uint32_t mtu)
{
	uint8_t *packet = own(bytes, len), *to = own(room, mtu);
	uint32_t offset = 0, before;
	struct ipq_packet piece;
	int ret;

	do {
		before = offset;
		ret = ipq_packet_split(packet, len, mtu, 7, &offset, to, mtu);
		if (has_ended(ret) || ret == 0)
			break;
		CHECK((uint32_t)ret <= mtu && offset > before && offset <= len);
		piece = view(to, (uint32_t)ret);
		if (before == 0 && offset == len)
			CHECK(memcmp(to, bytes, len) == 0);
		else
			piece_check(bytes, before, offset, &piece);
	} while (ret > 0);
	CHECK(ret != 0 || offset == len);
	CHECK(memcmp(packet, bytes, len) == 0);
	free(packet);
	free(to);
}

/* What was made is whole. wrong: checksums that may be wrong. */
static void made_check(uint8_t *bytes, uint32_t len, uint32_t wrong, uint32_t mtu)
{
	uint8_t *packet = own(bytes, len);
	struct ipq_packet again = view(packet, len);

	CHECK(again.ip_version && !again.malformed && again.end == len && again.l3 == 0);
	CHECK(ipq_header_total(packet, len) == len);
	CHECK(!(ipq_sums_wrong(&again) & ~wrong));
	free(packet);
	split_check(bytes, len, mtu);
}

/* An error quotes the packet as it is from its IP header on, where nobody knows other ends. */
static void quote_check(const struct ipq_packet *from, const struct ipq_tuple *known,
			const uint8_t *bytes, uint32_t len)
{
	bool is_6 = bytes[0] >> 4 == 6;
	uint32_t header = is_6 ? ERROR_6 : ERROR_4;
	struct ipq_packet packet = *from;

	if (bytes[is_6 ? 6 : 9] == IPPROTO_TCP)
		return;
	ipq_header_parse(&packet);
	CHECK(len >= header && len <= (is_6 ? 1280 : 576));
	CHECK(len - header <= (uint32_t)packet.end - packet.l3);
	CHECK(known || from->dirty ||
	      memcmp(bytes + header, packet.data + packet.l3, len - header) == 0);
}

static void reject_check(const struct ipq_packet *from, const struct ipq_tuple *known,
			 uint32_t size, uint32_t mtu)
{
	uint8_t *to = own(room, size);
	int ret;

	for (int kind = IPQ_REJECT_NOT; kind <= IPQ_REJECT_ADMIN_PROHIBITED + 1; kind++) {
		ret = ipq_packet_reject(from, (enum ipq_reject)kind, known, size & 1, to, size);
		if (has_ended(ret))
			continue;
		CHECK((uint32_t)ret <= size);
		quote_check(from, known, to, (uint32_t)ret);
		made_check(to, (uint32_t)ret, 0, mtu);
	}
	ret = ipq_packet_reset(from, NULL, to, size);
	CHECK(ret <= (int)size);
	if (!has_ended(ret))
		made_check(to, (uint32_t)ret, 0, mtu);
	free(to);
}

static void answer_check(const struct ipq_packet *from, const struct ipq_tuple *known,
			 struct input *in, uint32_t size, uint32_t mtu)
{
	uint8_t *to = own(room, size);
	size_t len = take8(in);
	const uint8_t *payload = take(in, &len);
	int ret = ipq_packet_answer(from, known, len & 1 ? payload : NULL, (uint32_t)len, to, size);

	CHECK(ret <= (int)size);
	if (!has_ended(ret))
		made_check(to, (uint32_t)ret, 0, mtu);
	free(to);
}

/* What is ready and wrong stays wrong, and so may IPv4's header that nothing has changed. */
static void copy_check(const struct ipq_packet *from, uint32_t size, uint32_t mtu)
{
	const uint32_t any = IPQ_SUM_WRONG_IP | IPQ_SUM_WRONG_TRANSPORT;
	uint32_t unready = from->skb_info & (IPQ_SKB_CSUMNOTREADY | IPQ_SKB_GSO);
	bool is_meant = from->dirty && !from->fix;
	uint8_t *to = own(room, size);
	int ret = ipq_packet_copy(from, to, size);

	CHECK(ret <= (int)size);
	if (!has_ended(ret) && is_meant)
		split_check(to, (uint32_t)ret, mtu);
	else if (!has_ended(ret))
		made_check(to, (uint32_t)ret, unready ? 0 : any, mtu);
	free(to);
}

static void change(struct ipq_packet *packet, struct input *in)
{
	uint16_t offset = take16(in), len = take8(in);
	size_t new_len = take8(in);
	const uint8_t *bytes = take(in, &new_len);

	(void)ipq_rewrite_replace(packet, offset, new_len & 1 ? len : (uint32_t)new_len, bytes,
				  (uint32_t)new_len);
}

static void known_take(struct ipq_tuple *known, struct input *in)
{
	size_t n = sizeof(known->saddr);
	const uint8_t *p = take(in, &n);

	memcpy(known->saddr, p, n);
	memcpy(known->daddr, p, n);
	known->daddr[0] ^= take8(in);
	known->ip_version = take8(in) & 1 ? 6 : 4;
	known->protocol = take8(in);
	known->sport = take16(in);
	known->dport = take16(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_BRIDGE, NFPROTO_ARP};
	static const uint16_t types[] = {0x0800, 0x86dd, 0x8100, 0x0806};
	struct input in = {bytes, len};
	uint8_t flags = take8(&in), kind = take8(&in);
	uint32_t mtu = take16(&in), size = take16(&in);
	size_t data_len = take16(&in);
	const uint8_t *data = take(&in, &data_len);
	struct ipq_tuple known = {0};
	struct ipq_packet packet =
				  {
					  .data_len = (uint32_t)data_len,
					  .len = (uint32_t)data_len + (flags & 1 ? take8(&in) : 0),
					  .family = families[kind & 3],
					  .hw_protocol = types[kind >> 2 & 3],
					  .fix = !(flags & 2),
					  .present = IPQ_HAS_PAYLOAD | IPQ_HAS_SKB_INFO,
					  .skb_info = kind >> 4 & 7,
					  .cut = flags >> 2 & 3,
				  },
			  before;
	uint8_t *first = own(data, data_len), *came;
	bool is_known = flags & 64;

	packet.data = first;
	packet.spare = malloc(IPQ_PACKET_MAX);
	CHECK(packet.spare);
	if (flags & 16)
		ipq_header_parse(&packet);
	if (flags & 32)
		change(&packet, &in);
	if (is_known)
		known_take(&known, &in);
	came = own(packet.data, packet.data_len);
	before = packet;
	copy_check(&packet, size, mtu);
	reject_check(&packet, is_known ? &known : NULL, flags & 128 ? 1280 : size, mtu);
	answer_check(&packet, is_known ? &known : NULL, &in, size, mtu);
	split_check(came, packet.data_len, mtu);
	CHECK(memcmp(&before, &packet, sizeof(packet)) == 0);
	CHECK(memcmp(came, packet.data, packet.data_len) == 0);
	free(came);
	free(packet.spare);
	free(first);
	return 0;
}
