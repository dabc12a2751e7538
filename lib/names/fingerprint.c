/*
 * JA3 and JA4: what program a client is, by what it offers.
 *
 * JA3 is the MD5 of "version,ciphers,extensions,groups,formats", lists of decimal numbers with '-' between them.
 * JA4 is three parts with '_' between them: what is offered, how many; ciphers, sorted; extensions, sorted, but for
 * server_name and ALPN, and the signature algorithms in their order. Of the latter two the first 12 digits of the
 * SHA-256 of a list of four hexadecimal digits each, with ',' between them.
 */
#include "hello.h"
#include "lib/bytes.h"

#include <nettle/md5.h>
#include <nettle/sha2.h>
#include <string.h>

enum { SERVER_NAME = 0, ALPN = 16, COUNT_MOST = 99, HASH_DIGITS = 12 };

bool ipq_hello_is_grease(uint32_t value)
{
	return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

static const char digits[] = "0123456789abcdef";

static void put_hex(char *text, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		text[i] = digits[i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4];
}

/* The numbers of a list one after the other; or the types of extensions. */
struct walk {
	const uint8_t *at;
	const uint8_t *end;
	uint8_t size; /* of a number */
	bool is_extensions;
};

static struct walk walk_of(const struct ipq_hello *hello, const struct ipq_hello_part *part,
			   uint8_t size)
{
	const uint8_t *at = hello->body + part->at;

	return (struct walk){at, at + part->len, size, part == &hello->extensions};
}

/* The next number that is no GREASE; false at the end. */
static bool next(struct walk *walk, uint32_t *number)
{
	while (walk->at < walk->end) {
		const uint8_t *at = walk->at;

		*number = walk->size == 1 ? at[0] : ipq_load16(at);
		walk->at += walk->is_extensions ? 4 + ipq_load16(at + 2) : walk->size;
		if (walk->size == 1 || !ipq_hello_is_grease(*number))
			return true;
	}
	return false;
}

/* JA3 */

static void md5_number(struct md5_ctx *md5, uint32_t number)
{
	uint8_t text[5];
	size_t at = sizeof(text);

	do {
		text[--at] = (uint8_t)('0' + number % 10);
		number /= 10;
	} while (number);
	md5_update(md5, sizeof(text) - at, text + at);
}

static void md5_list(struct md5_ctx *md5, struct walk walk)
{
	bool is_first = true;
	uint32_t number;

	md5_update(md5, 1, (const uint8_t *)",");
	while (next(&walk, &number)) {
		if (!is_first)
			md5_update(md5, 1, (const uint8_t *)"-");
		md5_number(md5, number);
		is_first = false;
	}
}

void ipq_hello_ja3(const struct ipq_hello *hello, char text[IPQ_JA3_SIZE])
{
	uint8_t digest[MD5_DIGEST_SIZE];
	struct md5_ctx md5;

	md5_init(&md5);
	md5_number(&md5, hello->version);
	md5_list(&md5, walk_of(hello, &hello->ciphers, 2));
	md5_list(&md5, walk_of(hello, &hello->extensions, 2));
	md5_list(&md5, walk_of(hello, &hello->groups, 2));
	md5_list(&md5, walk_of(hello, &hello->formats, 1));
	md5_digest(&md5, sizeof(digest), digest);
	put_hex(text, digest, 2 * sizeof(digest));
	text[IPQ_JA3_SIZE - 1] = 0;
}

/* JA4 */

/* Shell's sort: it takes no memory, and nobody can choose numbers that make it slow. */
static void sort(uint16_t *numbers, size_t count)
{
	static const size_t gaps[] = {4193, 1073, 281, 77, 23, 8, 1};

	for (size_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++)
		for (size_t i = gaps[g]; i < count; i++) {
			uint16_t number = numbers[i];
			size_t to = i;

			for (; to >= gaps[g] && numbers[to - gaps[g]] > number; to -= gaps[g])
				numbers[to] = numbers[to - gaps[g]];
			numbers[to] = number;
		}
}

/* The numbers of a list; without server_name and ALPN where these are extensions. */
static size_t numbers_of(struct walk walk, uint16_t *numbers)
{
	bool is_extensions = walk.is_extensions;
	size_t count = 0;
	uint32_t number;

	while (next(&walk, &number))
		if (!is_extensions || (number != SERVER_NAME && number != ALPN))
			numbers[count++] = (uint16_t)number;
	return count;
}

static void sha_list(struct sha256_ctx *sha, const uint16_t *numbers, size_t count, char before)
{
	for (size_t i = 0; i < count; i++) {
		uint8_t bytes[2] = {(uint8_t)(numbers[i] >> 8), (uint8_t)numbers[i]};
		char text[5] = {i == 0 ? before : ','};

		put_hex(text + 1, bytes, 4);
		sha256_update(sha, text[0] ? 5 : 4, (const uint8_t *)text + !text[0]);
	}
}

static void put_hash(char *text, struct sha256_ctx *sha, bool is_empty)
{
	uint8_t digest[SHA256_DIGEST_SIZE] = {0};

	if (!is_empty)
		sha256_digest(sha, sizeof(digest), digest);
	put_hex(text, digest, HASH_DIGITS);
}

static const char *version_text(uint32_t version)
{
	switch (version) {
	case 0x0304: return "13";
	case 0x0303: return "12";
	case 0x0302: return "11";
	case 0x0301: return "10";
	case 0x0300: return "s3";
	case 0x0002: return "s2";
	default: return "00";
	}
}

/* The highest version that is offered. */
static uint32_t version_of(const struct ipq_hello *hello)
{
	struct walk walk = walk_of(hello, &hello->versions, 2);
	uint32_t highest = 0, version;

	if (hello->versions.len == 0)
		return hello->version;
	while (next(&walk, &version))
		if (version > highest)
			highest = version;
	return highest;
}

static size_t count_of(struct walk walk)
{
	size_t count = 0;
	uint32_t number;

	while (next(&walk, &number))
		count++;
	return count < COUNT_MOST ? count : COUNT_MOST;
}

static void put_count(char *text, size_t count)
{
	text[0] = (char)('0' + count / 10);
	text[1] = (char)('0' + count % 10);
}

static bool is_alphanumeric(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* Of the first protocol the first and the last byte; where one of them is no letter or digit, the first and the
 * last of its hexadecimal digits. */
static void put_alpn(char *text, const struct ipq_hello *hello)
{
	const uint8_t *at = hello->body + hello->alpn.at, *end = at + hello->alpn.len;
	const uint8_t *last;

	while (at < end && at[0] == 2 && ipq_hello_is_grease(ipq_load16(at + 1)))
		at += 1 + at[0];
	if (at >= end) {
		memcpy(text, "00", 2);
		return;
	}
	last = at + at[0];
	at++;
	text[0] = (char)*at;
	text[1] = (char)*last;
	if (is_alphanumeric(*at) && is_alphanumeric(*last))
		return;
	text[0] = digits[*at >> 4];
	text[1] = digits[*last & 15];
}

void ipq_hello_ja4(const struct ipq_hello *hello, char text[IPQ_JA4_SIZE])
{
	uint16_t numbers[IPQ_HELLO_MAX / 2];
	struct sha256_ctx sha;
	size_t count;

	text[0] = hello->is_quic ? 'q' : 't';
	memcpy(text + 1, version_text(version_of(hello)), 2);
	text[3] = hello->has_sni ? 'd' : 'i';
	put_count(text + 4, count_of(walk_of(hello, &hello->ciphers, 2)));
	put_count(text + 6, count_of(walk_of(hello, &hello->extensions, 2)));
	put_alpn(text + 8, hello);
	text[10] = '_';
	text[23] = '_';
	text[IPQ_JA4_SIZE - 1] = 0;

	count = numbers_of(walk_of(hello, &hello->ciphers, 2), numbers);
	sort(numbers, count);
	sha256_init(&sha);
	sha_list(&sha, numbers, count, 0);
	put_hash(text + 11, &sha, count == 0);

	count = numbers_of(walk_of(hello, &hello->extensions, 2), numbers);
	sort(numbers, count);
	sha256_init(&sha);
	sha_list(&sha, numbers, count, 0);
	if (count > 0) {
		count = numbers_of(walk_of(hello, &hello->signatures, 2), numbers);
		sha_list(&sha, numbers, count, '_');
		count = 1;
	}
	put_hash(text + 24, &sha, count == 0);
}
