/* A ClientHello: out of its records, and what is where in it. */
#include "hello.h"
#include "sni.h"
#include "lib/bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
	RECORD_HEAD = 5,
	RECORD_MAX = 1 << 14,
	HANDSHAKE = 22,
	MESSAGE_HEAD = 4,
	CLIENT_HELLO = 1,
	RANDOM = 32,
	SESSION_MAX = 32
};

enum {
	SERVER_NAME = 0,
	SUPPORTED_GROUPS = 10,
	EC_POINT_FORMATS = 11,
	SIGNATURE_ALGORITHMS = 13,
	ALPN = 16,
	SUPPORTED_VERSIONS = 43,
	ENCRYPTED_CLIENT_HELLO = 0xfe0d
};

struct ipq_hello *ipq_hello_new(void)
{
	return calloc(1, sizeof(struct ipq_hello));
}

void ipq_hello_free(struct ipq_hello *hello)
{
	free(hello);
}

/* What of the body was not read yet. */
struct rest {
	const uint8_t *bytes;
	size_t len;
};

static bool take8(struct rest *rest, uint32_t *value)
{
	if (rest->len < 1)
		return false;
	*value = rest->bytes[0];
	rest->bytes++;
	rest->len--;
	return true;
}

static bool take16(struct rest *rest, uint32_t *value)
{
	if (rest->len < 2)
		return false;
	*value = ipq_load16(rest->bytes);
	rest->bytes += 2;
	rest->len -= 2;
	return true;
}

static bool take_bytes(struct rest *rest, size_t n, struct rest *taken)
{
	if (n > rest->len)
		return false;
	*taken = (struct rest){rest->bytes, n};
	rest->bytes += n;
	rest->len -= n;
	return true;
}

static struct ipq_hello_part part_of(const struct ipq_hello *hello, const struct rest *rest)
{
	return (struct ipq_hello_part){(uint32_t)(rest->bytes - hello->body), (uint32_t)rest->len};
}

/* Extensions that are lists of numbers: how many bytes their length has, and a number. */
struct list {
	uint16_t type;
	uint8_t length_size;
	uint8_t number_size;
	int8_t error;
	uint16_t part;
};

static const struct list lists[] = {
	{SUPPORTED_GROUPS, 2, 2, IPQ_HELLO_GROUPS, offsetof(struct ipq_hello, groups)},
	{EC_POINT_FORMATS, 1, 1, IPQ_HELLO_FORMATS, offsetof(struct ipq_hello, formats)},
	{SIGNATURE_ALGORITHMS, 2, 2, IPQ_HELLO_SIGNATURES, offsetof(struct ipq_hello, signatures)},
	{SUPPORTED_VERSIONS, 1, 2, IPQ_HELLO_VERSIONS, offsetof(struct ipq_hello, versions)},
};

static int read_list(struct ipq_hello *hello, const struct list *list, struct rest rest)
{
	struct ipq_hello_part part;
	uint32_t len;
	bool is_there = list->length_size == 1 ? take8(&rest, &len) : take16(&rest, &len);

	if (!is_there || len != rest.len || len == 0 || len % list->number_size)
		return list->error;
	part = part_of(hello, &rest);
	memcpy((uint8_t *)hello + list->part, &part, sizeof(part));
	return 0;
}

/* RFC 7301 section 3.1 */
static int read_alpn(struct ipq_hello *hello, struct rest rest)
{
	struct rest name;
	uint32_t len;

	if (!take16(&rest, &len) || len != rest.len || len == 0)
		return IPQ_HELLO_ALPN;
	hello->alpn = part_of(hello, &rest);
	while (rest.len > 0)
		if (!take8(&rest, &len) || len == 0 || !take_bytes(&rest, len, &name))
			return IPQ_HELLO_ALPN;
	return 0;
}

/* RFC 9849 section 5: of an outer hello, which offers it (0); the inner one (1) is never seen. */
static int read_ech(struct ipq_hello *hello, struct rest rest)
{
	uint32_t type;

	if (!take8(&rest, &type) || type != 0)
		return IPQ_HELLO_ECH;
	hello->has_ech = 1;
	return 0;
}

