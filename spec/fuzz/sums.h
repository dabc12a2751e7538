/* Checksums, byte pair by byte pair and bit by bit, with nothing of lib in it. */
#ifndef IPQ_FUZZ_SUMS_H
#define IPQ_FUZZ_SUMS_H

#include <stddef.h>
#include <stdint.h>

/* Adds len bytes as 16-bit words in network order, modulo 65535: 0 and 65535 are the same. */
static inline uint32_t sum_add(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum = (sum + (i & 1 ? p[i] : (uint32_t)p[i] << 8)) % 0xffff;
	return sum;
}

static inline uint32_t sum_pseudo(const uint8_t *source, const uint8_t *destination,
				  size_t address_len, uint32_t len, uint8_t protocol)
{
	uint32_t sum = sum_add(0, source, address_len);

	sum = sum_add(sum, destination, address_len);
	return (sum + len + protocol) % 0xffff;
}

static inline uint32_t crc_of(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

#endif
