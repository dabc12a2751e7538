/* Checksums as a capture has them: which are wrong, and how they become right. */
#include "checksum.h"
#include "cut.h"
#include "inner.h"
#include "packet.h"
#include "transport.h"
#include "lib/bytes.h"

#include <netinet/in.h>
#include <string.h>

static void parse(struct ipq_packet *packet)
{
	if (!packet->parsed)
		ipq_header_parse(packet);
}

static bool ip_is_wrong(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->data + packet->l3;

	return packet->ip_version == 4 &&
	       ipq_checksum_fold(ipq_checksum_add(0, p, (p[0] & 15U) * 4)) != 0;
}

/* Finds the transport's checksum, and what it has to be, as it is stored. False where that cannot be
 * told, or where there is none, which UDP's 0 is (RFC 768). */
static bool transport_find(const struct ipq_packet *packet, struct ipq_transport *t,
			   uint32_t *right)
{
	bool is_udp = packet->protocol == IPPROTO_UDP;

	if (packet->ip_version == 0 || packet->fragment || packet->malformed || ipq_cut_off(packet))
		return false;
	ipq_transport_find(packet, t);
	if (!t->field || !t->covered || (is_udp && ipq_load16(packet->data + t->field) == 0))
		return false;
	*right = ipq_transport_sum(packet, t);
	if (*right == 0 && (is_udp || packet->protocol == IPPROTO_UDPLITE))
		*right = 0xffff;
	return true;
}

/* Whether the receiver finds it right. To him the two zeros of a sum are the same. */
static bool transport_is_right(const struct ipq_packet *packet, const struct ipq_transport *t,
			       uint32_t right)
{
	const size_t size = t->sum == IPQ_SUM_CRC32C ? sizeof(uint32_t) : sizeof(uint16_t);
	uint32_t has = 0;

	memcpy(&has, packet->data + t->field, size);
	return has == right || (t->sum != IPQ_SUM_CRC32C && has == 0xffff && right == 0);
}

uint32_t ipq_sums_wrong(struct ipq_packet *packet)
{
	struct ipq_transport t;
	uint32_t wrong = 0, right;

	parse(packet);
	if (ip_is_wrong(packet))
		wrong |= IPQ_SUM_WRONG_IP;
	if (transport_find(packet, &t, &right) && !transport_is_right(packet, &t, right))
		wrong |= IPQ_SUM_WRONG_TRANSPORT;
	return wrong;
}

static bool transport_mend(const struct ipq_packet *packet)
{
	struct ipq_transport t;
	uint32_t right;

	if (!transport_find(packet, &t, &right) || transport_is_right(packet, &t, right))
		return false;
	memcpy(packet->data + t.field, &right,
	       t.sum == IPQ_SUM_CRC32C ? sizeof(uint32_t) : sizeof(uint16_t));
	return true;
}

bool ipq_sums_mend(struct ipq_packet *packet)
{
	struct ipq_packet inner;
	bool changed;
	uint32_t at;

	parse(packet);
	changed = ip_is_wrong(packet);
	if (changed)
		ipq_checksum_ipv4(packet->data + packet->l3);
	/* Within what the packet's own covers. */
	if (!ipq_cut_off(packet) && ipq_inner_find(&inner, packet, &at))
		changed |= transport_mend(&inner);
	changed |= transport_mend(packet);
	return changed;
}
