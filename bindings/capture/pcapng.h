/* The blocks of pcapng (draft-ietf-opsawg-pcapng): what reading and writing share. */
#ifndef IPQ_PCAPNG_H
#define IPQ_PCAPNG_H

#include <stdbool.h>
#include <stdint.h>

enum {
	/* Types */
	IPQ_PCAPNG_SECTION = 0x0a0d0d0a, /* the same in either byte order */
	IPQ_PCAPNG_INTERFACE = 1,
	IPQ_PCAPNG_OLD_PACKET = 2,
	IPQ_PCAPNG_SIMPLE_PACKET = 3,
	IPQ_PCAPNG_STATISTICS = 5, /* of an interface */
	IPQ_PCAPNG_ENHANCED_PACKET = 6,
	IPQ_PCAPNG_CUSTOM_PRIVATE = 0x40000bad, /* not to be copied into another file */

	/* Sizes */
	IPQ_PCAPNG_HEAD = 8, /* type and length, before a block's body */
	IPQ_PCAPNG_TAIL = 4, /* the length again */
	IPQ_PCAPNG_LEAST = IPQ_PCAPNG_HEAD + IPQ_PCAPNG_TAIL,
	IPQ_PCAPNG_PACKET_HEAD = 20, /* of packets with a time, before the bytes */

	/* A section's header: its byte order, and where its length is, which may be unknown */
	IPQ_PCAPNG_ORDER = 0x1a2b3c4d,
	IPQ_PCAPNG_ORDER_SWAPPED = 0x4d3c2b1a,
	IPQ_PCAPNG_LENGTH_AT = 16,
	IPQ_PCAPNG_SECTION_LEAST = IPQ_PCAPNG_LEAST + 16,

	/* An interface's description */
	IPQ_PCAPNG_SNAPLEN_AT = 12,
	IPQ_PCAPNG_INTERFACE_LEAST = IPQ_PCAPNG_LEAST + 8,

	/* Options */
	IPQ_PCAPNG_OPTION_HEAD = 4,
	IPQ_PCAPNG_END = 0,
	IPQ_PCAPNG_COMMENT = 1,
	IPQ_PCAPNG_HASH = 3,	 /* of a packet */
	IPQ_PCAPNG_TSRESOL = 9,	 /* of an interface */
	IPQ_PCAPNG_TSOFFSET = 14 /* the same */
};

struct ipq_pcapng_option {
	uint16_t code;
	uint16_t len;
	const uint8_t *value;
	uint32_t size; /* with its head and what pads it */
};

/* The option at *p, of whose left bytes it is the first; *p and *left are behind it then. False at
 * the end, and where it is not all there. */
bool ipq_pcapng_option_next(struct ipq_pcapng_option *option, bool is_swapped, const uint8_t **p,
			    uint32_t *left);

#endif
