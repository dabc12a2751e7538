/* What fuzz targets share: their input as a stream of choices, memory that ends where it ends, and
 * a check. */
#ifndef IPQ_FUZZ_H
#define IPQ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/netset/prefix.h"
#include "lib/packet/packet.h"
#include "lib/queue/batch.h"
#include "lib/queue/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define CHECK(condition)                                                                   \
	do {                                                                               \
		if (!(condition)) {                                                        \
			dprintf(2, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                           \
		}                                                                          \
	} while (0)

struct input {
	const uint8_t *bytes;
	size_t len;
};

/* The next n bytes at most; n becomes what there is. */
static inline const uint8_t *take(struct input *in, size_t *n)
{
	const uint8_t *bytes = in->bytes;

	if (*n > in->len)
		*n = in->len;
	in->bytes += *n;
	in->len -= *n;
	return bytes;
}

/* Numbers; 0 at the end. */
static inline uint8_t take8(struct input *in)
{
	size_t n = 1;
	const uint8_t *p = take(in, &n);

	return n ? *p : 0;
}

static inline uint16_t take16(struct input *in)
{
	uint16_t high = take8(in);

	return (uint16_t)(high << 8 | take8(in));
}

/* A copy in memory of its own, where AddressSanitizer sees who reads on. The caller frees it. */
static inline void *own(const void *bytes, size_t len)
{
	void *copy = malloc(len ? len : 1);

	CHECK(copy);
	if (len)
		memcpy(copy, bytes, len);
	return copy;
}

static inline uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void store16(uint8_t *p, size_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

#endif