static int read_extension(struct ipq_hello *hello, uint32_t type, struct rest rest)
{
	switch (type) {
	case SERVER_NAME: ipq_sni_read(hello, rest.bytes, rest.len); return 0;
	case ALPN: return read_alpn(hello, rest);
	case ENCRYPTED_CLIENT_HELLO: return read_ech(hello, rest);
	default:
		for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
			if (lists[i].type == type)
				return read_list(hello, &lists[i], rest);
		return 0;
	}
}

/* The next extension. False where its lengths are wrong. */
static bool take_extension(struct rest *rest, uint32_t *type, struct rest *body)
{
	uint32_t len;

	return take16(rest, type) && take16(rest, &len) && take_bytes(rest, len, body);
}

/* Notes the type. False where it was noted before. */
static bool note_type(struct ipq_hello *hello, uint32_t type)
{
	uint8_t bit = (uint8_t)(1 << (type & 7));

	if (hello->types[type >> 3] & bit)
		return false;
	hello->types[type >> 3] |= bit;
	return true;
}

static int read_extensions(struct ipq_hello *hello, struct rest rest)
{
	struct rest again = rest, body;
	uint32_t type;
	int ret = 0;

	while (rest.len > 0 && ret == 0) {
		if (!take_extension(&rest, &type, &body))
			ret = IPQ_HELLO_EXTENSIONS;
		else if (!note_type(hello, type))
			ret = IPQ_HELLO_TWICE;
		else
			ret = read_extension(hello, type, body);
	}
	while (again.len > rest.len && take_extension(&again, &type, &body))
		hello->types[type >> 3] = 0;
	return ret;
}

/* The body, of which len bytes are there. */
static int read_body(struct ipq_hello *hello, size_t len)
{
	struct rest rest = {hello->body, len}, part;
	uint32_t value;

	memset(&hello->version, 0,
	       offsetof(struct ipq_hello, name) - offsetof(struct ipq_hello, version));
	if (!take16(&rest, &value) || !take_bytes(&rest, RANDOM, &part))
		return IPQ_HELLO_SESSION;
	hello->version = (uint16_t)value;
	if (!take8(&rest, &value) || value > SESSION_MAX || !take_bytes(&rest, value, &part))
		return IPQ_HELLO_SESSION;
	if (!take16(&rest, &value) || value == 0 || value % 2 || !take_bytes(&rest, value, &part))
		return IPQ_HELLO_CIPHERS;
	hello->ciphers = part_of(hello, &part);
	if (!take8(&rest, &value) || value == 0 || !take_bytes(&rest, value, &part))
		return IPQ_HELLO_COMPRESSION;
	/* Before TLS 1.3 a hello may end here. */
	if (rest.len > 0 && (!take16(&rest, &value) || value != rest.len))
		return IPQ_HELLO_EXTENSIONS;
	hello->extensions = part_of(hello, &rest);
	return read_extensions(hello, rest);
}

static int finish(struct ipq_hello *hello, size_t len)
{
	int ret = read_body(hello, len);

	if (ret == 0)
		hello->len = (uint32_t)len;
	return ret;
}

static uint32_t load24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | ipq_load16(p + 1);
}

/* What was gathered of the message: of its head and of its body. */
struct gathered {
	uint8_t head[MESSAGE_HEAD];
	size_t len; /* of both */
	size_t size;
};

/* Takes more of it, of a record of n bytes of which so many are there. Gives how many it has still to have; 0 or an
 * error where it has them all. */
static int gather(struct ipq_hello *hello, struct gathered *g, const uint8_t *bytes, size_t n)
{
	while (g->len < MESSAGE_HEAD && n > 0) {
		g->head[g->len++] = *bytes++;
		n--;
	}
	if (g->len > 0 && g->head[0] != CLIENT_HELLO)
		return IPQ_HELLO_OTHER;
	if (g->len < MESSAGE_HEAD) {
		g->size = MESSAGE_HEAD + 1;
		return IPQ_HELLO_MORE;
	}
	g->size = MESSAGE_HEAD + load24(g->head + 1);
	if (g->size > MESSAGE_HEAD + IPQ_HELLO_MAX)
		return IPQ_HELLO_TOO_LONG;
	if (n > g->size - g->len)
		n = g->size - g->len;
	if (n > 0)
		memcpy(hello->body + (g->len - MESSAGE_HEAD), bytes, n);
	g->len += n;
	return g->len < g->size ? IPQ_HELLO_MORE : 0;
}

