/* PPP, by itself, in HDLC's framing and over Ethernet; and what Cisco has in place of it. */
#include "layers.h"
#include "lib/bytes.h"

#include <linux/if_ether.h>

enum {
	PPPOE_HEADER = 6,
	PPPOE_VERSION_AND_TYPE = 0x11,
	PPPOE_SESSION = 0, /* the code of what is no discovery */
	ALL_STATIONS = 0xff,
	UNNUMBERED = 0x03,
	CISCO_HEADER = 4,
	CISCO_UNICAST = 0x0f,
	CISCO_BROADCAST = 0x8f
};

/* https://www.iana.org/assignments/ppp-numbers */
enum {
	PPP_ROHC = 0x0003,
	PPP_ROHC_BIG = 0x0005,
	PPP_IP = 0x0021,
	PPP_VJ_COMPRESSED = 0x002d,
	PPP_VJ = 0x002f,
	PPP_BRIDGED = 0x0031,
	PPP_MULTILINK = 0x003d,
	PPP_ENCRYPTED = 0x0053,
	PPP_ENCRYPTED_LINK = 0x0055,
	PPP_IPV6 = 0x0057,
	PPP_IPHC_FIRST = 0x0061, /* RFC 2509: 61, 63, 65, 67, 69 */
	PPP_IPHC_LAST = 0x0069,
	PPP_COMPRESSED_LINK = 0x00fb,
	PPP_COMPRESSED = 0x00fd,
	PPP_MPLS = 0x0281,
	PPP_MPLS_MULTICAST = 0x0283,
	PPP_IPHC_MORE_FIRST = 0x2063,
	PPP_IPHC_MORE_LAST = 0x2069
};

static bool is_hidden(uint16_t protocol)
{
	switch (protocol) {
	case PPP_ROHC:
	case PPP_ROHC_BIG:
	case PPP_VJ_COMPRESSED:
	case PPP_VJ:
	case PPP_BRIDGED:
	case PPP_MULTILINK:
	case PPP_ENCRYPTED:
	case PPP_ENCRYPTED_LINK:
	case PPP_COMPRESSED_LINK:
	case PPP_COMPRESSED: return true;
	default:
		return (protocol >= PPP_IPHC_FIRST && protocol <= PPP_IPHC_LAST) ||
		       (protocol >= PPP_IPHC_MORE_FIRST && protocol <= PPP_IPHC_MORE_LAST);
	}
}

static enum ipq_link_payload protocol_parse(struct ipq_layers *frame, uint16_t protocol)
{
	switch (protocol) {
	case PPP_IP: frame->info->protocol = ETH_P_IP; return IPQ_LINK_IP;
	case PPP_IPV6: frame->info->protocol = ETH_P_IPV6; return IPQ_LINK_IP;
	case PPP_MPLS:
	case PPP_MPLS_MULTICAST: return ipq_mpls_parse(frame);
	default: return is_hidden(protocol) ? IPQ_LINK_HIDDEN : IPQ_LINK_NO_IP;
	}
}

enum ipq_link_payload ipq_ppp_parse(struct ipq_layers *frame)
{
	struct ipq_link_info *info = frame->info;
	const uint8_t *p = ipq_layers_here(frame);

	/* No protocol begins with this byte, so that it is an address: RFC 1661, section 2. */
	if (ipq_layers_has(frame, 2) && p[0] == ALL_STATIONS && p[1] == UNNUMBERED) {
		info->offset += 2;
		p += 2;
	}
	/* Of a compressed number the first byte, which is 0, is left out: the last one is odd, and
	 * a first one is even. */
	if (ipq_layers_has(frame, 1) && p[0] & 1 && p[0] != ALL_STATIONS) {
		info->offset += 1;
		return protocol_parse(frame, p[0]);
	}
	if (!ipq_layers_has(frame, 2))
		return ipq_layers_lacks(frame);
	info->offset += 2;
	return protocol_parse(frame, ipq_load16(p));
}

enum ipq_link_payload ipq_pppoe_parse(struct ipq_layers *frame)
{
	struct ipq_link_info *info = frame->info;
	const uint8_t *p = ipq_layers_here(frame);

	if (!ipq_layers_has(frame, PPPOE_HEADER))
		return ipq_layers_lacks(frame);
	if (p[0] != PPPOE_VERSION_AND_TYPE || p[1] != PPPOE_SESSION)
		return IPQ_LINK_NO_IP;
	info->offset += PPPOE_HEADER;
	ipq_layers_end(frame,
		       (struct ipq_link_length){
			       .at = info->offset - 2, .from = info->offset, .most = UINT16_MAX},
		       ipq_load16(p + 4));
	return ipq_ppp_parse(frame);
}

enum ipq_link_payload ipq_cisco_parse(struct ipq_layers *frame)
{
	const uint8_t *p = ipq_layers_here(frame);

	if (!ipq_layers_has(frame, CISCO_HEADER))
		return ipq_layers_lacks(frame);
	frame->info->protocol = ipq_load16(p + 2);
	frame->info->offset += CISCO_HEADER;
	return ipq_ethertype_parse(frame);
}

enum ipq_link_payload ipq_hdlc_parse(struct ipq_layers *frame)
{
	uint8_t address = ipq_layers_has(frame, 1) ? *ipq_layers_here(frame) : 0;

	return address == CISCO_UNICAST || address == CISCO_BROADCAST ? ipq_cisco_parse(frame)
								      : ipq_ppp_parse(frame);
}
