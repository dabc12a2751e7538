/* Text that is made byte by byte: each function writes at to, where its caller has the room, and
 * gives where the next byte goes. No 0 byte ends what is written. */
#ifndef IPQ_TEXT_H
#define IPQ_TEXT_H

#include <stdint.h>
#include <string.h>

enum { IPQ_NUMBER_SIZE = 20 /* bytes of the longest number */ };

static inline char *ipq_put_text(char *to, const char *text)
{
	size_t len = strlen(text);

	memcpy(to, text, len);
	return to + len;
}

/* In decimal, with zeros in front up to that many digits, IPQ_NUMBER_SIZE at most. */
static inline char *ipq_put_padded(char *to, uint64_t number, int digits)
{
	char text[IPQ_NUMBER_SIZE];
	char *at = text + IPQ_NUMBER_SIZE;

	for (; number || digits > 0; number /= 10, digits--)
		*--at = (char)('0' + number % 10);
	memcpy(to, at, (size_t)(text + IPQ_NUMBER_SIZE - at));
	return to + (text + IPQ_NUMBER_SIZE - at);
}

static inline char *ipq_put_number(char *to, uint64_t number)
{
	return ipq_put_padded(to, number, 1);
}

/* In hexadecimal, with small letters, and zeros in front up to that many digits. */
static inline char *ipq_put_hex(char *to, uint32_t number, int digits)
{
	int shift = 28;

	while (shift > (digits - 1) * 4 && !(number >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		*to++ = "0123456789abcdef"[number >> shift & 15];
	return to;
}

#endif
