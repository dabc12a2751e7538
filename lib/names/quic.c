/* Datagrams of QUIC, and the connections that they belong to. */
#include "quic.h"
#include "initial.h"
#include "pieces.h"
#include "lib/bytes.h"
#include "lib/packet/packet.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum {
	LONG = 0x80,
	UDP_HEAD = 8,
	VERSION_AT = 1,
	LONG_HEAD = 5,
	NUMBER_MAX = 4,
	BUCKETS = 1024,
	KEY = 37,
	TRIES = 4 /* connections with the same addresses and ports whose keys may fit */
};

/* Numbers of connections are from 1 up: 0 is none, and where the list begins and ends. */
struct connection {
	uint8_t key[KEY];
	uint32_t version;
	struct ipq_cid cid; /* that of its first Initial */
	struct ipq_initial_keys keys;
	uint64_t expected; /* packet number */
	struct ipq_pieces pieces;
	uint32_t newer; /* in the order in which they were seen last */
	uint32_t older;
	uint32_t next; /* in the bucket, those that began last first; or of those that are free */
};

struct ipq_quic {
	struct connection connections[IPQ_QUIC_CONNECTIONS + 1];
	uint32_t buckets[BUCKETS];
	uint32_t used; /* that were ever in use */
	uint32_t free;
	uint32_t count;
	size_t bytes;
	uint8_t scratch[IPQ_CRYPTO_MAX];
};

struct ipq_quic *ipq_quic_new(void)
{
	return calloc(1, sizeof(struct ipq_quic));
}

void ipq_quic_free(struct ipq_quic *quic)
{
	if (!quic)
		return;
	for (uint32_t i = 1; i <= quic->used; i++)
		ipq_pieces_clear(&quic->connections[i].pieces);
	free(quic);
}

uint32_t ipq_quic_connections(const struct ipq_quic *quic)
{
	return quic->count;
}

uint32_t ipq_quic_bytes(const struct ipq_quic *quic)
{
	return (uint32_t)quic->bytes;
}

/* Connections */

/* Who makes keys that meet in a bucket makes it as long as there are connections at most. */
static uint32_t *bucket_of(struct ipq_quic *quic, const uint8_t key[KEY])
{
	uint32_t hash = 2166136261;

	for (size_t i = 0; i < KEY; i++)
		hash = (hash ^ key[i]) * 16777619;
	return &quic->buckets[(hash ^ hash >> 16) % BUCKETS];
}

static void unlink_from_list(struct ipq_quic *quic, const struct connection *c)
{
	quic->connections[c->newer].older = c->older;
	quic->connections[c->older].newer = c->newer;
}

/* It is the one that was seen last. The list goes round by 0, whose older is the newest. */
static void link_to_list(struct ipq_quic *quic, uint32_t number)
{
	struct connection *head = &quic->connections[0], *c = &quic->connections[number];

	c->newer = 0;
	c->older = head->older;
	quic->connections[head->older].newer = number;
	head->older = number;
}

static void forget(struct ipq_quic *quic, uint32_t number)
{
	struct connection *c = &quic->connections[number];
	uint32_t *at = bucket_of(quic, c->key);

	while (*at != number)
		at = &quic->connections[*at].next;
	*at = c->next;
	unlink_from_list(quic, c);
	quic->bytes -= ipq_pieces_memory(&c->pieces);
	ipq_pieces_clear(&c->pieces);
	c->next = quic->free;
	quic->free = number;
	quic->count--;
}

/* A connection that has said nothing yet; where there are too many, in the place of the oldest one. */
static uint32_t begin(struct ipq_quic *quic, const uint8_t key[KEY])
{
	uint32_t number, *bucket = bucket_of(quic, key);
	struct connection *c;

	if (quic->count == IPQ_QUIC_CONNECTIONS)
		forget(quic, quic->connections[0].newer);
	number = quic->free ? quic->free : ++quic->used;
	c = &quic->connections[number];
	if (quic->free)
		quic->free = c->next;
	*c = (struct connection){.next = *bucket};
	memcpy(c->key, key, KEY);
	*bucket = number;
	link_to_list(quic, number);
	quic->count++;
	return number;
}

/* Headers */

