/* What rules log of packets (-j NFLOG), as "tcpdump -i nflog:N" captures it: the attributes of the
 * kernel's message, in the byte order of the machine that captured it, their values in that of the
 * network. */
#include "layers.h"
#include "lib/bytes.h"

#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>

enum { NFLOG_HEADER = 4, ATTR_HEADER = 4, IPV4_HEADER = 20, IPV6_HEADER = 40 };

/* The fewest bytes that an attribute's value has. */
static const uint8_t least_len[NFULA_MAX + 1] = {
	[NFULA_PACKET_HDR] = 4,
	[NFULA_MARK] = 4,
	[NFULA_IFINDEX_INDEV] = 4,
	[NFULA_IFINDEX_OUTDEV] = 4,
	[NFULA_IFINDEX_PHYSINDEV] = 4,
	[NFULA_IFINDEX_PHYSOUTDEV] = 4,
	[NFULA_HWADDR] = 12,
	[NFULA_UID] = 4,
	[NFULA_GID] = 4,
};

struct attr {
	uint16_t type;
	uint16_t len; /* of the value */
	const uint8_t *value;
};

/* The attributes that are read, with the link layer header that the packet had. */
struct log {
	struct ipq_link_info *info;
	bool is_little_endian;
	const uint8_t *l2hdr;
	uint16_t l2hdr_len;
};

static uint16_t load16(const struct log *log, const uint8_t *p)
{
	return (uint16_t)(log->is_little_endian ? p[0] | p[1] << 8 : p[0] << 8 | p[1]);
}

/* Reads the header of the attribute at p, of which left bytes are there. Its value may be cut off.
 * False where there is none. */
static bool attr_load(const struct log *log, const uint8_t *p, uint32_t left, struct attr *attr)
{
	uint16_t len;

	if (left < ATTR_HEADER)
		return false;
	len = load16(log, p);
	if (len < ATTR_HEADER)
		return false;
	*attr = (struct attr){.type = load16(log, p + 2) & NLA_TYPE_MASK,
			      .len = (uint16_t)(len - ATTR_HEADER),
			      .value = p + ATTR_HEADER};
	return true;
}

static void vlan_read(const struct log *log, const uint8_t *p, uint32_t left)
{
	struct attr attr;

	while (attr_load(log, p, left, &attr) && attr.len <= left - ATTR_HEADER) {
		uint32_t step = NLA_ALIGN(ATTR_HEADER + (uint32_t)attr.len);

		if (attr.len >= 2 && attr.type == NFULA_VLAN_PROTO)
			log->info->vlan_proto = ipq_load16(attr.value);
		else if (attr.len >= 2 && attr.type == NFULA_VLAN_TCI)
			log->info->vlan_tci = ipq_load16(attr.value);
		step = step < left ? step : left;
		p += step;
		left -= step;
	}
}

static void hwaddr_read(struct ipq_link_info *info, const uint8_t *value)
{
	if (ipq_load16(value) > sizeof(info->hw_addr))
		return;
	info->hw_addrlen = ipq_load16(value);
	memcpy(info->hw_addr, value + 4, sizeof(info->hw_addr));
	info->present |= IPQ_HAS_HWADDR;
}

static void number_read(struct ipq_link_info *info, uint32_t *number, enum ipq_present has,
			const uint8_t *value)
{
	*number = ipq_load32(value);
	info->present |= has;
}

static void attr_read(struct log *log, const struct attr *attr)
{
	struct ipq_link_info *info = log->info;
	const uint8_t *value = attr->value;

	if (attr->type > NFULA_MAX || attr->len < least_len[attr->type])
		return;
	switch (attr->type) {
	case NFULA_PACKET_HDR:
		info->protocol = ipq_load16(value);
		info->hook = value[2];
		break;
	case NFULA_MARK: number_read(info, &info->mark, IPQ_HAS_MARK, value); break;
	case NFULA_IFINDEX_INDEV: number_read(info, &info->indev, IPQ_HAS_INDEV, value); break;
	case NFULA_IFINDEX_OUTDEV: number_read(info, &info->outdev, IPQ_HAS_OUTDEV, value); break;
	case NFULA_IFINDEX_PHYSINDEV:
		number_read(info, &info->physindev, IPQ_HAS_PHYSINDEV, value);
		break;
	case NFULA_IFINDEX_PHYSOUTDEV:
		number_read(info, &info->physoutdev, IPQ_HAS_PHYSOUTDEV, value);
		break;
	case NFULA_HWADDR: hwaddr_read(info, value); break;
	case NFULA_PREFIX:
		info->prefix = (const char *)value;
		info->prefix_len = (uint16_t)strnlen(info->prefix, attr->len);
		break;
	case NFULA_UID: number_read(info, &info->uid, IPQ_HAS_UID, value); break;
	case NFULA_GID: number_read(info, &info->gid, IPQ_HAS_GID, value); break;
	case NFULA_VLAN: vlan_read(log, value, attr->len); break;
	case NFULA_L2HDR:
		log->l2hdr = value;
		log->l2hdr_len = attr->len;
		break;
	default: break;
	}
}

