/* Initial packets of QUIC and their protection (RFC 9001 section 5, RFC 9369 section 3.3), for the files of this
 * room. */
#ifndef IPQ_INITIAL_H
#define IPQ_INITIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IPQ_QUIC_V1 = 1, IPQ_QUIC_V2 = 0x6b3343cf, IPQ_CID_MAX = 20, IPQ_TAG = 16 };

struct ipq_cid {
	uint8_t len;
	uint8_t bytes[IPQ_CID_MAX];
};

/* What a client's Initials are protected by. */
struct ipq_initial_keys {
	uint8_t key[16];
	uint8_t iv[12];
	uint8_t hp[16];
};

/* The keys that follow from the connection id which the client has addressed its first Initial to, in one of the two
 * versions. */
void ipq_initial_keys(uint32_t version, const struct ipq_cid *cid, struct ipq_initial_keys *keys);

/* An Initial as it stands in a datagram. */
struct ipq_initial {
	const uint8_t *bytes; /* its first one */
	size_t number;	      /* offset of its packet number */
	size_t len;	      /* bytes of it all; behind number at least 4 and a tag */
};

/* Takes the protection off. expected is the packet number that would come next. Gives the packet's number, and its
 * frames at out, which has room for as many bytes as the packet has; false where the keys do not fit, or a bit was
 * changed. */
bool ipq_initial_open(const struct ipq_initial_keys *keys, const struct ipq_initial *initial,
		      uint64_t expected, uint64_t *number, uint8_t *out, size_t *out_len);

#endif
