/* The layers of a link header, each read where the one before it ends. */
#ifndef IPQ_LAYERS_H
#define IPQ_LAYERS_H

#include "link.h"

/* A frame while it is read. info->offset, at most len, is where the next layer begins. */
struct ipq_layers {
	const uint8_t *bytes;
	uint32_t len; /* bytes that are there, and belong to the layer that is read */
	struct ipq_link_info *info;
};

static inline bool ipq_layers_has(const struct ipq_layers *frame, uint32_t n)
{
	return frame->len - frame->info->offset >= n;
}

static inline const uint8_t *ipq_layers_here(const struct ipq_layers *frame)
{
	return frame->bytes + frame->info->offset;
}

/* What a frame carries whose layer should have more bytes: nobody knows, unless a length in the
 * link header says that there never were any. */
static inline enum ipq_link_payload ipq_layers_lacks(const struct ipq_layers *frame)
{
	return frame->len == frame->info->end ? IPQ_LINK_NO_IP : IPQ_LINK_CUT_OFF;
}

/* The frame's layer ends, by a length field, value bytes behind the one that the field counts from.
 * There are two such fields at most: 802.3's before SNAP, and PPPoE's. */
static inline void ipq_layers_end(struct ipq_layers *frame, struct ipq_link_length length,
				  uint32_t value)
{
	uint32_t end = length.from + value;

	frame->info->lengths[frame->info->length_count++] = length;
	if (end < frame->info->end)
		frame->info->end = end;
	if (end < frame->len)
		frame->len = end;
}

/*
 * The readers. Each begins at info->offset, and goes on to what its layer carries. IPQ_LINK_IP means
 * that info->protocol tells, which may be no IP; the others are what they say.
 */

/* What follows an EtherType, which is in info->protocol: VLAN tags, LLC where it is a length (IEEE
 * 802.3), PPPoE, MPLS (RFC 3032). */
enum ipq_link_payload ipq_ethertype_parse(struct ipq_layers *frame);

/* LLC, with SNAP (RFC 1042) or alone. */
enum ipq_link_payload ipq_llc_parse(struct ipq_layers *frame);

enum ipq_link_payload ipq_mpls_parse(struct ipq_layers *frame);

/* A PPPoE session's header (RFC 2516), and PPP. */
enum ipq_link_payload ipq_pppoe_parse(struct ipq_layers *frame);

/* PPP (RFC 1661), with or without address and control (RFC 1662). */
enum ipq_link_payload ipq_ppp_parse(struct ipq_layers *frame);

/* The same, or Cisco's HDLC. */
enum ipq_link_payload ipq_hdlc_parse(struct ipq_layers *frame);

/* Cisco's HDLC (RFC 1547, section 4.3.1). */
enum ipq_link_payload ipq_cisco_parse(struct ipq_layers *frame);

/* IEEE 802.11, without and with radiotap's header (https://www.radiotap.org). */
enum ipq_link_payload ipq_wlan_parse(struct ipq_layers *frame);
enum ipq_link_payload ipq_radiotap_parse(struct ipq_layers *frame);

/* What the kernel's log says of a packet (linux/netfilter/nfnetlink_log.h). */
enum ipq_link_payload ipq_nflog_parse(struct ipq_layers *frame);

/* A packet without a link header tells its version itself. */
enum ipq_link_payload ipq_raw_parse(struct ipq_layers *frame);

#endif
