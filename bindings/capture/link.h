/* Where IP begins in a captured frame. */
#ifndef IPQ_LINK_H
#define IPQ_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/ipq_abi.h"

/* What a frame carries. */
enum ipq_link_payload {
	IPQ_LINK_NO_IP, /* something else: LLDP, a routing protocol, ... */
	IPQ_LINK_IP,	/* IPv4 or IPv6, by info.protocol */
	IPQ_LINK_ARP,
	IPQ_LINK_CUT_OFF, /* the link header is not all there, so that nobody knows */
	IPQ_LINK_TOO_LONG /* it is IP or ARP behind a header of more than IPQ_LINK_ROOM bytes */
};

/* Bytes of the longest link header, tags and labels with it, that is read, and that a filter may
 * make. */
enum { IPQ_LINK_ROOM = 256 };

/* What the link layer says of a frame. */
struct ipq_link_info {
	uint32_t offset;     /* of what it carries */
	uint16_t protocol;   /* EtherType of that */
	uint16_t vlan_proto; /* of the outermost tag, 0: no tag */
	uint16_t vlan_tci;
	uint8_t link; /* enum ipq_link */
};

/* Whether frames of a pcap link type (DLT_*) can be read. */
bool ipq_link_known(int type);

/* Reads the header of a frame, of which len bytes are there. info is filled in but for
 * IPQ_LINK_CUT_OFF. */
enum ipq_link_payload ipq_link_parse(int type, const uint8_t *frame, uint32_t len,
				     struct ipq_link_info *info);

#endif
