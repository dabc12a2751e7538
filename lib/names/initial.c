/*
 * The keys of Initial packets, and what they protect: AES-128-GCM by nettle.
 *
 * Nettle is linked, and not loaded by who uses it: that cannot be told from noise in the time of a start, and so the
 * linker, and what makes packages, see that it is needed, and nothing has to be opened in the sandbox.
 */
#include "initial.h"
#include "lib/bytes.h"

#include <nettle/aes.h>
#include <nettle/gcm.h>
#include <nettle/hkdf.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <string.h>

enum { SAMPLE = 16, SALT = 20, SECRET = SHA256_DIGEST_SIZE, LABEL_MAX = 32 };

struct version {
	uint8_t salt[SALT];
	const char *key, *iv, *hp;
};

static const struct version v1 = {{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
				   0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a},
				  "quic key",
				  "quic iv",
				  "quic hp"};
static const struct version v2 = {{0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
				   0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9},
				  "quicv2 key",
				  "quicv2 iv",
				  "quicv2 hp"};

/* HKDF-Expand-Label of RFC 8446 section 7.1, without a context. */
static void expand(struct hmac_sha256_ctx *secret, const char *label, size_t len, uint8_t *out)
{
	static const char prefix[] = "tls13 ";
	size_t prefix_len = sizeof(prefix) - 1, label_len = strlen(label);
	uint8_t info[LABEL_MAX];

	ipq_store16(info, (uint32_t)len);
	info[2] = (uint8_t)(prefix_len + label_len);
	memcpy(info + 3, prefix, prefix_len);
	memcpy(info + 3 + prefix_len, label, label_len);
	info[3 + prefix_len + label_len] = 0;
	hkdf_expand(secret, (nettle_hash_update_func *)hmac_sha256_update,
		    (nettle_hash_digest_func *)hmac_sha256_digest, SHA256_DIGEST_SIZE,
		    4 + prefix_len + label_len, info, len, out);
}

void ipq_initial_keys(uint32_t version, const struct ipq_cid *cid, struct ipq_initial_keys *keys)
{
	const struct version *v = version == IPQ_QUIC_V2 ? &v2 : &v1;
	struct hmac_sha256_ctx hmac;
	uint8_t secret[SECRET];

	hmac_sha256_set_key(&hmac, sizeof(v->salt), v->salt);
	hkdf_extract(&hmac, (nettle_hash_update_func *)hmac_sha256_update,
		     (nettle_hash_digest_func *)hmac_sha256_digest, sizeof(secret), cid->len,
		     cid->bytes, secret);
	hmac_sha256_set_key(&hmac, sizeof(secret), secret);
	expand(&hmac, "client in", sizeof(secret), secret);
	hmac_sha256_set_key(&hmac, sizeof(secret), secret);
	expand(&hmac, v->key, sizeof(keys->key), keys->key);
	expand(&hmac, v->iv, sizeof(keys->iv), keys->iv);
	expand(&hmac, v->hp, sizeof(keys->hp), keys->hp);
}

/* The whole number of which the packet has the last len bytes: the one that is nearest to what is expected (RFC 9000
 * appendix A.3). */
static uint64_t whole_number(uint64_t expected, uint64_t cut, size_t len)
{
	uint64_t window = 1ull << (8 * len), half = window / 2;
	uint64_t number = (expected & ~(window - 1)) | cut;

	if (number + half <= expected && number < (1ull << 62) - window)
		return number + window;
	if (number > expected + half && number >= window)
		return number - window;
	return number;
}

bool ipq_initial_open(const struct ipq_initial_keys *keys, const struct ipq_initial *initial,
		      uint64_t expected, uint64_t *number, uint8_t *out, size_t *out_len)
{
	uint8_t mask[AES_BLOCK_SIZE], nonce[GCM_IV_SIZE], tag[IPQ_TAG], first;
	const uint8_t *bytes = initial->bytes, *field = bytes + initial->number;
	size_t number_len, head_len, len;
	struct aes128_ctx aes;
	struct gcm_aes128_ctx gcm;
	uint64_t cut = 0;

	aes128_set_encrypt_key(&aes, keys->hp);
	aes128_encrypt(&aes, SAMPLE, mask, field + 4);
	first = bytes[0] ^ (mask[0] & 0x0f);
	/* Two bits are 0 without it, which most wrong keys do not make of them. */
	if (first & 0x0c)
		return false;
	number_len = (first & 3) + 1;
	head_len = initial->number + number_len;
	len = initial->len - head_len - IPQ_TAG;

	/* The header without its protection is what the tag covers, too. It may be longer than the rest. */
	memcpy(out, bytes, head_len);
	out[0] = first;
	for (size_t i = 0; i < number_len; i++) {
		out[initial->number + i] = field[i] ^ mask[1 + i];
		cut = cut << 8 | out[initial->number + i];
	}
	*number = whole_number(expected, cut, number_len);
	memcpy(nonce, keys->iv, sizeof(nonce));
	for (size_t i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(*number >> (56 - 8 * i));

	gcm_aes128_set_key(&gcm, keys->key);
	gcm_aes128_set_iv(&gcm, sizeof(nonce), nonce);
	gcm_aes128_update(&gcm, head_len, out);
	gcm_aes128_decrypt(&gcm, len, out, bytes + head_len);
	gcm_aes128_digest(&gcm, sizeof(tag), tag);
	*out_len = len;
	return memeql_sec(tag, bytes + head_len + len, sizeof(tag));
}
