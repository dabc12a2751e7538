/* Changes to packets inside of a packet. */
#ifndef IPQ_INSIDE_H
#define IPQ_INSIDE_H

#include "lib/ipq_abi.h"

/* What ipq_rewrite_store() does to a packet of ipq_inside_open(): the bytes are within it. */
int ipq_inside_store(struct ipq_packet *packet, uint32_t offset, const uint8_t *bytes,
		     uint32_t len);

#endif
