/* ICMP errors about segments that were translated: what they quote is what their receiver has
 * sent. */
#include "talk.h"
#include "lib/bytes.h"

#include <endian.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>

/* The least MTU of a way: RFC 791 section 3.2, RFC 8200 section 5. */
enum { MTU_LEAST_4 = 576, MTU_LEAST_6 = 1280, HEADERS_4 = 40, HEADERS_6 = 60 };

/* The MTU that a packet tells of; 0: it tells of none. (RFC 1191, RFC 4443 section 3.2) */
static uint32_t mtu_of(const struct ipq_packet *packet)
{
	const uint8_t *icmp = packet->data + packet->l4;
	uint32_t mtu;

	if (packet->protocol == IPPROTO_ICMP && icmp[0] == ICMP_DEST_UNREACH &&
	    icmp[1] == ICMP_FRAG_NEEDED)
		mtu = ipq_load16(icmp + 6);
	else if (packet->protocol == IPPROTO_ICMPV6 && icmp[0] == ICMP6_PACKET_TOO_BIG)
		mtu = ipq_load32(icmp + 4);
	else
		return 0;
	return mtu > (packet->ip_version == 4 ? MTU_LEAST_4 : MTU_LEAST_6)
		       ? mtu
		       : (uint32_t)(packet->ip_version == 4 ? MTU_LEAST_4 : MTU_LEAST_6);
}

/* Segments that are larger than that do not go with a packet any more. */
static void learn(struct ipq_stream_half *half, const struct ipq_packet *packet)
{
	uint32_t mtu = mtu_of(packet);
	uint32_t headers = packet->ip_version == 4 ? HEADERS_4 : HEADERS_6;

	if (mtu && mtu - headers < half->mss)
		half->mss = (uint16_t)(mtu - headers);
}

int ipq_stream_icmp(struct ipq_streams *streams, struct ipq_packet *packet,
		    struct ipq_stream *stream)
{
	/* It goes to who has sent what it quotes. */
	struct ipq_stream_half *half = &stream->half[!(packet->flow_direction & 1)];
	struct ipq_inside inside;
	struct ipq_packet *quoted;
	uint32_t at, seq;
	uint64_t out;

	if (!packet->l4 || (packet->protocol != IPPROTO_ICMP && packet->protocol != IPPROTO_ICMPV6))
		return IPQ_REWRITE_OK;
	learn(half, packet);
	at = ipq_inside_quoted(packet);
	quoted = at ? ipq_inside_open(&inside, packet, at) : NULL;
	if (!quoted || quoted->protocol != IPPROTO_TCP || !quoted->l4 ||
	    quoted->body - quoted->l4 < 8 || ipq_stream_is_plain(half))
		return IPQ_REWRITE_OK;
	memcpy(&seq, quoted->data + quoted->l4 + 4, sizeof(seq));
	out = ipq_stream_position(half->acked, half->isn, be32toh(seq));
	out = ipq_stream_earlier(ipq_stream_original(streams, half, out), half->seen);
	seq = htobe32(ipq_stream_sequence(half->isn, out));
	return ipq_rewrite_store(quoted, quoted->l4 + 4U, &seq, sizeof(seq));
}
