/* What the receiver of a packet says to its sender. */
#include "make.h"
#include "packet.h"
#include "lib/bytes.h"
#include "lib/ports.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <string.h>

/* An answer's transport header, and what follows it. */
struct answer {
	const struct ipq_packet *packet;
	struct ipq_ends ends; /* of the answer */
	uint32_t header;      /* bytes of the transport header */
	const uint8_t *payload;
	uint32_t payload_len;
};

static bool is_icmp(const struct ipq_packet *packet)
{
	return packet->protocol == (packet->ip_version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Whether a header of that protocol can be turned round. That of ESP is good in one direction alone. */
static bool is_turnable(const struct ipq_packet *packet)
{
	return ipq_has_ports(packet->protocol) || packet->protocol == IPPROTO_GRE ||
	       is_icmp(packet);
}

static bool is_asked(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->data + packet->l4;

	if (packet->protocol == IPPROTO_TCP)
		return !(p[13] & TH_RST);
	if (is_icmp(packet))
		return p[0] == (packet->ip_version == 4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST);
	return true;
}

static int packet_check(const struct ipq_packet *packet, const struct ipq_ends *ends)
{
	bool counts = packet->protocol == IPPROTO_TCP;

	if (ipq_make_is_for_many(packet, ends))
		return -IPQ_UNSENT_RULE;
	/* TCP's acknowledgement counts the bytes of all fragments. */
	if (packet->malformed || !packet->l4 || packet->part || !is_turnable(packet) ||
	    (counts && packet->fragment))
		return -IPQ_UNSENT_MALFORMED;
	return is_asked(packet) ? 0 : -IPQ_UNSENT_RULE;
}

/* The request's payload has to be all there. */
static int echo_take(struct answer *answer)
{
	const struct ipq_packet *packet = answer->packet;
	uint32_t there = (uint32_t)packet->end - packet->body;

	if (packet->fragment || there < ipq_make_payload(packet))
		return -IPQ_UNSENT_MALFORMED;
	answer->payload = packet->data + packet->body;
	answer->payload_len = there;
	return 0;
}

static void tcp_write(const struct answer *answer, uint8_t *bytes)
{
	const uint8_t *p = answer->packet->data + answer->packet->l4;
	uint8_t flags = p[13];
	struct ipq_segment segment = {
		.seq = flags & TH_ACK ? ipq_load32(p + 8) : 0,
		.ack = ipq_load32(p + 4) + ipq_make_payload(answer->packet) + !!(flags & TH_SYN) +
		       !!(flags & TH_FIN),
		.flags = TH_ACK,
		.window = ipq_load16(p + 14),
	};

	if ((flags & (TH_SYN | TH_ACK)) == TH_SYN)
		segment.flags |= TH_SYN;
	ipq_make_tcp(bytes, &answer->ends, &segment);
}

/* The packet's own, with its ports exchanged. */
static void header_write(const struct answer *answer, uint8_t *bytes)
{
	memcpy(bytes, answer->packet->data + answer->packet->l4, answer->header);
	switch (answer->ends.protocol) {
	case IPPROTO_ICMP: bytes[0] = ICMP_ECHOREPLY; break;
	case IPPROTO_ICMPV6: bytes[0] = ICMP6_ECHO_REPLY; break;
	case IPPROTO_UDP: ipq_store16(bytes + 4, answer->header + answer->payload_len); break;
	case IPPROTO_UDPLITE: ipq_store16(bytes + 4, 0); break; /* all is covered */
	case IPPROTO_DCCP: bytes[5] &= 0xf0; break;		/* the same */
	default: break;
	}
	if (!ipq_has_ports(answer->ends.protocol))
		return;
	ipq_store16(bytes, answer->ends.sport);
	ipq_store16(bytes + 2, answer->ends.dport);
}

static int answer_make(const struct answer *answer, uint8_t *bytes, uint32_t size)
{
	uint32_t ip = ipq_make_ip_len(&answer->ends), header = ip + answer->header;
	bool is_tcp = answer->ends.protocol == IPPROTO_TCP;

	if (answer->payload_len > IPQ_PACKET_MAX - header)
		return -IPQ_UNSENT_LENGTH;
	if (header + answer->payload_len > size)
		return -IPQ_UNSENT_ROOM;
	ipq_make_ip(bytes, &answer->ends, answer->header + answer->payload_len, 0, is_tcp);
	if (is_tcp)
		tcp_write(answer, bytes + ip);
	else
		header_write(answer, bytes + ip);
	if (answer->payload_len > 0)
		memcpy(bytes + header, answer->payload, answer->payload_len);
	ipq_make_sums(bytes, header + answer->payload_len);
	return (int)(header + answer->payload_len);
}

int ipq_packet_answer(const struct ipq_packet *from, const struct ipq_tuple *known,
		      const void *payload, uint32_t payload_len, uint8_t *bytes, uint32_t size)
{
	struct ipq_packet packet = *from;
	struct answer answer = {
		.packet = &packet,
		.payload = payload,
		.payload_len = payload ? payload_len : 0,
	};
	int ret;

	if (!packet.parsed)
		ipq_header_parse(&packet);
	if (packet.ip_version == 0)
		return -IPQ_UNSENT_MALFORMED;
	ipq_make_ends(&packet, known, &answer.ends);
	ret = packet_check(&packet, &answer.ends);
	if (ret == 0 && !payload && is_icmp(&packet))
		ret = echo_take(&answer);
	if (ret < 0)
		return ret;
	ipq_make_turn(&answer.ends);
	answer.header = packet.protocol == IPPROTO_TCP ? (uint32_t)IPQ_MAKE_TCP
						       : (uint32_t)packet.body - packet.l4;
	return answer_make(&answer, bytes, size);
}
