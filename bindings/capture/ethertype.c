/* What an EtherType says that follows. */
#include "layers.h"
#include "lib/bytes.h"

#include <linux/if_ether.h>

enum {
	VLAN_TAG = 4,
	ETHERTYPE_QINQ_OLD = 0x9100,
	LENGTH_MOST = 1500, /* a larger number is an EtherType: IEEE 802.3, 3.2.6 */
	LLC_HEADER = 3,
	SNAP_HEADER = 8,
	MPLS_LABEL = 4
};

static bool is_tag(uint16_t protocol)
{
	return protocol == ETH_P_8021Q || protocol == ETH_P_8021AD ||
	       protocol == ETHERTYPE_QINQ_OLD;
}

static bool tag_read(struct ipq_layers *frame)
{
	struct ipq_link_info *info = frame->info;
	const uint8_t *tag = ipq_layers_here(frame);

	if (!ipq_layers_has(frame, VLAN_TAG))
		return false;
	if (!info->vlan_proto) {
		info->vlan_proto = info->protocol;
		info->vlan_tci = ipq_load16(tag);
	}
	info->protocol = ipq_load16(tag + 2);
	info->offset += VLAN_TAG;
	return true;
}

/* Whether LLC follows. Where Ethernet has a length, Linux cooked has a number that says so. */
static bool has_llc(const struct ipq_link_info *info)
{
	switch (info->link) {
	case IPQ_LINK_ETHER: return info->protocol <= LENGTH_MOST;
	case IPQ_LINK_SLL:
	case IPQ_LINK_SLL2: return info->protocol == ETH_P_802_2;
	default: return false;
	}
}

static bool is_ethertype(const uint8_t *snap)
{
	/* RFC 1042, and IEEE 802.1H */
	return snap[3] == 0 && snap[4] == 0 && (snap[5] == 0 || snap[5] == 0xf8);
}

static enum ipq_link_payload llc_read(struct ipq_layers *frame)
{
	struct ipq_link_info *info = frame->info;
	const uint8_t *llc = ipq_layers_here(frame);

	if (!ipq_layers_has(frame, LLC_HEADER))
		return ipq_layers_lacks(frame);
	if (llc[0] == 0x06 && llc[1] == 0x06 && llc[2] == 0x03) {
		info->offset += LLC_HEADER;
		info->protocol = ETH_P_IP;
		return IPQ_LINK_IP;
	}
	if (llc[0] != 0xaa || llc[1] != 0xaa || llc[2] != 0x03)
		return IPQ_LINK_NO_IP;
	if (!ipq_layers_has(frame, SNAP_HEADER))
		return ipq_layers_lacks(frame);
	if (!is_ethertype(llc))
		return IPQ_LINK_NO_IP;
	info->offset += SNAP_HEADER;
	info->protocol = ipq_load16(llc + 6);
	return IPQ_LINK_IP;
}

static enum ipq_link_payload length_and_llc_read(struct ipq_layers *frame)
{
	struct ipq_link_info *info = frame->info;

	if (info->link == IPQ_LINK_ETHER)
		ipq_layers_end(frame,
			       (struct ipq_link_length){.at = info->offset - 2,
							.from = info->offset,
							.most = LENGTH_MOST},
			       info->protocol);
	return llc_read(frame);
}

/* Behind SNAP no LLC follows again. */
static enum ipq_link_payload types_parse(struct ipq_layers *frame, bool is_snap)
{
	for (;;) {
		uint16_t protocol = frame->info->protocol;

		if (is_tag(protocol)) {
			if (!tag_read(frame))
				return ipq_layers_lacks(frame);
		} else if (!is_snap && has_llc(frame->info)) {
			enum ipq_link_payload carried = length_and_llc_read(frame);

			if (carried != IPQ_LINK_IP)
				return carried;
			is_snap = true;
		} else if (protocol == ETH_P_PPP_SES) {
			return ipq_pppoe_parse(frame);
		} else if (protocol == ETH_P_MPLS_UC || protocol == ETH_P_MPLS_MC) {
			return ipq_mpls_parse(frame);
		} else {
			return IPQ_LINK_IP;
		}
	}
}

enum ipq_link_payload ipq_ethertype_parse(struct ipq_layers *frame)
{
	return types_parse(frame, false);
}

enum ipq_link_payload ipq_llc_parse(struct ipq_layers *frame)
{
	enum ipq_link_payload carried = llc_read(frame);

	return carried == IPQ_LINK_IP ? types_parse(frame, true) : carried;
}

/* Nothing says what is behind the labels. A pseudowire begins with a control word, whose first four
 * bits are 0 or 1 so that it is not taken for IP (RFC 4385, section 3); or with an Ethernet address,
 * which is not taken for IPv4 where it cannot be (RFC 4928). */
enum ipq_link_payload ipq_mpls_parse(struct ipq_layers *frame)
{
	struct ipq_link_info *info = frame->info;
	const uint8_t *label;

	do {
		label = ipq_layers_here(frame);
		if (!ipq_layers_has(frame, MPLS_LABEL))
			return ipq_layers_lacks(frame);
		info->offset += MPLS_LABEL;
	} while (!(label[2] & 1));
	if (!ipq_layers_has(frame, 1))
		return ipq_layers_lacks(frame);
	if (label[4] >= 0x45 && label[4] <= 0x4f)
		info->protocol = ETH_P_IP;
	else if (label[4] >> 4 == 6)
		info->protocol = ETH_P_IPV6;
	else
		return IPQ_LINK_NO_IP;
	return IPQ_LINK_IP;
}
