#ifndef SPEC_QUIC_H
#define SPEC_QUIC_H

#include "lib/names/initial.h"

/* Protects an Initial of a connection whose first one was for cid. head ends with the packet number, of as many bytes
 * as its first byte says; number is all of that. There must be at least 4 bytes from the packet number up to the tag. out
 * has room for head_len + len + IPQ_TAG bytes. Gives how many it are. */
size_t spec_quic_seal(uint32_t version, const uint8_t *cid, size_t cid_len, const uint8_t *head,
		      size_t head_len, uint64_t number, const uint8_t *frames, size_t len,
		      uint8_t *out);

#endif