/* A packet that an Ethernet device is about to send (netdev, hook egress) is logged with its link
 * layer header in front. */
static void l2hdr_skip(struct ipq_layers *frame, const struct log *log)
{
	if (log->l2hdr && ipq_layers_has(frame, log->l2hdr_len) &&
	    memcmp(ipq_layers_here(frame), log->l2hdr, log->l2hdr_len) == 0)
		frame->info->offset += log->l2hdr_len;
}

/* The length that the IP header gives; 0 where it gives none. */
static uint32_t ip_len(const struct ipq_layers *frame)
{
	const uint8_t *ip = ipq_layers_here(frame);

	if (frame->info->protocol == ETH_P_IP && ipq_layers_has(frame, IPV4_HEADER))
		return ipq_load16(ip + 2);
	if (frame->info->protocol == ETH_P_IPV6 && ipq_layers_has(frame, IPV6_HEADER) &&
	    ipq_load16(ip + 4))
		return IPV6_HEADER + (uint32_t)ipq_load16(ip + 4);
	return 0;
}

/* Of what the kernel's IP has received, which looks at lengths, less than its length means that the
 * rule logs no more of it. What comes by a bridge or a device may be anything. */
static void missing_note(struct ipq_layers *frame)
{
	struct ipq_link_info *info = frame->info;
	uint32_t logged = info->end - info->offset;
	uint32_t len = ip_len(frame);

	if ((info->family == NFPROTO_IPV4 || info->family == NFPROTO_IPV6) && len > logged)
		info->missing = len - logged;
}

static enum ipq_link_payload payload_parse(struct ipq_layers *frame, const struct log *log)
{
	struct ipq_link_info *info = frame->info;
	enum ipq_link_payload carried;

	l2hdr_skip(frame, log);
	if (info->family == NFPROTO_IPV4)
		info->protocol = ETH_P_IP;
	else if (info->family == NFPROTO_IPV6)
		info->protocol = ETH_P_IPV6;
	else if (info->family == NFPROTO_ARP)
		info->protocol = ETH_P_ARP;
	carried = info->protocol ? ipq_ethertype_parse(frame) : ipq_raw_parse(frame);
	if (carried == IPQ_LINK_IP)
		missing_note(frame);
	return carried;
}

/* No attribute's type is over 255, but for two bits of its own in the upper byte. */
static bool is_little_endian(const uint8_t *type)
{
	return type[0] != 0 && (type[1] & ~(NLA_F_NESTED >> 8 | NLA_F_NET_BYTEORDER >> 8)) == 0;
}

enum ipq_link_payload ipq_nflog_parse(struct ipq_layers *frame)
{
	struct ipq_link_info *info = frame->info;
	const uint8_t *p = ipq_layers_here(frame);
	struct log log = {.info = info};
	struct attr attr;

	if (!ipq_layers_has(frame, NFLOG_HEADER + ATTR_HEADER))
		return IPQ_LINK_CUT_OFF;
	if (p[1] != 0) /* its version */
		return IPQ_LINK_NO_IP;
	info->family = p[0];
	info->offset = NFLOG_HEADER;
	log.is_little_endian = is_little_endian(p + NFLOG_HEADER + 2);
	while (attr_load(&log, ipq_layers_here(frame), frame->len - info->offset, &attr)) {
		uint32_t step = NLA_ALIGN(ATTR_HEADER + (uint32_t)attr.len);

		if (attr.type == NFULA_PAYLOAD) {
			struct ipq_link_length length = {
				.at = info->offset,
				.from = info->offset,
				.most = UINT16_MAX,
				.is_little_endian = log.is_little_endian,
			};

			info->offset += ATTR_HEADER;
			ipq_layers_end(frame, length, ATTR_HEADER + (uint32_t)attr.len);
			return payload_parse(frame, &log);
		}
		if (!ipq_layers_has(frame, ATTR_HEADER + (uint32_t)attr.len))
			break;
		attr_read(&log, &attr);
		info->offset += ipq_layers_has(frame, step) ? step : frame->len - info->offset;
	}
	/* A log without a packet in it is of one all the same. */
	return IPQ_LINK_CUT_OFF;
}
