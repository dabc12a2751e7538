#include "layers.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>

enum {
	ETHERNET_HEADER = 14,
	SLL_HEADER = 16,
	SLL2_HEADER = 20,
	NULL_HEADER = 4,
	FLAG_CHECKED = 0x10 /* of radiotap: a frame check sequence is at the end */
};

enum ipq_link_payload ipq_raw_parse(struct ipq_layers *frame)
{
	uint8_t version;

	if (!ipq_layers_has(frame, 1))
		return ipq_layers_lacks(frame);
	version = *ipq_layers_here(frame) >> 4;
	frame->info->protocol = version == 6 ? ETH_P_IPV6 : version == 4 ? ETH_P_IP : 0;
	return IPQ_LINK_IP;
}

/* The address families of the systems that capture on loopback: BSDs and macOS disagree on
 * AF_INET6. */
static uint16_t family_protocol(uint32_t family)
{
	switch (family) {
	case 2: return ETH_P_IP;
	case 10:
	case 24:
	case 28:
	case 30: return ETH_P_IPV6;
	default: return 0;
	}
}

static enum ipq_link_payload null_parse(struct ipq_layers *frame)
{
	uint32_t family;

	if (!ipq_layers_has(frame, NULL_HEADER))
		return IPQ_LINK_CUT_OFF;
	memcpy(&family, frame->bytes, sizeof(family));
	if (family > 0xffff) /* captured by a machine of the other byte order */
		family = __builtin_bswap32(family);
	frame->info->offset = NULL_HEADER;
	frame->info->protocol = family_protocol(family);
	return IPQ_LINK_IP;
}

static enum ipq_link_payload loop_parse(struct ipq_layers *frame)
{
	if (!ipq_layers_has(frame, NULL_HEADER))
		return IPQ_LINK_CUT_OFF;
	frame->info->offset = NULL_HEADER;
	frame->info->protocol = family_protocol(ipq_load32(frame->bytes));
	return IPQ_LINK_IP;
}

/* A family begins with a 0 byte, and no IP packet does. */
static enum ipq_link_payload raw_or_loop_parse(struct ipq_layers *frame)
{
	return ipq_layers_has(frame, 1) && frame->bytes[0] == 0 ? loop_parse(frame)
								: ipq_raw_parse(frame);
}

static enum ipq_link_payload header_parse(struct ipq_layers *frame, uint32_t header,
					  uint32_t protocol_at)
{
	if (!ipq_layers_has(frame, header))
		return IPQ_LINK_CUT_OFF;
	frame->info->offset = header;
	frame->info->protocol = ipq_load16(frame->bytes + protocol_at);
	return ipq_ethertype_parse(frame);
}

static enum ipq_link_payload ethernet_parse(struct ipq_layers *frame)
{
	frame->info->link = IPQ_LINK_ETHER;
	return header_parse(frame, ETHERNET_HEADER, 12);
}

static enum ipq_link_payload sll_parse(struct ipq_layers *frame)
{
	frame->info->link = IPQ_LINK_SLL;
	return header_parse(frame, SLL_HEADER, 14);
}

static enum ipq_link_payload sll2_parse(struct ipq_layers *frame)
{
	frame->info->link = IPQ_LINK_SLL2;
	return header_parse(frame, SLL2_HEADER, 0);
}

/* The most frequent ones come first. */
static const struct link {
	int type; /* enum ipq_linktype */
	enum ipq_link_payload (*parse)(struct ipq_layers *frame);
} links[] = {
	{IPQ_LINKTYPE_ETHERNET, ethernet_parse},
	{IPQ_LINKTYPE_RAW, ipq_raw_parse},
	{IPQ_LINKTYPE_RAW_OLD, raw_or_loop_parse},
	{IPQ_LINKTYPE_LINUX_SLL, sll_parse},
	{IPQ_LINKTYPE_LINUX_SLL2, sll2_parse},
	{IPQ_LINKTYPE_NFLOG, ipq_nflog_parse},
	{IPQ_LINKTYPE_RADIOTAP, ipq_radiotap_parse},
	{IPQ_LINKTYPE_IEEE802_11, ipq_wlan_parse},
	{IPQ_LINKTYPE_PPP, ipq_ppp_parse},
	{IPQ_LINKTYPE_PPP_HDLC, ipq_hdlc_parse},
	{IPQ_LINKTYPE_PPP_ETHER, ipq_pppoe_parse},
	{IPQ_LINKTYPE_C_HDLC, ipq_cisco_parse},
	{IPQ_LINKTYPE_NULL, null_parse},
	{IPQ_LINKTYPE_LOOP, loop_parse},
	{IPQ_LINKTYPE_IPV4, ipq_raw_parse},
	{IPQ_LINKTYPE_IPV6, ipq_raw_parse},
	{IPQ_LINKTYPE_RAW_OPENBSD, ipq_raw_parse},
};

