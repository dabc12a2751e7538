/* What the packets of our own are made of, for the files of this room. */
#ifndef IPQ_MAKE_H
#define IPQ_MAKE_H

#include "lib/ipq_abi.h"

enum { IPQ_MAKE_IPV4 = 20, IPQ_MAKE_IPV6 = 40, IPQ_MAKE_TCP = 20, IPQ_MAKE_TTL = 64 };

/* Who sent a packet to whom. The addresses are where the packet, or what is known of it, has them. */
struct ipq_ends {
	uint8_t ip_version;
	uint8_t protocol;
	uint16_t sport; /* 0 where there are none */
	uint16_t dport;
	const uint8_t *source;
	const uint8_t *destination;
};

/* Whether known tells of a packet like this one; NULL does not. */
bool ipq_make_is_known(const struct ipq_packet *packet, const struct ipq_tuple *known);

/* The ends of a parsed packet with an IP header: as known has them, or where that is NULL or of another
 * protocol or IP version, as the packet has them. */
void ipq_make_ends(const struct ipq_packet *packet, const struct ipq_tuple *known,
		   struct ipq_ends *ends);
/* The same ends seen from the other side. */
void ipq_make_turn(struct ipq_ends *ends);

/* Whether nobody may answer the packet for the addresses that it has, or its ends, or its link header:
 * it came to many, or from many, or from nobody. (RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)) */
bool ipq_make_is_for_many(const struct ipq_packet *packet, const struct ipq_ends *ends);

/* Bytes of the packet behind its transport header, of which there is one: as many as there are on the
 * wire. */
uint32_t ipq_make_payload(const struct ipq_packet *packet);

/* How long the IP header is in front of what these ends say. */
uint32_t ipq_make_ip_len(const struct ipq_ends *ends);

/* Writes an IP header of that length without a checksum, for len bytes that follow; tos and whether
 * IPv4's DF is set. */
void ipq_make_ip(uint8_t *bytes, const struct ipq_ends *ends, uint32_t len, uint8_t tos,
		 bool is_whole);

/* A TCP header without options. */
struct ipq_segment {
	uint32_t seq;
	uint32_t ack;
	uint8_t flags;
	uint16_t window;
};
/* Writes it, of IPQ_MAKE_TCP bytes and without a checksum. */
void ipq_make_tcp(uint8_t *bytes, const struct ipq_ends *ends, const struct ipq_segment *segment);

/* Computes all of the packet's checksums. It is len bytes long, and its lengths are right. */
void ipq_make_sums(uint8_t *bytes, uint32_t len);

#endif
