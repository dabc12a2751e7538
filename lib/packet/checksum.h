/* Checksums, for the files of this room. */
#ifndef IPQ_CHECKSUM_H
#define IPQ_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The Internet checksum (RFC 1071) */

/* Adds len bytes to a sum of 16-bit words in one's complement. A sum begins at 0, and may go on
 * from another where the bytes before were even in number. Any alignment. */
uint32_t ipq_checksum_add(uint32_t sum, const void *bytes, size_t len);
/* The checksum field, in the byte order that it is stored in (store it by memcpy). */
uint16_t ipq_checksum_fold(uint32_t sum);
/* Of two sums that are folded and not complemented, in the same byte order, the sum; and of two of
 * them the difference. */
static inline uint16_t ipq_checksum_plus(uint16_t a, uint16_t b)
{
	return (uint16_t)~ipq_checksum_fold((uint32_t)a + b);
}
static inline uint16_t ipq_checksum_minus(uint16_t a, uint16_t b)
{
	return ipq_checksum_plus(a, (uint16_t)~b);
}

/* What a checksum field has to hold when the sum of what it covers has grown by delta: RFC 1624,
 * equation 3. */
uint16_t ipq_checksum_next(uint16_t checksum, uint16_t delta);

/* Bytes that come over others, at offset at of what a checksum counts. */
struct ipq_change {
	const uint8_t *data; /* all that is counted, as it was, from offset 0 on */
	uint32_t at;
	const uint8_t *bytes;
	uint32_t len;
};

/* Whether they change any of the bytes from offset from up to offset to. */
bool ipq_change_touches(const struct ipq_change *change, uint32_t from, uint32_t to);

/* What the sum of those bytes grows by: RFC 1624, ~m + m'. 0 where they stay as they are. */
uint16_t ipq_change_delta(const struct ipq_change *change, uint32_t from, uint32_t to);

/* Makes the checksum of the IPv4 header right whose options are all there, too (RFC 791). In full: 20
 * bytes cost no more than keeping account of changes. */
void ipq_checksum_ipv4(uint8_t *header);

/* CRC32c, the checksum of SCTP (RFC 9260 appendix A) */

uint32_t ipq_crc32c(const void *bytes, size_t len);
/* The same, as computed where the processor has no instruction for it. */
uint32_t ipq_crc32c_portable(const void *bytes, size_t len);

#endif
