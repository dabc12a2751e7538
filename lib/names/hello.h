/*
 * The ClientHello of TLS, in which a client says what it wants to talk to: RFC 8446 section 4.1.2, RFC 5246
 * section 7.4.1.2.
 *
 * Called by   Lua: bindings/ipq/tls.lua, for bytes of TCP; quic.c, for what is in CRYPTO frames.
 *
 * States      of a struct ipq_hello: it has nothing (a function has refused, or none was called), or a whole
 *             hello, whose places lie in its own memory: nothing points into the bytes that were read.
 *
 * Always      Any bytes are taken. All of the hello's structure is looked at before anything of it is given: one
 *             that a server would not understand has no name. The time is linear in the bytes, and nothing
 *             that is called with a hello allocates or makes a system call.
 *
 * How         hello.c reads records and the hello itself, sni.c the server's name, fingerprint.c makes the
 *             fingerprints.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations only.
 */
#ifndef IPQ_HELLO_H
#define IPQ_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ipq_hello_limits {
	IPQ_HELLO_MAX = 65536, /* bytes of a hello, without the four in front of it */
	IPQ_HELLO_NAME = 256,
	IPQ_HELLO_TYPES = 8192, /* bytes with a bit of each type of an extension */
	IPQ_JA3_SIZE = 33,	/* of the texts, with their 0 bytes */
	IPQ_JA4_SIZE = 37
};

/* Why there is no hello. */
enum ipq_hello_error {
	IPQ_HELLO_OK = 0,
	IPQ_HELLO_MORE = -1, /* it is not all there yet */
	IPQ_HELLO_NOT_TLS = -2,
	IPQ_HELLO_OTHER = -3,	 /* it is TLS, but another message */
	IPQ_HELLO_BROKEN = -4,	 /* a record of another type, or none, comes before its end */
	IPQ_HELLO_TOO_LONG = -5, /* more than IPQ_HELLO_MAX bytes */
	/* It is malformed: a length is not what it has to be. */
	IPQ_HELLO_SESSION = -6,
	IPQ_HELLO_CIPHERS = -7,
	IPQ_HELLO_COMPRESSION = -8,
	IPQ_HELLO_EXTENSIONS = -9,
	IPQ_HELLO_TWICE = -10, /* an extension comes twice */
	IPQ_HELLO_ALPN = -11,
	IPQ_HELLO_VERSIONS = -12,
	IPQ_HELLO_GROUPS = -13,
	IPQ_HELLO_FORMATS = -14,
	IPQ_HELLO_SIGNATURES = -15,
	IPQ_HELLO_ECH = -16
};

/* Why the extension server_name, which is there, has no name that can be told (RFC 6066 section 3). */
enum ipq_sni_error {
	IPQ_SNI_OK = 0,
	IPQ_SNI_LENGTHS = 1, /* they do not add up */
	IPQ_SNI_NONE = 2,    /* it has no host name */
	IPQ_SNI_TWICE = 3,   /* it has several */
	IPQ_SNI_LONG = 4,    /* more than 253 bytes, or a label of more than 63 */
	IPQ_SNI_BYTES = 5,   /* a byte that is in no host name */
	IPQ_SNI_LABEL = 6,   /* a label is empty: a dot at its begin or end, or two in a row */
	IPQ_SNI_ADDRESS = 7  /* it is an address */
};

/* A part of the body; len is 0 where it is not there. */
struct ipq_hello_part {
	uint32_t at;
	uint32_t len;
};

/* The parts are lists of 16-bit numbers, but for those that say otherwise. */
struct ipq_hello {
	uint32_t len; /* bytes of the body; 0: there is no hello */
	uint32_t
		need; /* with IPQ_HELLO_MORE: so many bytes have to be there before more can be said */
	uint32_t name_hash;
	uint16_t version;  /* legacy_version */
	uint8_t name_len;  /* 0: there is no name */
	uint8_t sni_error; /* enum ipq_sni_error */
	uint8_t has_sni;   /* the extension is there, whatever is in it */
	uint8_t has_ech;   /* encrypted_client_hello is offered (RFC 9849), or pretended to be */
	uint8_t is_quic;
	struct ipq_hello_part ciphers;
	struct ipq_hello_part extensions; /* type, length and bytes of each */
	struct ipq_hello_part versions;
	struct ipq_hello_part alpn; /* a length in a byte, and so many bytes, of each */
	struct ipq_hello_part groups;
	struct ipq_hello_part formats; /* bytes */
	struct ipq_hello_part signatures;
	char name[IPQ_HELLO_NAME];	/* in lower case */
	uint8_t types[IPQ_HELLO_TYPES]; /* zeros between calls */
	uint8_t body[IPQ_HELLO_MAX];
};

/* What a script has of a hello is a pointer to this, which nothing is behind (bindings/ipq/packet/hello.lua). */
struct ipq_hello_view;

/* Memory for a hello, of which no more is used than hellos have; NULL: there is none. ipq_hello_free() takes NULL. */
struct ipq_hello *ipq_hello_new(void);
void ipq_hello_free(struct ipq_hello *hello);

/* Reads the hello that a client's bytes begin with, in any number of records (RFC 8446 section 5.1). Bytes behind
 * it are not looked at. Gives 0 or enum ipq_hello_error. */
int ipq_hello_read(struct ipq_hello *hello, const uint8_t *bytes, size_t len);

/* The same of a handshake message without records, as QUIC has it. */
int ipq_hello_message(struct ipq_hello *hello, const uint8_t *bytes, size_t len);

/* The reasons in words; never NULL. Of IPQ_HELLO_MORE and IPQ_HELLO_NOT_TLS these are "more" and "not TLS". */
const char *ipq_hello_strerror(int error);
const char *ipq_sni_strerror(int error);

/* Whether a value is one of those that clients offer for nothing but that servers get used to unknown ones
 * (GREASE, RFC 8701). */
bool ipq_hello_is_grease(uint32_t value);

/* The fingerprints as text that ends with a 0 byte: JA3's MD5 in hexadecimal digits, and JA4. GREASE is left out
 * of both. The hello must be whole. */
void ipq_hello_ja3(const struct ipq_hello *hello, char text[IPQ_JA3_SIZE]);
void ipq_hello_ja4(const struct ipq_hello *hello, char text[IPQ_JA4_SIZE]);

#endif
