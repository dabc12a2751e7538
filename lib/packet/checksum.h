/* Checksums, for the files of this room. */
#ifndef IPQ_CHECKSUM_H
#define IPQ_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The Internet checksum (RFC 1071) */

/* Adds len bytes to a sum of 16-bit words in one's complement. A sum begins at 0, and may go on
 * from another where the bytes before were even in number. Any alignment. */
uint32_t ipq_checksum_add(uint32_t sum, const void *bytes, size_t len);
/* The checksum field, in the byte order that it is stored in (store it by memcpy). */
uint16_t ipq_checksum_fold(uint32_t sum);
/* The sum of the pseudo-header of a packet whose IP header is at ip (version 4 or 6), for a
 * transport of len bytes. (RFC 9293 section 3.1, RFC 8200 section 8.1) */
uint32_t ipq_checksum_pseudo(const uint8_t *ip, uint8_t protocol, uint32_t len);

/* CRC32c, the checksum of SCTP (RFC 9260 appendix A) */

uint32_t ipq_crc32c(const void *bytes, size_t len);
/* The same, as computed where the processor has no instruction for it. */
uint32_t ipq_crc32c_portable(const void *bytes, size_t len);

#endif
