/*
 * DNS messages: RFC 1035.
 *
 * Called by   Lua: bindings/ipq/dns.lua and the files in bindings/ipq/dns/.
 *
 * Always      A message's bytes are a copy, so nothing that becomes of a packet changes it. A name is
 *             read in at most as many steps as it has bytes: what it refers to (compression) lies
 *             before the reference, each time. Nothing is read behind the message's end.
 *
 * Names in text are in small letters. A byte that is no graphic character of ASCII, a dot within a
 * label, and a backslash are "\" and three decimal digits, so that dots are between labels alone. The
 * root is ".".
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations
 * only.
 */
#ifndef IPQ_DNS_H
#define IPQ_DNS_H

#include "lib/ipq_abi.h"

struct ipq_dns_view; /* what Lua has of a message: its serial, in a pointer's bits */

enum {
	IPQ_DNS_HEADER = 12,
	IPQ_DNS_MOST = 65535,	  /* bytes of a message */
	IPQ_DNS_NAME_TEXT = 1024, /* what any name's text has room in */
	IPQ_DNS_NAME_WIRE = 255,
	IPQ_DNS_NAME_SLOTS = 4096, /* of what Lua keeps of names: a power of two */
	IPQ_DNS_SECTIONS = 4,	   /* questions, answers, authorities, additional */
	IPQ_DNS_SUFFIXES = 16,	   /* that a name may refer to where a message is written */
};

/* Why a message cannot be read, as negative numbers. */
enum ipq_dns_error {
	IPQ_DNS_NO_UDP = 1, /* the packet is no UDP */
	IPQ_DNS_SHORT,	    /* there is no whole header */
	IPQ_DNS_LARGE,	    /* there are more bytes than a message has */
	IPQ_DNS_CUT,	    /* it ends within a name, a question or a record */
	IPQ_DNS_LABEL,	    /* a label is of a kind that there is not */
	IPQ_DNS_LOOP,	    /* a name refers to what is not before it */
	IPQ_DNS_LONG,	    /* a name has more than 255 bytes */
	IPQ_DNS_DATA,	    /* the data of a record is not what its type wants */
};

/* A message. What the first question asks for is read with the header: where there is no question, name
 * is empty, which the root's is not. */
struct ipq_dns {
	uint64_t serial; /* another one for each message */
	uint32_t len;
	uint32_t slot; /* of the name, below IPQ_DNS_NAME_SLOTS */
	uint16_t id;
	uint16_t flags;
	uint16_t counts[4]; /* by section */
	uint16_t type;	    /* of the first question, and its class */
	uint16_t class;
	uint16_t name_len;
	char name[1024];
	uint8_t bytes[65535];
};

/* A question or a record. A question has no ttl and no data. */
struct ipq_dns_record {
	uint32_t ttl;
	uint16_t type;
	uint16_t class;
	uint32_t data; /* where it is in the message */
	uint32_t data_len;
	uint32_t name_len;
	char name[1024];
};

/* A message that is being written. */
struct ipq_dns_writer {
	uint32_t len;
	uint8_t is_full; /* there was more than IPQ_DNS_MOST bytes */
	uint8_t count;	 /* of suffixes */
	uint16_t at[16]; /* names that are there: where, and how many bytes each would have alone */
	uint16_t size[16];
	uint8_t bytes[65535];
};

/* Takes a copy of a message, len bytes, and reads its header and its first question. 0 or the error,
 * after which there is no message in it. */
int ipq_dns_parse(struct ipq_dns *message, const uint8_t *bytes, size_t len);

/* The same of what a packet carries in UDP, whatever its ports. */
int ipq_dns_parse_packet(struct ipq_dns *message, struct ipq_packet *packet);

/* Where a section begins; or the error. */
int32_t ipq_dns_section(const struct ipq_dns *message, uint32_t section);

/* Reads the question, or the record, at an offset. Gives the offset behind it, or the error. */
int32_t ipq_dns_question(const struct ipq_dns *message, uint32_t at, struct ipq_dns_record *record);
int32_t ipq_dns_record(const struct ipq_dns *message, uint32_t at, struct ipq_dns_record *record);

/* Reads the name at an offset, of which no byte but those referred to is at end or behind it. text has
 * room for IPQ_DNS_NAME_TEXT bytes; *text_len becomes its length. Gives the offset behind the name, or
 * the error. */
int32_t ipq_dns_name(const struct ipq_dns *message, uint32_t at, uint32_t end, char *text,
		     uint32_t *text_len);

/* What EDNS says (RFC 6891): how many bytes who sent the message takes over UDP, and the 32 bits of
 * extended rcode, version and flags. False where there is none, and where the records cannot be read. */
bool ipq_dns_edns(const struct ipq_dns *message, uint32_t *size, uint32_t *flags);

/* Begins a message: a header of zeros. */
void ipq_dns_begin(struct ipq_dns_writer *writer);

/* Begins a message with the header and the questions of another one, as they are, to which names that
 * are written may refer. 0 or the error of that message. */
int ipq_dns_begin_with(struct ipq_dns_writer *writer, const struct ipq_dns *message);

/* Writes numbers and bytes. */
void ipq_dns_put16(struct ipq_dns_writer *writer, uint32_t value);
void ipq_dns_put32(struct ipq_dns_writer *writer, uint32_t value);
void ipq_dns_put(struct ipq_dns_writer *writer, const void *bytes, size_t len);

/* Writes a name, in text of len bytes, of which a dot at the end counts nothing; with compress it may
 * refer to one that is there (RFC 1035 section 4.1.4), and be referred to. 0, or what is wrong with
 * it: -EINVAL, where a label is empty or a backslash is without its digits; -ENAMETOOLONG, where a
 * label has more than 63 bytes, or the name more than 255. */
int ipq_dns_put_name(struct ipq_dns_writer *writer, const char *text, size_t len, bool compress);

/* Writes the data of a record of a message, names in it uncompressed (RFC 3597 section 4). 0 or the
 * error. */
int ipq_dns_put_data(struct ipq_dns_writer *writer, const struct ipq_dns *message,
		     const struct ipq_dns_record *record);

/* An error of the message in words, never NULL. */
const char *ipq_dns_strerror(int error);

#endif
