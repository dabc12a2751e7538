/* Numbers in the bytes of packets and messages: network order, any alignment. */
#ifndef IPQ_BYTES_H
#define IPQ_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t ipq_load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t ipq_load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t ipq_load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static inline void ipq_store32(uint8_t *p, uint32_t value)
{
	uint32_t v = htobe32(value);

	memcpy(p, &v, sizeof(v));
}

/* The lower 16 bits of value. */
static inline void ipq_store16(uint8_t *p, uint32_t value)
{
	uint16_t v = htobe16((uint16_t)value);

	memcpy(p, &v, sizeof(v));
}

#endif
