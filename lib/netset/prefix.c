/* Addresses and prefixes as text. */
#include "prefix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

int ipq_address_parse(uint8_t address[16], const char *text, size_t len)
{
	char copy[INET6_ADDRSTRLEN];

	/* inet_pton() would take a 0 byte for the end. */
	if (len >= sizeof(copy) || memchr(text, 0, len))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = 0;
	memset(address, 0, 16);
	if (inet_pton(AF_INET, copy, address) == 1)
		return 4;
	return inet_pton(AF_INET6, copy, address) == 1 ? 6 : -EINVAL;
}

void ipq_address_text(int version, const uint8_t *address, char *text)
{
	inet_ntop(version == 4 ? AF_INET : AF_INET6, address, text, IPQ_ADDRESS_TEXT);
}

/* The value of a hexadecimal digit, or -1. */
static int digit_parse(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

int ipq_ether_parse(uint8_t address[6], const char *text, size_t len)
{
	enum { BYTES = 6, EACH = 3 };
	uint8_t bytes[BYTES];

	if (len != BYTES * EACH - 1 || (text[2] != ':' && text[2] != '-'))
		return false;
	for (size_t i = 0; i < BYTES; i++) {
		const char *at = text + i * EACH;
		int high = digit_parse(at[0]), low = digit_parse(at[1]);

		if (high < 0 || low < 0 || (i < BYTES - 1 && at[2] != text[2]))
			return false;
		bytes[i] = (uint8_t)(high * 16 + low);
	}
	memcpy(address, bytes, BYTES);
	return true;
}

/* The number that all of text is, in decimal without leading zeros and at most max; or an error. */
static int length_parse(const char *text, size_t len, int max)
{
	int number = 0;

	if (len == 0 || (len > 1 && text[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		if (number <= max)
			number = number * 10 + text[i] - '0';
	}
	return number <= max ? number : -ERANGE;
}

int ipq_prefix_parse(struct ipq_prefix *prefix, const char *text, size_t len)
{
	const char *slash = memchr(text, '/', len);
	size_t address_len = slash ? (size_t)(slash - text) : len;
	int version = ipq_address_parse(prefix->address, text, address_len);
	int length;

	if (version < 0)
		return version;
	length = version == 4 ? 32 : 128;
	if (slash)
		length = length_parse(slash + 1, len - address_len - 1, length);
	if (length < 0)
		return length;
	prefix->version = (uint8_t)version;
	prefix->len = (uint8_t)length;
	return 0;
}
