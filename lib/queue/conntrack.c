/* What NFQA_CT tells of a packet's connection. */
#include "queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

_Static_assert(IPQ_CT_HAS_STATUS == 1 << CTA_STATUS, "CTA_STATUS");
_Static_assert(IPQ_CT_HAS_TIMEOUT == 1 << CTA_TIMEOUT, "CTA_TIMEOUT");
_Static_assert(IPQ_CT_HAS_MARK == 1 << CTA_MARK, "CTA_MARK");
_Static_assert(IPQ_CT_HAS_ID == 1 << CTA_ID, "CTA_ID");
_Static_assert(IPQ_CT_HAS_ZONE == 1 << CTA_ZONE, "CTA_ZONE");

static uint32_t *field_of(struct ipq_conntrack *conntrack, uint16_t type)
{
	switch (type) {
	case CTA_STATUS: return &conntrack->status;
	case CTA_TIMEOUT: return &conntrack->timeout;
	case CTA_MARK: return &conntrack->mark;
	case CTA_ID: return &conntrack->id;
	default: return NULL;
	}
}

static int attr_read(const struct nlattr *attr, void *data)
{
	struct ipq_conntrack *conntrack = data;
	uint16_t type = mnl_attr_get_type(attr);
	uint32_t *field = field_of(conntrack, type);

	if (type == CTA_ZONE) {
		if (mnl_attr_validate(attr, MNL_TYPE_U16) < 0)
			return MNL_CB_ERROR;
		conntrack->zone = ntohs(mnl_attr_get_u16(attr));
	} else if (field) {
		if (mnl_attr_validate(attr, MNL_TYPE_U32) < 0)
			return MNL_CB_ERROR;
		*field = ntohl(mnl_attr_get_u32(attr));
	} else {
		return MNL_CB_OK;
	}
	conntrack->has |= 1U << type;
	return MNL_CB_OK;
}

int ipq_conntrack_parse(const struct ipq_packet *packet, struct ipq_conntrack *conntrack)
{
	memset(conntrack, 0, sizeof(*conntrack));
	if (!(packet->present & IPQ_HAS_CT))
		return -ENOENT;
	if (mnl_attr_parse_payload(packet->ct, packet->ct_len, attr_read, conntrack) != MNL_CB_OK)
		return -EBADMSG;
	return 0;
}
