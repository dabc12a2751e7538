/* Initials of QUIC as a client makes them, for specs and fuzz targets. */
#include "quic.h"

#include <nettle/aes.h>
#include <nettle/gcm.h>
#include <string.h>

size_t spec_quic_seal(uint32_t version, const uint8_t *cid, size_t cid_len, const uint8_t *head,
		      size_t head_len, uint64_t number, const uint8_t *frames, size_t len,
		      uint8_t *out)
{
	size_t number_len = (head[0] & 3) + 1, number_at = head_len - number_len;
	struct ipq_cid id = {.len = (uint8_t)cid_len};
	uint8_t nonce[GCM_IV_SIZE], mask[AES_BLOCK_SIZE];
	struct ipq_initial_keys keys;
	struct gcm_aes128_ctx gcm;
	struct aes128_ctx aes;

	memcpy(id.bytes, cid, cid_len);
	ipq_initial_keys(version, &id, &keys);
	memcpy(nonce, keys.iv, sizeof(nonce));
	for (size_t i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(number >> (56 - 8 * i));
	memcpy(out, head, head_len);
	gcm_aes128_set_key(&gcm, keys.key);
	gcm_aes128_set_iv(&gcm, sizeof(nonce), nonce);
	gcm_aes128_update(&gcm, head_len, head);
	gcm_aes128_encrypt(&gcm, len, out + head_len, frames);
	gcm_aes128_digest(&gcm, IPQ_TAG, out + head_len + len);
	aes128_set_encrypt_key(&aes, keys.hp);
	aes128_encrypt(&aes, sizeof(mask), mask, out + number_at + 4);
	out[0] ^= mask[0] & 0x0f;
	for (size_t i = 0; i < number_len; i++)
		out[number_at + i] ^= mask[1 + i];
	return head_len + len + IPQ_TAG;
}
