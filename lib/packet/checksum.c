/* The Internet checksum (RFC 1071). */
#include "checksum.h"
#include "packet.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

static uint64_t word_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The sum of the last bytes, 7 at most: behind an odd one is a 0. A copy of no constant length would
 * be made byte by byte, and a word that is loaded from it has to wait for all of them. */
static uint64_t rest_at(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;
	uint32_t four;
	uint16_t two;

	if (len & 4) {
		memcpy(&four, p, sizeof(four));
		sum += four;
		p += sizeof(four);
	}
	if (len & 2) {
		memcpy(&two, p, sizeof(two));
		sum += two;
		p += sizeof(two);
	}
	if (len & 1)
		sum += htons((uint16_t)(*p << 8));
	return sum;
}

/* One's complement addition: what is carried out of the top comes in at the bottom. */
static uint64_t add64(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) + sum;
}

static uint32_t fold64(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (uint32_t)((sum & 0xffffffff) + (sum >> 32));
}

/* RFC 1071 section 2: the sum of words of 64 bits folds to that of 16 bits, and words loaded in
 * this machine's byte order give a sum in this machine's byte order. */
uint32_t ipq_checksum_add(uint32_t sum, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint64_t a = sum, b = 0, c = 0, d = 0;

	for (; len >= 32; p += 32, len -= 32) {
		a = add64(a, word_at(p));
		b = add64(b, word_at(p + 8));
		c = add64(c, word_at(p + 16));
		d = add64(d, word_at(p + 24));
	}
	for (; len >= 8; p += 8, len -= 8)
		a = add64(a, word_at(p));
	if (len > 0)
		a = add64(a, rest_at(p, len));
	return fold64(add64(add64(a, b), add64(c, d)));
}

uint16_t ipq_checksum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

/* Two sums are 0 in one's complement; that of a packet is 0xffff, as only zeros sum to the other. */
uint16_t ipq_checksum_next(uint16_t checksum, uint16_t delta)
{
	uint16_t next = ipq_checksum_fold((uint32_t)(uint16_t)~checksum + delta);

	return next == 0xffff ? 0 : next;
}

void ipq_checksum_ipv4(uint8_t *header)
{
	uint16_t checksum;

	memset(header + 10, 0, sizeof(checksum));
	checksum = ipq_checksum_fold(ipq_checksum_add(0, header, (header[0] & 15U) * 4));
	memcpy(header + 10, &checksum, sizeof(checksum));
}

/* The part of the change from offset from up to offset to: where it begins, and how long it is. */
static uint32_t change_part(const struct ipq_change *change, uint32_t *from, uint32_t to)
{
	if (*from < change->at)
		*from = change->at;
	if (to > change->at + change->len)
		to = change->at + change->len;
	return to > *from ? to - *from : 0;
}

bool ipq_change_touches(const struct ipq_change *change, uint32_t from, uint32_t to)
{
	uint32_t len = change_part(change, &from, to);

	return len > 0 &&
	       memcmp(change->data + from, change->bytes + (from - change->at), len) != 0;
}

/* A byte at an odd offset is the other half of its word. */
uint16_t ipq_change_delta(const struct ipq_change *change, uint32_t from, uint32_t to)
{
	uint32_t len = change_part(change, &from, to);
	const uint8_t *after;
	uint16_t was, is, delta;

	if (!ipq_change_touches(change, from, to))
		return 0;
	after = change->bytes + (from - change->at);
	was = ipq_checksum_fold(ipq_checksum_add(0, change->data + from, len));
	is = (uint16_t)~ipq_checksum_fold(ipq_checksum_add(0, after, len));
	delta = ipq_checksum_plus(was, is);
	return from & 1 ? __builtin_bswap16(delta) : delta;
}

uint16_t ipq_checksum_read(const void *bytes, size_t len)
{
	return be16toh(ipq_checksum_fold(ipq_checksum_add(0, bytes, len)));
}