/* Whether these bytes, of which some may not be there yet, begin a record of the handshake. TLS sends none that is
 * empty (RFC 8446 section 5.1). */
static bool is_record(const uint8_t *bytes, size_t len)
{
	if (len > 0 && bytes[0] != HANDSHAKE)
		return false;
	if (len > 1 && bytes[1] != 3)
		return false;
	if (len < RECORD_HEAD)
		return true;
	return ipq_load16(bytes + 3) > 0 && ipq_load16(bytes + 3) <= RECORD_MAX;
}

int ipq_hello_read(struct ipq_hello *hello, const uint8_t *bytes, size_t len)
{
	struct gathered g = {.len = 0, .size = MESSAGE_HEAD + 1};
	size_t at = 0;

	hello->len = 0;
	for (;;) {
		size_t there = len - at, record, n;
		int ret;

		if (!is_record(bytes + at, there))
			return at == 0 ? IPQ_HELLO_NOT_TLS : IPQ_HELLO_BROKEN;
		if (there <= RECORD_HEAD) {
			/* At least a byte of each record has to be there, and all others of the message. */
			hello->need = (uint32_t)(at + (there == 0 && at == 0
							       ? 1
							       : RECORD_HEAD + (g.size - g.len)));
			return IPQ_HELLO_MORE;
		}
		record = ipq_load16(bytes + at + 3);
		n = record < there - RECORD_HEAD ? record : there - RECORD_HEAD;
		ret = gather(hello, &g, bytes + at + RECORD_HEAD, n);
		if (ret == 0)
			return finish(hello, g.size - MESSAGE_HEAD);
		if (ret != IPQ_HELLO_MORE)
			return ret;
		if (n < record) {
			size_t rest = g.size - g.len, here = record - n;

			hello->need = (uint32_t)(len + (rest <= here ? rest
								     : here + RECORD_HEAD +
									       (rest - here)));
			return IPQ_HELLO_MORE;
		}
		at += RECORD_HEAD + record;
	}
}

int ipq_hello_message(struct ipq_hello *hello, const uint8_t *bytes, size_t len)
{
	struct gathered g = {.len = 0};
	int ret;

	hello->len = 0;
	ret = gather(hello, &g, bytes, len);
	return ret < 0 ? ret : finish(hello, g.size - MESSAGE_HEAD);
}

const char *ipq_hello_strerror(int error)
{
	switch (error) {
	case IPQ_HELLO_MORE: return "more";
	case IPQ_HELLO_NOT_TLS: return "not TLS";
	case IPQ_HELLO_OTHER: return "another message than a ClientHello";
	case IPQ_HELLO_BROKEN: return "the ClientHello is broken off by another record";
	case IPQ_HELLO_TOO_LONG: return "the ClientHello has more than 65536 bytes";
	case IPQ_HELLO_SESSION: return "malformed ClientHello: session_id";
	case IPQ_HELLO_CIPHERS: return "malformed ClientHello: cipher_suites";
	case IPQ_HELLO_COMPRESSION: return "malformed ClientHello: compression_methods";
	case IPQ_HELLO_EXTENSIONS: return "malformed ClientHello: extensions";
	case IPQ_HELLO_TWICE: return "malformed ClientHello: an extension comes twice";
	case IPQ_HELLO_ALPN: return "malformed ClientHello: application_layer_protocol_negotiation";
	case IPQ_HELLO_VERSIONS: return "malformed ClientHello: supported_versions";
	case IPQ_HELLO_GROUPS: return "malformed ClientHello: supported_groups";
	case IPQ_HELLO_FORMATS: return "malformed ClientHello: ec_point_formats";
	case IPQ_HELLO_SIGNATURES: return "malformed ClientHello: signature_algorithms";
	case IPQ_HELLO_ECH: return "malformed ClientHello: encrypted_client_hello";
	default: return "there is no error";
	}
}
