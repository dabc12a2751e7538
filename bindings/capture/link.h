/*
 * Where IP begins in a captured frame, and what else the frame tells of its packet.
 *
 * A link type is a LINKTYPE_ number, as a capture file has it (https://www.tcpdump.org/linktypes.html),
 * and no DLT_ of libpcap's: those differ from system to system.
 */
#ifndef IPQ_LINK_H
#define IPQ_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/ipq_abi.h"

/* The link types that can be read. */
enum ipq_linktype {
	IPQ_LINKTYPE_NULL = 0,
	IPQ_LINKTYPE_ETHERNET = 1,
	IPQ_LINKTYPE_PPP = 9,
	IPQ_LINKTYPE_RAW_OLD = 12, /* LINKTYPE_LOOP where OpenBSD wrote the file */
	IPQ_LINKTYPE_RAW_OPENBSD = 14,
	IPQ_LINKTYPE_PPP_HDLC = 50,
	IPQ_LINKTYPE_PPP_ETHER = 51,
	IPQ_LINKTYPE_RAW = 101,
	IPQ_LINKTYPE_C_HDLC = 104,
	IPQ_LINKTYPE_IEEE802_11 = 105,
	IPQ_LINKTYPE_LOOP = 108,
	IPQ_LINKTYPE_LINUX_SLL = 113,
	IPQ_LINKTYPE_RADIOTAP = 127,
	IPQ_LINKTYPE_IPV4 = 228,
	IPQ_LINKTYPE_IPV6 = 229,
	IPQ_LINKTYPE_NFLOG = 239,
	IPQ_LINKTYPE_LINUX_SLL2 = 276
};

/* What a frame carries. */
enum ipq_link_payload {
	IPQ_LINK_NO_IP, /* something else: LLDP, a routing protocol, ... */
	IPQ_LINK_IP,	/* IPv4 or IPv6, by info.protocol */
	IPQ_LINK_ARP,
	IPQ_LINK_CUT_OFF,  /* the link header is not all there, so that nobody knows */
	IPQ_LINK_TOO_LONG, /* it is IP or ARP behind a header of more than IPQ_LINK_ROOM bytes */
	IPQ_LINK_HIDDEN /* it may be IP, but is compressed, encrypted, or several or parts of one */
};

/* Bytes of the longest link header, tags and labels with it, that is read, and that a filter may
 * make. NFLOG's with a prefix of 127 bytes has some 350. */
enum { IPQ_LINK_ROOM = 512 };

/* A field of the link header that holds the length of what follows it. */
struct ipq_link_length {
	uint32_t at;   /* its offset: 16 bits */
	uint32_t from; /* where the bytes begin that it counts */
	uint16_t most; /* the largest value that it may have */
	bool is_little_endian;
};

/* What the link layer says of a frame. */
struct ipq_link_info {
	uint32_t offset; /* of what it carries */
	uint32_t end;	 /* where that ends, by the link header; UINT32_MAX: it does not say */
	/* Bytes that the packet had before it was logged, and that the link layer has not: NFLOG's
	 * may be cut off (--nflog-size), which no length in the capture tells. */
	uint32_t missing;
	uint16_t protocol;   /* EtherType of what it carries */
	uint16_t vlan_proto; /* of the outermost tag, 0: no tag */
	uint16_t vlan_tci;
	uint8_t link; /* enum ipq_link */
	/* The rest as struct ipq_packet has it, and present tells of what. Most is in NFLOG alone. */
	uint8_t family;
	uint8_t hook;
	uint32_t present; /* enum ipq_present */
	uint32_t mark;
	uint32_t indev; /* indexes that the capturing machine's interfaces had */
	uint32_t outdev;
	uint32_t physindev;
	uint32_t physoutdev;
	uint32_t uid;
	uint32_t gid;
	uint16_t hw_addrlen;
	uint8_t hw_addr[8];
	uint16_t prefix_len;
	const char *prefix; /* in the frame, without a 0 byte behind it; or NULL */
	uint16_t flags_at;  /* of radiotap's field of flags, 0: there is none */
	uint8_t length_count;
	struct ipq_link_length lengths[2];
};

/* Whether frames of a link type can be read. */
bool ipq_link_known(int type);

/* All that can, as words for a message: "Ethernet, ... and NFLOG". */
const char *ipq_link_names(void);

/* Reads the header of a frame, of which len bytes are there. Where it is IPQ_LINK_CUT_OFF or
 * IPQ_LINK_HIDDEN, info means nothing. */
enum ipq_link_payload ipq_link_parse(int type, const uint8_t *frame, uint32_t len,
				     struct ipq_link_info *info);

/* Stores what info has of a packet's metadata, from family to prefix; of present it sets bits, and
 * clears none. The prefix stays in the frame. */
void ipq_link_describe(const struct ipq_link_info *info, struct ipq_packet *packet);

/* Makes a header that of a frame that goes the other way: source and destination change places where
 * it is Ethernet's, and others, which have no two addresses or say which way they go in other words, stay
 * as they are. A group is nobody's source: there the address becomes 0. */
void ipq_link_turn(int type, uint8_t *header, uint32_t header_len);

/* Makes a header say that it carries IP of that version, 4 or 6. One that has no word for it, as that
 * of LINKTYPE_IPV4, stays as it is. */
void ipq_link_set_version(int type, uint8_t *header, uint32_t header_len, uint8_t version);

/* Makes the lengths in a link header right for payload_len bytes on the wire behind it: of PPPoE, of
 * 802.3, and of NFLOG. A length that the field cannot hold becomes the largest one that it can. A
 * radiotap header says afterwards that no frame check sequence follows. For a frame whose packet
 * was changed, and whose header may have been, too. */
void ipq_link_set_length(int type, uint8_t *header, uint32_t header_len, uint32_t payload_len);

#endif
