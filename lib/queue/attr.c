/* One netlink message becomes one struct ipq_packet. */
#include "messages.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#define HAS_IS_BIT_OF(has, attribute) \
	_Static_assert((has) == 1 << (attribute), #has " is the bit of " #attribute)
HAS_IS_BIT_OF(IPQ_HAS_PACKET_HDR, NFQA_PACKET_HDR);
HAS_IS_BIT_OF(IPQ_HAS_MARK, NFQA_MARK);
HAS_IS_BIT_OF(IPQ_HAS_TIMESTAMP, NFQA_TIMESTAMP);
HAS_IS_BIT_OF(IPQ_HAS_INDEV, NFQA_IFINDEX_INDEV);
HAS_IS_BIT_OF(IPQ_HAS_OUTDEV, NFQA_IFINDEX_OUTDEV);
HAS_IS_BIT_OF(IPQ_HAS_PHYSINDEV, NFQA_IFINDEX_PHYSINDEV);
HAS_IS_BIT_OF(IPQ_HAS_PHYSOUTDEV, NFQA_IFINDEX_PHYSOUTDEV);
HAS_IS_BIT_OF(IPQ_HAS_HWADDR, NFQA_HWADDR);
HAS_IS_BIT_OF(IPQ_HAS_PAYLOAD, NFQA_PAYLOAD);
HAS_IS_BIT_OF(IPQ_HAS_CT, NFQA_CT);
HAS_IS_BIT_OF(IPQ_HAS_CT_INFO, NFQA_CT_INFO);
HAS_IS_BIT_OF(IPQ_HAS_CAP_LEN, NFQA_CAP_LEN);
HAS_IS_BIT_OF(IPQ_HAS_SKB_INFO, NFQA_SKB_INFO);
HAS_IS_BIT_OF(IPQ_HAS_EXP, NFQA_EXP);
HAS_IS_BIT_OF(IPQ_HAS_UID, NFQA_UID);
HAS_IS_BIT_OF(IPQ_HAS_GID, NFQA_GID);
HAS_IS_BIT_OF(IPQ_HAS_SECCTX, NFQA_SECCTX);
HAS_IS_BIT_OF(IPQ_HAS_VLAN, NFQA_VLAN);
HAS_IS_BIT_OF(IPQ_HAS_L2HDR, NFQA_L2HDR);
HAS_IS_BIT_OF(IPQ_HAS_PRIORITY, IPQ_NFQA_PRIORITY);

_Static_assert(IPQ_SKB_CSUMNOTREADY == NFQA_SKB_CSUMNOTREADY, "NFQA_SKB_CSUMNOTREADY");
_Static_assert(IPQ_SKB_GSO == NFQA_SKB_GSO, "NFQA_SKB_GSO");
_Static_assert(IPQ_SKB_CSUM_NOTVERIFIED == NFQA_SKB_CSUM_NOTVERIFIED, "NFQA_SKB_CSUM_NOTVERIFIED");

enum { HIGHEST_KNOWN = IPQ_NFQA_PRIORITY };

/* The fewest bytes that an attribute's value has. */
static const uint8_t least_len[HIGHEST_KNOWN + 1] = {
	[NFQA_PACKET_HDR] = sizeof(struct nfqnl_msg_packet_hdr),
	[NFQA_MARK] = 4,
	[NFQA_TIMESTAMP] = sizeof(struct nfqnl_msg_packet_timestamp),
	[NFQA_IFINDEX_INDEV] = 4,
	[NFQA_IFINDEX_OUTDEV] = 4,
	[NFQA_IFINDEX_PHYSINDEV] = 4,
	[NFQA_IFINDEX_PHYSOUTDEV] = 4,
	[NFQA_HWADDR] = sizeof(struct nfqnl_msg_packet_hw),
	[NFQA_CT_INFO] = 4,
	[NFQA_CAP_LEN] = 4,
	[NFQA_SKB_INFO] = 4,
	[NFQA_UID] = 4,
	[NFQA_GID] = 4,
	[IPQ_NFQA_PRIORITY] = 4,
};

/* Walks attributes: the type of the one at *p, with its value, and *p and *left behind it. 0 at the
 * end, -EBADMSG where a length does not fit. libmnl's accessors would be four calls an attribute, a
 * dozen attributes a packet. */
static int attr_next(const uint8_t **p, size_t *left, const uint8_t **value, uint16_t *value_len)
{
	struct nlattr attr;
	size_t step;

	if (*left == 0)
		return 0;
	if (*left < sizeof(attr))
		return -EBADMSG;
	memcpy(&attr, *p, sizeof(attr));
	if (attr.nla_len < sizeof(attr) || attr.nla_len > *left)
		return -EBADMSG;
	*value = *p + sizeof(attr);
	*value_len = (uint16_t)(attr.nla_len - sizeof(attr));
	step = NLA_ALIGN((size_t)attr.nla_len);
	if (step > *left)
		step = *left;
	*p += step;
	*left -= step;
	return attr.nla_type & NLA_TYPE_MASK;
}

static int vlan_read(struct ipq_packet *packet, const uint8_t *p, size_t left)
{
	const uint8_t *value;
	uint16_t len;
	int type;

	packet->vlan_proto = 0;
	packet->vlan_tci = 0;
	while ((type = attr_next(&p, &left, &value, &len)) > 0) {
		if (type != NFQA_VLAN_PROTO && type != NFQA_VLAN_TCI)
			continue;
		if (len < 2)
			return -EBADMSG;
		if (type == NFQA_VLAN_PROTO)
			packet->vlan_proto = ipq_load16(value);
		else
			packet->vlan_tci = ipq_load16(value);
	}
	return type;
}

static int hwaddr_read(struct ipq_packet *packet, const uint8_t *value)
{
	packet->hw_addrlen = ipq_load16(value);
	if (packet->hw_addrlen > sizeof(packet->hw_addr))
		return -EBADMSG;
	memcpy(packet->hw_addr, value + offsetof(struct nfqnl_msg_packet_hw, hw_addr),
	       sizeof(packet->hw_addr));
	return 0;
}

static int attr_read(struct ipq_packet *packet, int type, const uint8_t *value, uint16_t len)
{
	switch (type) {
	case NFQA_PACKET_HDR:
		packet->packet_id = ipq_load32(value);
		packet->hw_protocol = ipq_load16(value + 4);
		packet->hook = value[6];
		break;
	case NFQA_MARK: packet->mark = ipq_load32(value); break;
	case NFQA_TIMESTAMP:
		packet->timestamp_sec = ipq_load64(value);
		packet->timestamp_usec = ipq_load64(value + 8);
		break;
	case NFQA_IFINDEX_INDEV: packet->indev = ipq_load32(value); break;
	case NFQA_IFINDEX_OUTDEV: packet->outdev = ipq_load32(value); break;
	case NFQA_IFINDEX_PHYSINDEV: packet->physindev = ipq_load32(value); break;
	case NFQA_IFINDEX_PHYSOUTDEV: packet->physoutdev = ipq_load32(value); break;
	case NFQA_HWADDR: return hwaddr_read(packet, value);
	case NFQA_PAYLOAD:
		/* The message lies in the batch's own memory, which the batch may write to. */
		packet->data = (uint8_t *)value;
		packet->data_len = len;
		break;
	case NFQA_CT:
		packet->ct = value;
		packet->ct_len = len;
		break;
	case NFQA_CT_INFO: packet->ct_info = ipq_load32(value); break;
	case NFQA_CAP_LEN:
		packet->len = ipq_load32(value);
		packet->cut = packet->len > IPQ_PAYLOAD_MAX ? IPQ_CUT_MOST : IPQ_CUT_QUEUE;
		break;
	case NFQA_SKB_INFO: packet->skb_info = ipq_load32(value); break;
	case NFQA_UID: packet->uid = ipq_load32(value); break;
	case NFQA_GID: packet->gid = ipq_load32(value); break;
	case NFQA_SECCTX:
		packet->secctx = value;
		packet->secctx_len = len;
		break;
	case NFQA_VLAN: return vlan_read(packet, value, len);
	case NFQA_L2HDR:
		packet->l2hdr = (uint8_t *)value;
		packet->l2hdr_len = len;
		packet->l2hdr_room = 0;
		packet->link = IPQ_LINK_ETHER;
		break;
	case IPQ_NFQA_PRIORITY: packet->priority = ipq_load32(value); break;
	default: break; /* NFQA_VERDICT_HDR and NFQA_EXP only travel to the kernel */
	}
	return 0;
}

static int attrs_read(struct ipq_packet *packet, const uint8_t *p, size_t left)
{
	const uint8_t *value;
	uint16_t len;
	int type;

	while ((type = attr_next(&p, &left, &value, &len)) > 0) {
		if (type > HIGHEST_KNOWN)
			continue;
		if (len < least_len[type] || attr_read(packet, type, value, len) < 0)
			return -EBADMSG;
		packet->present |= 1U << type;
	}
	return type;
}

int ipq_attr_parse(struct ipq_packet *packet, const void *message, size_t len)
{
	const uint8_t *p = message;
	struct nlmsghdr nlh;
	struct nfgenmsg nfg;
	size_t end;
	int ret;

	packet->data = NULL;
	packet->data_len = 0;
	packet->len = 0;
	packet->present = 0;
	packet->mark = 0;
	packet->priority = 0;
	if (len < sizeof(nlh))
		return -EBADMSG;
	memcpy(&nlh, p, sizeof(nlh));
	if (nlh.nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
		return -ENOMSG;
	if (nlh.nlmsg_len < sizeof(nlh) + sizeof(nfg) || len < sizeof(nlh) + sizeof(nfg))
		return -EBADMSG;
	memcpy(&nfg, p + sizeof(nlh), sizeof(nfg));
	packet->family = nfg.nfgen_family;
	packet->queue_num = ntohs(nfg.res_id);

	end = nlh.nlmsg_len < len ? nlh.nlmsg_len : len;
	ret = attrs_read(packet, p + sizeof(nlh) + sizeof(nfg), end - sizeof(nlh) - sizeof(nfg));
	if (nlh.nlmsg_len > len)
		return -EMSGSIZE;
	if (ret < 0 || !(packet->present & IPQ_HAS_PACKET_HDR))
		return -EBADMSG;
	if (packet->present & IPQ_HAS_CAP_LEN) {
		if (packet->len < packet->data_len)
			return -EBADMSG;
	} else if (packet->present & IPQ_HAS_PAYLOAD) {
		packet->len = packet->data_len;
	}
	return 0;
}
