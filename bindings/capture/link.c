#include "link.h"
#include "lib/bytes.h"

#include <string.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <pcap/dlt.h>

enum {
	ETHERNET_HEADER = 14,
	SLL_HEADER = 16,
	SLL2_HEADER = 20,
	NULL_HEADER = 4,
	VLAN_TAG = 4,
	ETHERTYPE_QINQ_OLD = 0x9100
};

/* A packet without a link header tells its version itself. */
static bool raw_parse(const uint8_t *frame, uint32_t len, uint32_t offset,
		      struct ipq_link_info *info)
{
	if (len <= offset)
		return false;
	info->offset = offset;
	info->protocol = frame[offset] >> 4 == 6   ? ETH_P_IPV6
			 : frame[offset] >> 4 == 4 ? ETH_P_IP
						   : 0;
	return true;
}

/* The address families of the systems that capture on loopback: BSDs and macOS disagree on
 * AF_INET6. */
static bool null_parse(const uint8_t *frame, uint32_t len, bool is_network_order,
		       struct ipq_link_info *info)
{
	uint32_t family;

	if (len < NULL_HEADER)
		return false;
	memcpy(&family, frame, sizeof(family));
	if (is_network_order)
		family = ntohl(family);
	else if (family > 0xffff) /* captured by a machine of the other byte order */
		family = __builtin_bswap32(family);
	info->offset = NULL_HEADER;
	switch (family) {
	case 2: info->protocol = ETH_P_IP; return true;
	case 10:
	case 24:
	case 28:
	case 30: info->protocol = ETH_P_IPV6; return true;
	default: info->protocol = 0; return true;
	}
}

static bool is_tag(uint16_t protocol)
{
	return protocol == ETH_P_8021Q || protocol == ETH_P_8021AD ||
	       protocol == ETHERTYPE_QINQ_OLD;
}

/* What follows an EtherType: tags, and what they tag. */
static bool tags_parse(const uint8_t *frame, uint32_t len, struct ipq_link_info *info)
{
	while (is_tag(info->protocol)) {
		if (len - info->offset < VLAN_TAG)
			return false;
		if (!info->vlan_proto) {
			info->vlan_proto = info->protocol;
			info->vlan_tci = ipq_load16(frame + info->offset);
		}
		info->protocol = ipq_load16(frame + info->offset + 2);
		info->offset += VLAN_TAG;
	}
	return true;
}

static bool header_parse(const uint8_t *frame, uint32_t len, uint32_t header, uint32_t protocol_at,
			 struct ipq_link_info *info)
{
	if (len < header)
		return false;
	info->offset = header;
	info->protocol = ipq_load16(frame + protocol_at);
	return tags_parse(frame, len, info);
}

bool ipq_link_known(int type)
{
	switch (type) {
	case DLT_EN10MB:
	case DLT_LINUX_SLL:
	case DLT_LINUX_SLL2:
	case 101:
	case DLT_IPV4:
	case DLT_IPV6:
	case DLT_NULL:
	case DLT_LOOP: return true;
	default: return false;
	}
}

static bool parse(int type, const uint8_t *frame, uint32_t len, struct ipq_link_info *info)
{
	switch (type) {
	case DLT_EN10MB:
		info->link = IPQ_LINK_ETHER;
		return header_parse(frame, len, ETHERNET_HEADER, 12, info);
	case DLT_LINUX_SLL:
		info->link = IPQ_LINK_SLL;
		return header_parse(frame, len, SLL_HEADER, 14, info);
	case DLT_LINUX_SLL2:
		info->link = IPQ_LINK_SLL2;
		return header_parse(frame, len, SLL2_HEADER, 0, info);
	case DLT_NULL: return null_parse(frame, len, false, info);
	case DLT_LOOP: return null_parse(frame, len, true, info);
	default: return raw_parse(frame, len, 0, info);
	}
}

enum ipq_link_payload ipq_link_parse(int type, const uint8_t *frame, uint32_t len,
				     struct ipq_link_info *info)
{
	bool is_carried;

	*info = (struct ipq_link_info){0};
	if (!parse(type, frame, len, info))
		return IPQ_LINK_CUT_OFF;
	is_carried = info->protocol == ETH_P_IP || info->protocol == ETH_P_IPV6 ||
		     info->protocol == ETH_P_ARP;
	if (!is_carried)
		return IPQ_LINK_NO_IP;
	if (info->offset > IPQ_LINK_ROOM)
		return IPQ_LINK_TOO_LONG;
	return info->protocol == ETH_P_ARP ? IPQ_LINK_ARP : IPQ_LINK_IP;
}