static const struct link *link_find(int type)
{
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (links[i].type == type)
			return &links[i];
	return NULL;
}

bool ipq_link_known(int type)
{
	return link_find(type) != NULL;
}

const char *ipq_link_names(void)
{
	return "Ethernet, IEEE 802.11, Linux cooked, PPP, PPPoE, Cisco HDLC, raw IP, loopback and "
	       "NFLOG";
}

/* By what a frame without a kernel's word carries. */
static uint8_t family_of(uint16_t protocol)
{
	return protocol == ETH_P_IPV6  ? NFPROTO_IPV6
	       : protocol == ETH_P_ARP ? NFPROTO_ARP
				       : NFPROTO_IPV4;
}

enum ipq_link_payload ipq_link_parse(int type, const uint8_t *frame, uint32_t len,
				     struct ipq_link_info *info)
{
	const struct link *link = link_find(type);
	struct ipq_layers reader = {.bytes = frame, .len = len, .info = info};
	enum ipq_link_payload carried;

	*info = (struct ipq_link_info){.end = UINT32_MAX, .hook = NF_INET_PRE_ROUTING};
	carried = link ? link->parse(&reader) : IPQ_LINK_NO_IP;
	if (carried != IPQ_LINK_IP)
		return carried;
	if (info->protocol != ETH_P_IP && info->protocol != ETH_P_IPV6 &&
	    info->protocol != ETH_P_ARP)
		return IPQ_LINK_NO_IP;
	if (info->offset > IPQ_LINK_ROOM)
		return IPQ_LINK_TOO_LONG;
	if (info->family == NFPROTO_UNSPEC)
		info->family = family_of(info->protocol);
	if (info->vlan_proto)
		info->present |= IPQ_HAS_VLAN;
	return info->protocol == ETH_P_ARP ? IPQ_LINK_ARP : IPQ_LINK_IP;
}

void ipq_link_describe(const struct ipq_link_info *info, struct ipq_packet *packet)
{
	packet->family = info->family;
	packet->hook = info->hook;
	packet->hw_protocol = info->protocol;
	packet->mark = info->mark;
	packet->indev = info->indev;
	packet->outdev = info->outdev;
	packet->physindev = info->physindev;
	packet->physoutdev = info->physoutdev;
	packet->uid = info->uid;
	packet->gid = info->gid;
	packet->hw_addrlen = info->hw_addrlen;
	memcpy(packet->hw_addr, info->hw_addr, sizeof(packet->hw_addr));
	packet->vlan_proto = info->vlan_proto;
	packet->vlan_tci = info->vlan_tci;
	packet->prefix = info->prefix;
	packet->prefix_len = info->prefix_len;
	packet->present |= info->present;
}

static void length_store(uint8_t *header, const struct ipq_link_length *length, uint32_t value)
{
	if (value > length->most)
		value = length->most;
	ipq_store16(header + length->at,
		    length->is_little_endian ? __builtin_bswap16((uint16_t)value) : value);
}

void ipq_link_set_length(int type, uint8_t *header, uint32_t header_len, uint32_t payload_len)
{
	struct ipq_link_info info;

	/* What the header carries is not there, which is no reason not to find its lengths. */
	ipq_link_parse(type, header, header_len, &info);
	for (uint8_t i = 0; i < info.length_count; i++)
		length_store(header, &info.lengths[i],
			     header_len - info.lengths[i].from + payload_len);
	if (info.flags_at)
		header[info.flags_at] &= (uint8_t)~FLAG_CHECKED;
}
