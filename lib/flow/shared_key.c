/* Keys of shared tables, and their hashes. */
#include "shared_layout.h"
#include "lib/netset/netset.h"
#include "lib/packet/packet.h"

#include <errno.h>

void ipq_shared_key_number(struct ipq_shared_key *key, double number)
{
	if (number == 0)
		number = 0; /* not -0 */
	*key = (struct ipq_shared_key){.kind = IPQ_SHARED_NUMBER, .len = sizeof(number)};
	memcpy(key->bytes, &number, sizeof(number));
}

static void address_set(struct ipq_shared_key *key, int version, const uint8_t *address)
{
	uint32_t len = version == 4 ? 4 : 16;

	*key = (struct ipq_shared_key){
		.kind = version == 4 ? IPQ_SHARED_ADDRESS4 : IPQ_SHARED_ADDRESS6, .len = len};
	memcpy(key->bytes, address, len);
}

/* Whether text can be an address: most is none, and that is told by its first characters. */
static bool may_be_address(const char *text, size_t len)
{
	if (len < 2 || len >= IPQ_ADDRESS_TEXT)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == ':' || c == '.')
			return true;
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
			return false;
	}
	return false;
}

int ipq_shared_key_text(struct ipq_shared_key *key, const char *text, size_t len)
{
	uint8_t address[16];
	int version;

	if (len > IPQ_SHARED_KEY_MAX)
		return -EMSGSIZE;
	version = may_be_address(text, len) ? ipq_address_parse(address, text, len) : -1;
	if (version > 0) {
		address_set(key, version, address);
		return 0;
	}
	*key = (struct ipq_shared_key){.kind = IPQ_SHARED_TEXT, .len = (uint32_t)len};
	if (len > SHORT_TEXT)
		key->text = text;
	else
		memcpy(key->bytes, text, len);
	return 0;
}

/* Offsets of the source address in the header; the destination follows it. */
enum { IPV4_SADDR = 12, IPV4_SIZE = 4, IPV6_SADDR = 8, IPV6_SIZE = 16 };

static int key_packet(struct ipq_shared_key *key, struct ipq_packet *packet, size_t which)
{
	const uint8_t *header;

	if (!packet->parsed)
		ipq_header_parse(packet);
	header = packet->data + packet->l3;
	switch (packet->ip_version) {
	case 4: address_set(key, 4, header + IPV4_SADDR + which * IPV4_SIZE); return 0;
	case 6: address_set(key, 6, header + IPV6_SADDR + which * IPV6_SIZE); return 0;
	default: return -ENOENT;
	}
}

int ipq_shared_key_saddr(struct ipq_shared_key *key, struct ipq_packet *packet)
{
	return key_packet(key, packet, 0);
}

int ipq_shared_key_daddr(struct ipq_shared_key *key, struct ipq_packet *packet)
{
	return key_packet(key, packet, 1);
}

/* Both halves of a product of 128 bits: what is multiplied is secret in part, so nobody who chooses keys
 * knows which of them meet. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_words(const uint64_t key[4], const uint64_t words[2], uint8_t kind)
{
	return mix(mix(words[0] ^ key[0], words[1] ^ key[1]) ^ kind, key[2] | 1);
}

static uint64_t hash_text(const uint64_t key[4], const char *text, uint32_t len, uint8_t kind)
{
	uint64_t hash = key[3] ^ len, words[2];

	for (uint32_t at = 0; at < len; at += sizeof(words)) {
		uint32_t part = len - at < sizeof(words) ? len - at : sizeof(words);

		memset(words, 0, sizeof(words));
		memcpy(words, text + at, part);
		hash = mix(words[0] ^ key[0] ^ hash, words[1] ^ key[1]) + hash;
	}
	return mix(hash ^ kind, key[2] | 1);
}

void ipq_sought_make(const struct ipq_shared *shared, const struct ipq_shared_key *key,
		     uint8_t bucket, struct sought *sought)
{
	memcpy(sought->words, key->bytes, sizeof(sought->words));
	sought->text = key->text;
	sought->len = key->len;
	if (key->kind == IPQ_SHARED_TEXT && key->text) {
		sought->kind = LONG_TEXT | bucket;
		sought->hash = hash_text(shared->key, key->text, key->len, sought->kind);
		sought->words[0] = sought->hash;
	} else {
		/* Text of each length is a kind of its own: "a" and "a\0" are two keys. */
		sought->kind = (uint8_t)(key->kind == IPQ_SHARED_TEXT ? SHORT_TEXT + key->len
								      : key->kind) |
			       bucket;
		sought->hash = hash_words(shared->key, sought->words, sought->kind);
	}
	sought->tag = (uint8_t)(sought->hash >> 56);
	if (!sought->tag)
		sought->tag = 1;
}

uint64_t ipq_sought_hash(const struct ipq_shared *shared, const struct entry *entry, uint8_t kind)
{
	uint64_t words[2];

	memcpy(words, entry->key, sizeof(words));
	return kind_is_long(kind) ? words[0] : hash_words(shared->key, words, kind);
}
