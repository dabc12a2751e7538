/* ClientHellos: records, a handshake message alone, and what is made of one that is whole. */
#include "fuzz.h"
#include "lib/names/hello.h"

static void part_check(const struct ipq_hello *hello, const struct ipq_hello_part *part)
{
	CHECK(part->len <= hello->len && part->at <= hello->len - part->len);
}

static void whole_check(const struct ipq_hello *hello)
{
	char ja3[IPQ_JA3_SIZE], ja4[IPQ_JA4_SIZE];

	CHECK(hello->len > 0 && hello->len <= IPQ_HELLO_MAX);
	part_check(hello, &hello->ciphers);
	part_check(hello, &hello->extensions);
	part_check(hello, &hello->versions);
	part_check(hello, &hello->alpn);
	part_check(hello, &hello->groups);
	part_check(hello, &hello->formats);
	part_check(hello, &hello->signatures);
	CHECK(hello->name_len == 0 || (hello->has_sni && hello->sni_error == 0));
	CHECK(!hello->has_sni || (hello->sni_error != 0) == (hello->name_len == 0));
	for (size_t i = 0; i < hello->name_len; i++)
		CHECK(strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", hello->name[i]));
	ipq_hello_ja3(hello, ja3);
	ipq_hello_ja4(hello, ja4);
	CHECK(strlen(ja3) == IPQ_JA3_SIZE - 1 && strlen(ja4) == IPQ_JA4_SIZE - 1);
}

/* Whatever was read leaves no bit of a type set. */
static void types_check(const struct ipq_hello *hello)
{
	for (size_t i = 0; i < IPQ_HELLO_TYPES; i++)
		CHECK(hello->types[i] == 0);
}

/* The same in records of other sizes, asked for as a stream is: by no more bytes than it needs. */
static void again(const uint8_t *message, size_t len, size_t size, const struct ipq_hello *first)
{
	static struct ipq_hello hello;
	uint8_t *records = malloc(len + (len / size + 1) * 5);
	size_t all = 0, there = 1, turns = 0;
	int ret;

	CHECK(records);
	for (size_t at = 0; at < len; at += size) {
		size_t n = len - at < size ? len - at : size;

		memcpy(records + all, "\x16\x03\x01", 3);
		store16(records + all + 3, n);
		memcpy(records + all + 5, message + at, n);
		all += 5 + n;
	}
	while ((ret = ipq_hello_read(&hello, records, there)) == IPQ_HELLO_MORE) {
		CHECK(hello.need > there && hello.need <= all && turns++ < 200);
		there = hello.need;
	}
	CHECK(ret == 0 && hello.len == first->len &&
	      memcmp(hello.body, first->body, first->len) == 0);
	free(records);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct ipq_hello hello;
	struct input in = {bytes, len};
	uint8_t kind = take8(&in);
	size_t size = take8(&in) + 1u;
	uint8_t *copy = own(in.bytes, in.len);
	int ret = kind & 1 ? ipq_hello_message(&hello, copy, in.len)
			   : ipq_hello_read(&hello, copy, in.len);

	CHECK(ret <= 0 && ret >= IPQ_HELLO_ECH && (hello.len > 0) == (ret == 0));
	CHECK(ret != IPQ_HELLO_MORE || kind & 1 || hello.need > in.len);
	CHECK(ipq_hello_strerror(ret));
	types_check(&hello);
	if (ret == 0) {
		whole_check(&hello);
		if (kind & 1)
			again(copy, hello.len + 4, size, &hello);
	}
	free(copy);
	return 0;
}