/* A variable-length number (RFC 9000 section 16). */
static bool take_number(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	size_t len;

	if (*at == end)
		return false;
	len = (size_t)1 << (**at >> 6);
	if (len > (size_t)(end - *at))
		return false;
	*value = **at & 0x3f;
	for (size_t i = 1; i < len; i++)
		*value = *value << 8 | (*at)[i];
	*at += len;
	return true;
}

static bool take_cid(const uint8_t **at, const uint8_t *end, struct ipq_cid *cid)
{
	size_t len;

	if (*at == end)
		return false;
	len = *(*at)++;
	if (len > IPQ_CID_MAX || len > (size_t)(end - *at))
		return false;
	cid->len = (uint8_t)len;
	memcpy(cid->bytes, *at, len);
	*at += len;
	return true;
}

static bool is_cid(const struct ipq_cid *a, const struct ipq_cid *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

enum type { INITIAL, ZERO_RTT, HANDSHAKE, RETRY };

struct header {
	uint32_t version;
	enum type type;
	struct ipq_cid cid; /* whom it is for */
	struct ipq_initial initial;
};

/* Reads the long header of a packet, and where the packet ends (RFC 9000 section 17.2). 0, or why not. */
static int read_header(struct header *header, const uint8_t *bytes, size_t len)
{
	const uint8_t *at = bytes + LONG_HEAD, *end = bytes + len;
	struct ipq_cid source;
	uint64_t n;
	uint32_t type;

	if (len < LONG_HEAD || !(bytes[0] & LONG))
		return IPQ_QUIC_NOT_QUIC;
	header->version = ipq_load32(bytes + VERSION_AT);
	/* What is so in each version (RFC 8999); there these are not longer either, as far as is known. */
	if (!take_cid(&at, end, &header->cid) || !take_cid(&at, end, &source))
		return IPQ_QUIC_NOT_QUIC;
	if (header->version == 0)
		return IPQ_QUIC_NEGOTIATION;
	if (header->version != IPQ_QUIC_V1 && header->version != IPQ_QUIC_V2)
		return IPQ_QUIC_VERSION;
	type = bytes[0] >> 4 & 3;
	header->type = header->version == IPQ_QUIC_V1 ? type : (type + 3) % 4;
	if (header->type == RETRY)
		return IPQ_QUIC_RETRY;
	if (header->type == INITIAL) {
		if (!take_number(&at, end, &n) || n > (uint64_t)(end - at))
			return IPQ_QUIC_MALFORMED;
		at += n;
	}
	if (!take_number(&at, end, &n) || n > (uint64_t)(end - at) || n < NUMBER_MAX + IPQ_TAG)
		return IPQ_QUIC_MALFORMED;
	header->initial =
		(struct ipq_initial){bytes, (size_t)(at - bytes), (size_t)(at - bytes) + n};
	return 0;
}

/* Frames */

/* Goes over an ACK (RFC 9000 section 19.3), with the counts of ECN or without. */
static bool skip_ack(const uint8_t **at, const uint8_t *end, bool has_ecn)
{
	uint64_t n, ranges;

	if (!take_number(at, end, &n) || !take_number(at, end, &n) ||
	    !take_number(at, end, &ranges) || !take_number(at, end, &n))
		return false;
	for (; ranges > 0; ranges--)
		if (!take_number(at, end, &n) || !take_number(at, end, &n))
			return false;
	return !has_ecn ||
	       (take_number(at, end, &n) && take_number(at, end, &n) && take_number(at, end, &n));
}

static bool skip_close(const uint8_t **at, const uint8_t *end)
{
	uint64_t n;

	if (!take_number(at, end, &n) || !take_number(at, end, &n) || !take_number(at, end, &n) ||
	    n > (uint64_t)(end - *at))
		return false;
	*at += n;
	return true;
}

static int read_crypto(struct connection *c, const uint8_t **at, const uint8_t *end)
{
	uint64_t offset, len;
	int ret;

	if (!take_number(at, end, &offset) || !take_number(at, end, &len) ||
	    len > (uint64_t)(end - *at))
		return IPQ_QUIC_MALFORMED;
	ret = ipq_pieces_add(&c->pieces, offset, *at, len);
	*at += len;
	return ret;
}

/* Those that an Initial may have (RFC 9000 section 12.4). */
static int read_frames(struct connection *c, const uint8_t *at, const uint8_t *end)
{
	bool is_right = true;
	int ret = 0;

	while (at < end && is_right && ret == 0) {
		uint8_t type = *at++;

		switch (type) {
		case 0x00: /* PADDING */
		case 0x01: /* PING */ break;
		case 0x02: /* ACK */
		case 0x03: is_right = skip_ack(&at, end, type == 0x03); break;
		case 0x06: ret = read_crypto(c, &at, end); break;
		case 0x1c: /* CONNECTION_CLOSE */ is_right = skip_close(&at, end); break;
		default: is_right = false;
		}
	}
	return is_right ? ret : IPQ_QUIC_MALFORMED;
}

/* Initials */

struct opened {
	uint64_t number;
	size_t len; /* of its frames, in the scratch */
};

static bool open_by(struct ipq_quic *quic, struct connection *c, const struct header *header,
		    struct opened *opened)
{
	struct ipq_initial_keys other, *keys = &c->keys;

	/* It has gone over to the other version (RFC 9368 section 2.3). */
	if (c->version != header->version) {
		ipq_initial_keys(header->version, &c->cid, &other);
		keys = &other;
	}
	if (!ipq_initial_open(keys, &header->initial, c->expected, &opened->number, quic->scratch,
			      &opened->len))
		return false;
	c->keys = *keys;
	c->version = header->version;
	return true;
}

/* The connection of those addresses and ports whose Initial this is, of those that there are: one whose first Initial
 * was for the same connection id, or one of the newest, as the client addresses later ones to the id that the
 * server has chosen. *is_known: there is one with this id, and no other can be meant. */
static uint32_t find(struct ipq_quic *quic, const uint8_t key[KEY], const struct header *header,
		     struct opened *opened, bool *is_known)
{
	uint32_t first = *bucket_of(quic, key), tries = 0;
	struct connection *c;

	for (uint32_t i = first; i; i = c->next) {
		c = &quic->connections[i];
		*is_known = memcmp(c->key, key, KEY) == 0 && is_cid(&c->cid, &header->cid);
		if (*is_known)
			return open_by(quic, c, header, opened) ? i : 0;
	}
	for (uint32_t i = first; i && tries < TRIES; i = c->next) {
		c = &quic->connections[i];
		if (memcmp(c->key, key, KEY) != 0)
			continue;
		tries++;
		if (open_by(quic, c, header, opened))
			return i;
	}
	return 0;
}

/* The connection that this Initial begins; 0: it does not. */
static uint32_t find_new(struct ipq_quic *quic, const uint8_t key[KEY], const struct header *header,
			 struct opened *opened)
{
	struct ipq_initial_keys keys;
	uint32_t number;

	ipq_initial_keys(header->version, &header->cid, &keys);
	if (!ipq_initial_open(&keys, &header->initial, 0, &opened->number, quic->scratch,
			      &opened->len))
		return 0;
	number = begin(quic, key);
	quic->connections[number].version = header->version;
	quic->connections[number].cid = header->cid;
	quic->connections[number].keys = keys;
	return number;
}

/* Takes what an Initial says into its connection. Gives that one's number, or why there is none. */
static int take_initial(struct ipq_quic *quic, const uint8_t key[KEY], const struct header *header,
			uint32_t *number)
{
	struct opened opened;
	struct connection *c;
	bool is_known = false;
	int ret;

	*number = find(quic, key, header, &opened, &is_known);
	if (!*number && !is_known)
		*number = find_new(quic, key, header, &opened);
	if (!*number)
		return IPQ_QUIC_KEYS;
	c = &quic->connections[*number];
	if (opened.number >= c->expected)
		c->expected = opened.number + 1;
	unlink_from_list(quic, c);
	link_to_list(quic, *number);
	quic->bytes -= ipq_pieces_memory(&c->pieces);
	ret = read_frames(c, quic->scratch, quic->scratch + opened.len);
	quic->bytes += ipq_pieces_memory(&c->pieces);
	while (quic->bytes > IPQ_QUIC_BYTES)
		forget(quic, quic->connections[0].newer);
	return ret;
}

/* Packets of a datagram follow one another; those that are for another connection id than the first are nobody's
 * (RFC 9000 section 12.2). */
static int read_datagram(struct ipq_quic *quic, const uint8_t key[KEY], const uint8_t *bytes,
			 size_t len, struct ipq_hello *hello)
{
	int why = IPQ_QUIC_NO_INITIAL;
	uint32_t initials = 0, number = 0, found;
	struct header header;
	struct ipq_cid cid;
	size_t at = 0, n;

	while (at < len) {
		int ret = read_header(&header, bytes + at, len - at);

		if (ret < 0 && at == 0)
			return ret;
		if (at == 0)
			cid = header.cid;
		if (ret < 0 || !is_cid(&cid, &header.cid))
			break;
		if (header.type == INITIAL && initials++ < IPQ_QUIC_INITIALS) {
			why = take_initial(quic, key, &header, &found);
			if (why < 0 && why != IPQ_QUIC_KEYS)
				return why;
			number = found ? found : number;
		}
		at += header.initial.len;
	}
	if (!number)
		return why;
	n = ipq_pieces_copy(&quic->connections[number].pieces, quic->scratch,
			    sizeof(quic->scratch));
	return ipq_hello_message(hello, quic->scratch, n);
}

/* Offsets of the source address in the header; the destination follows it. */
enum { IPV4_SADDR = 12, IPV4_SIZE = 4, IPV6_SADDR = 8, IPV6_SIZE = 16 };

static void key_of(const struct ipq_packet *packet, uint8_t key[KEY])
{
	const uint8_t *header = packet->data + packet->l3;

	memset(key, 0, KEY);
	key[0] = packet->ip_version;
	memcpy(key + 1, packet->data + packet->l4, 4);
	if (packet->ip_version == 4)
		memcpy(key + 5, header + IPV4_SADDR, 2 * IPV4_SIZE);
	else
		memcpy(key + 5, header + IPV6_SADDR, 2 * IPV6_SIZE);
}

int ipq_quic_read(struct ipq_quic *quic, struct ipq_packet *packet, struct ipq_hello *hello)
{
	const uint8_t *bytes;
	size_t len, said;
	uint8_t key[KEY];
	int ret;

	hello->len = 0;
	if (!packet->parsed)
		ipq_header_parse(packet);
	if (packet->protocol != IPPROTO_UDP || !packet->l4 || packet->part)
		return IPQ_QUIC_NOT_QUIC;
	bytes = packet->data + packet->body;
	len = (size_t)(packet->end - packet->body);
	if (len < LONG_HEAD || !(bytes[0] & LONG))
		return IPQ_QUIC_NOT_QUIC;
	said = ipq_load16(packet->data + packet->l4 + 4);
	if (said < UDP_HEAD || said - UDP_HEAD > len || packet->fragment != IPQ_FRAGMENT_NONE)
		return IPQ_QUIC_CUT;
	key_of(packet, key);
	ret = read_datagram(quic, key, bytes, said - UDP_HEAD, hello);
	hello->is_quic = 1;
	return ret;
}

const char *ipq_quic_strerror(int error)
{
	switch (error) {
	case IPQ_QUIC_NOT_QUIC: return "not QUIC";
	case IPQ_QUIC_NO_INITIAL: return "no Initial packet";
	case IPQ_QUIC_VERSION: return "not QUIC, or a version that is unknown";
	case IPQ_QUIC_NEGOTIATION: return "version negotiation";
	case IPQ_QUIC_RETRY: return "Retry";
	case IPQ_QUIC_CUT: return "the datagram is not all there";
	case IPQ_QUIC_MALFORMED: return "malformed Initial packet";
	case IPQ_QUIC_KEYS:
		return "no key fits: a server's packet, or the connection's first ones were not "
		       "seen";
	case IPQ_QUIC_TOO_MANY: return "the ClientHello is in more than 256 pieces";
	case IPQ_QUIC_TWOFOLD: return "CRYPTO frames say different things of the same bytes";
	case IPQ_QUIC_NO_MEMORY: return "no memory";
	default: return ipq_hello_strerror(error);
	}
}
