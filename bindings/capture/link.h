/* Where IP begins in a captured frame. */
#ifndef IPQ_LINK_H
#define IPQ_LINK_H

#include <stdbool.h>
#include <stdint.h>

/* What the link layer says of a frame. */
struct ipq_link_info {
	uint32_t offset;     /* of what it carries */
	uint16_t protocol;   /* EtherType */
	uint16_t vlan_proto; /* of the outermost tag, 0: no tag */
	uint16_t vlan_tci;
};

/* Whether frames of a pcap link type (DLT_*) can be read. */
bool ipq_link_known(int type);

/* Reads the header of a frame of len bytes. False where it is cut off. */
bool ipq_link_parse(int type, const uint8_t *frame, uint32_t len, struct ipq_link_info *info);

#endif
