/*
 * Heads of HTTP/1.x messages (RFC 9112): where their parts are, and how long their bodies are.
 *
 * Called by   Lua: bindings/ipq/http.lua.
 *
 * States      of a head: its first line is awaited, its fields, or it is whole. Bytes may come in any
 *             pieces: a call goes on where the one before has stopped, and looks at no byte twice.
 *
 * Always      What two readers could understand in two ways is refused: a body with two lengths, a bare
 *             carriage return, a blank in front of a colon, a framing field that goes on in the next line.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations
 * only.
 */
#ifndef IPQ_HTTP_H
#define IPQ_HTTP_H

#include "lib/ipq_abi.h"

enum ipq_http_limits {
	IPQ_HTTP_FIELDS = 256,	   /* of a head */
	IPQ_HTTP_LENGTH_MOST = 15, /* digits of a Content-Length: what a Lua number has exactly */
	IPQ_HTTP_CHUNK_MOST = 12   /* hexadecimal digits of a chunk's */
};

enum ipq_http_kind {
	IPQ_HTTP_REQUEST = 0,
	IPQ_HTTP_RESPONSE = 1,
	IPQ_HTTP_TRAILERS = 2 /* what follows the last chunk: fields alone */
};

enum ipq_http_bits {
	IPQ_HTTP_HAS_LENGTH = 1, /* Content-Length */
	IPQ_HTTP_CODED = 2,	 /* Transfer-Encoding */
	IPQ_HTTP_CHUNKED = 4,	 /* whose last word is chunked */
	IPQ_HTTP_HAS_HOST = 8,
	IPQ_HTTP_UPGRADES = 16 /* Upgrade */
};

/* Why a head is refused. */
enum ipq_http_error {
	IPQ_HTTP_NOT_HTTP = -1,
	IPQ_HTTP_VERSION = -2,
	IPQ_HTTP_BARE_CR = -3,
	IPQ_HTTP_ZERO = -4,
	IPQ_HTTP_NAME = -5,
	IPQ_HTTP_BLANK = -6,
	IPQ_HTTP_FOLD = -7,
	IPQ_HTTP_BAD_LENGTH = -8,
	IPQ_HTTP_LENGTHS = -9,
	IPQ_HTTP_BOTH = -10,
	IPQ_HTTP_CODING = -11,
	IPQ_HTTP_HOSTS = -12,
	IPQ_HTTP_TOO_MANY = -13,
	IPQ_HTTP_OLD_CODING = -14,
	IPQ_HTTP_CHUNK = -15,
	IPQ_HTTP_ERRORS = 16
};

/* A field, as offsets into the head. The value is without blanks around it; where it is folded (RFC 9112
 * section 5.2), its line ends are within it. */
struct ipq_http_field {
	uint32_t at; /* of its line, which begins with the name */
	uint32_t name_len;
	uint32_t value;
	uint32_t value_len;
	uint32_t end; /* behind what ends its last line */
	uint32_t is_folded;
};

struct ipq_http_head {
	uint64_t length;   /* Content-Length */
	uint32_t at;	   /* where the next line begins */
	uint32_t scanned;  /* no line ends between at and here */
	uint32_t count;	   /* fields */
	uint32_t end_len;  /* bytes that end its last line, 1 or 2 */
	uint32_t first;	   /* the method's bytes, or where the text behind the status begins */
	uint32_t text_len; /* of that text */
	uint32_t target;   /* where the request's target begins, and how long it is */
	uint32_t target_len;
	uint16_t status; /* of a response */
	uint8_t minor;	 /* of the version: HTTP/1.minor */
	uint8_t kind;	 /* enum ipq_http_kind */
	uint8_t bits;	 /* enum ipq_http_bits */
	uint8_t framing; /* the field before says how long the body is */
	uint8_t unused[2];
	struct ipq_http_field fields[IPQ_HTTP_FIELDS];
};

/* Begins a head of that kind. fields are left as they are. */
void ipq_http_begin(struct ipq_http_head *head, uint32_t kind);

/* Reads a head from its first byte on, of which len bytes have come; more than at the call before, which they
 * follow. Gives the size of the head, with the empty line that ends it; 0, where that has not come; or a
 * negative number of enum ipq_http_error, as soon as it is known. */
int ipq_http_read(struct ipq_http_head *head, const uint8_t *bytes, uint32_t len);

/* The number of the first field from there on that has the name, in whatever case, or -1. text is the head. */
int ipq_http_find(const char *text, const struct ipq_http_field *fields, uint32_t count,
		  uint32_t from, const char *name, size_t len);

/* Whether text is a token (RFC 9110 section 5.6.2), as a field's name is. */
bool ipq_http_is_token(const char *text, size_t len);

/* Reads the line that begins a chunk (RFC 9112 section 7.1), with what ends it. 0, or IPQ_HTTP_CHUNK. */
int ipq_http_chunk(const uint8_t *line, uint32_t len, uint64_t *size);

/* A number of enum ipq_http_error in words, never NULL. */
const char *ipq_http_strerror(int error);

#endif
