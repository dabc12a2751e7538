/* What a packet's transport checksum is. */
#ifndef IPQ_TRANSPORT_H
#define IPQ_TRANSPORT_H

#include "lib/ipq_abi.h"

enum ipq_sum {
	IPQ_SUM_NONE, /* the protocol has none, or it is not known here */
	IPQ_SUM_PLAIN,
	IPQ_SUM_PSEUDO, /* a pseudo-header counts too */
	IPQ_SUM_CRC32C
};

/* Offsets in the packet. */
struct ipq_transport {
	enum ipq_sum sum;
	uint16_t start;	  /* where the transport header begins, or would begin */
	uint16_t field;	  /* the checksum; 0 where there is none, or no whole header */
	uint16_t covered; /* where what the checksum covers ends; 0: its coverage is illegal */
	uint16_t len;	  /* as it counts in the pseudo-header */
	/* The addresses of the pseudo-header. */
	uint16_t source;
	uint16_t destination;
	uint16_t address_len;
};

/* The packet must be parsed, and have an IP header. */
void ipq_transport_find(const struct ipq_packet *packet, struct ipq_transport *transport);

/* The sum of the pseudo-header, as the checksum's field has it while others are to finish it, in the
 * order that it is stored in. Not 0. */
uint16_t ipq_transport_pseudo(const struct ipq_packet *packet, const struct ipq_transport *t);

/* What the field has to hold, in the order that it is stored in: 4 bytes of a CRC32c, else 2. The
 * packet must have a field, and legal coverage; the field is as it was afterwards. */
uint32_t ipq_transport_sum(const struct ipq_packet *packet, const struct ipq_transport *t);

/* What a field of 2 bytes has to hold that was right until the sum of what it covers has grown by delta
 * (RFC 1624), or as wrong as it was. The bytes are as they are now. */
uint16_t ipq_transport_next(const struct ipq_packet *packet, const struct ipq_transport *t,
			    uint16_t delta);

/* A checksum as its field has it: UDP's and UDP-Lite's 0 is 0xffff. (RFC 768, RFC 3828) */
uint16_t ipq_transport_stored(const struct ipq_packet *packet, uint16_t checksum);

/* Whether len bytes over those at offset change where headers are, what a checksum covers, or a
 * checksum itself. */
bool ipq_transport_moves(const struct ipq_packet *packet, uint32_t offset, const uint8_t *bytes,
			 uint32_t len);

/* Whether they change how headers are laid out: version, header length, options, extension headers,
 * the fragment field but DF. */
bool ipq_transport_lays_out(const struct ipq_packet *packet, uint32_t offset, const uint8_t *bytes,
			    uint32_t len);

#endif
