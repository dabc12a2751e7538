/* IEEE 802.11: data frames, whose bytes are LLC. All numbers are little-endian. */
#include "layers.h"

enum {
	HEADER = 24, /* of a data frame with three addresses, and without QoS: 9.3.2.1 */
	ADDRESS = 6,
	QOS_CONTROL = 2,
	HT_CONTROL = 4,
	SEQUENCE_CONTROL_AT = 22,
	FRAME_CONTROL = 2
};

enum { TYPE_DATA = 2, SUBTYPE_NULL = 4, SUBTYPE_QOS = 8 }; /* of the first byte */

enum { /* of the second byte */
       TO_AND_FROM_DS = 0x03,
       MORE_FRAGMENTS = 0x04,
       PROTECTED = 0x40,
       PLUS_HTC = 0x80
};

enum { AGGREGATED = 0x80 }; /* of the first byte of QoS control */

enum {
	RADIOTAP_HEADER = 8,
	RADIOTAP_TIME = 1, /* fields that are present */
	RADIOTAP_FLAGS = 2,
	RADIOTAP_MORE = 0x80, /* of the last byte of a word of fields: another one follows */
	FLAG_PADDED = 0x20    /* the header is padded to four bytes */
};

static uint32_t header_len(const uint8_t *control)
{
	bool has_qos = control[0] >> 4 & SUBTYPE_QOS;

	return HEADER + ((control[1] & TO_AND_FROM_DS) == TO_AND_FROM_DS ? ADDRESS : 0) +
	       (has_qos ? QOS_CONTROL : 0) + (has_qos && control[1] & PLUS_HTC ? HT_CONTROL : 0);
}

/* A part of a packet, or several of them in one frame. header is all of it. */
static bool is_part(const uint8_t *header)
{
	uint32_t qos_at = HEADER;

	if ((header[1] & TO_AND_FROM_DS) == TO_AND_FROM_DS)
		qos_at += ADDRESS;
	return header[1] & MORE_FRAGMENTS || header[SEQUENCE_CONTROL_AT] & 0x0f ||
	       (header[0] >> 4 & SUBTYPE_QOS && header[qos_at] & AGGREGATED);
}

static enum ipq_link_payload data_parse(struct ipq_layers *frame, bool is_padded)
{
	const uint8_t *header = ipq_layers_here(frame);
	uint32_t len;

	if (!ipq_layers_has(frame, FRAME_CONTROL))
		return IPQ_LINK_CUT_OFF;
	if ((header[0] & 3) != 0 || (header[0] >> 2 & 3) != TYPE_DATA ||
	    header[0] >> 4 & SUBTYPE_NULL)
		return IPQ_LINK_NO_IP;
	if (header[1] & PROTECTED)
		return IPQ_LINK_HIDDEN;
	len = header_len(header);
	if (!ipq_layers_has(frame, is_padded ? (len + 3) & ~3U : len))
		return IPQ_LINK_CUT_OFF;
	if (is_part(header))
		return IPQ_LINK_HIDDEN;
	frame->info->offset += is_padded ? (len + 3) & ~3U : len;
	return ipq_llc_parse(frame);
}

enum ipq_link_payload ipq_wlan_parse(struct ipq_layers *frame)
{
	return data_parse(frame, false);
}

/* The offset of the field of flags, 0 where there is none. Fields are aligned to their size, from
 * the beginning of the header on, and before this one is at most one of 8 bytes. */
static uint16_t flags_at(const uint8_t *header, uint32_t len)
{
	uint32_t at = 4;

	if (!(header[4] & RADIOTAP_FLAGS))
		return 0;
	while (len - at >= 4 && header[at + 3] & RADIOTAP_MORE)
		at += 4;
	at += 4;
	if (header[4] & RADIOTAP_TIME)
		at = ((at + 7) & ~7U) + 8;
	return at < len ? (uint16_t)at : 0;
}

enum ipq_link_payload ipq_radiotap_parse(struct ipq_layers *frame)
{
	const uint8_t *header = ipq_layers_here(frame);
	struct ipq_link_info *info = frame->info;
	uint32_t len;

	if (!ipq_layers_has(frame, RADIOTAP_HEADER))
		return IPQ_LINK_CUT_OFF;
	len = (uint32_t)(header[2] | header[3] << 8);
	if (header[0] != 0 || len < RADIOTAP_HEADER)
		return IPQ_LINK_NO_IP;
	if (!ipq_layers_has(frame, len))
		return IPQ_LINK_CUT_OFF;
	info->flags_at = flags_at(header, len);
	info->offset += len;
	return data_parse(frame, info->flags_at && header[info->flags_at] & FLAG_PADDED);
}
