/* The server's name that a client says (RFC 6066 section 3). */
#include "sni.h"
#include "lib/bytes.h"

#include <string.h>

enum { HOST_NAME = 0, NAME_MAX_LEN = 253, LABEL_MAX_LEN = 63 };

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* The letter in lower case; 0 where it is none that a label has. The underscore is in no host name, but in many
 * names of hosts. */
static uint8_t letter_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint8_t)(c | 0x20);
	return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_' ? c : 0;
}

/* Takes the name over, in lower case. What ends in a label of digits alone is an address, or nothing. */
static enum ipq_sni_error take(struct ipq_hello *hello, const uint8_t *name, size_t len)
{
	uint32_t hash = 2166136261;
	size_t label = 0, digits = 0;

	if (len > NAME_MAX_LEN)
		return IPQ_SNI_LONG;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = name[i] == '.' ? '.' : letter_of(name[i]);

		if (!c)
			return memchr(name, ':', len) ? IPQ_SNI_ADDRESS : IPQ_SNI_BYTES;
		if (c == '.' && label == 0)
			return IPQ_SNI_LABEL;
		label = c == '.' ? 0 : label + 1;
		digits = c == '.' ? 0 : digits + is_digit(c);
		if (label > LABEL_MAX_LEN)
			return IPQ_SNI_LONG;
		hello->name[i] = (char)c;
		hash = (hash ^ c) * 16777619;
	}
	if (label == 0)
		return IPQ_SNI_LABEL;
	if (digits == label)
		return IPQ_SNI_ADDRESS;
	hello->name_len = (uint8_t)len;
	hello->name_hash = hash ^ hash >> 15;
	return IPQ_SNI_OK;
}

/* Finds the one host name in the list; names of other types may stand beside it. */
static enum ipq_sni_error find(const uint8_t *list, size_t len, const uint8_t **name, size_t *size)
{
	*name = NULL;
	while (len > 0) {
		size_t n;

		if (len < 3)
			return IPQ_SNI_LENGTHS;
		n = ipq_load16(list + 1);
		if (n > len - 3)
			return IPQ_SNI_LENGTHS;
		if (list[0] == HOST_NAME && *name)
			return IPQ_SNI_TWICE;
		if (list[0] == HOST_NAME) {
			*name = list + 3;
			*size = n;
		}
		list += 3 + n;
		len -= 3 + n;
	}
	return *name && *size > 0 ? IPQ_SNI_OK : IPQ_SNI_NONE;
}

void ipq_sni_read(struct ipq_hello *hello, const uint8_t *bytes, size_t len)
{
	enum ipq_sni_error error = IPQ_SNI_LENGTHS;
	const uint8_t *name;
	size_t size = 0;

	hello->has_sni = 1;
	if (len >= 2 && ipq_load16(bytes) == len - 2) {
		error = find(bytes + 2, len - 2, &name, &size);
		if (error == IPQ_SNI_OK)
			error = take(hello, name, size);
	}
	hello->sni_error = (uint8_t)error;
}

const char *ipq_sni_strerror(int error)
{
	switch (error) {
	case IPQ_SNI_LENGTHS: return "the lengths in server_name do not add up";
	case IPQ_SNI_NONE: return "server_name has no name";
	case IPQ_SNI_TWICE: return "server_name has several names";
	case IPQ_SNI_LONG: return "the name has more than 253 bytes, or a label of more than 63";
	case IPQ_SNI_BYTES: return "the name has a byte that is in no name";
	case IPQ_SNI_LABEL: return "the name begins or ends with a dot, or has two in a row";
	case IPQ_SNI_ADDRESS: return "the name is an address";
	default: return "there is no error";
	}
}
