/* What NFQA_CT tells of a packet's connection. */
#include "queue.h"
#include "lib/bytes.h"
#include "lib/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <netinet/in.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

_Static_assert(IPQ_CT_HAS_ORIGINAL == 1 << CTA_TUPLE_ORIG, "CTA_TUPLE_ORIG");
_Static_assert(IPQ_CT_HAS_REPLY == 1 << CTA_TUPLE_REPLY, "CTA_TUPLE_REPLY");
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

/* An address of 4 or 16 bytes; another length is none. */
static int address_read(const struct nlattr *attr, struct ipq_tuple *tuple, uint8_t *to)
{
	uint16_t len = mnl_attr_get_payload_len(attr);

	if (len != 4 && len != 16)
		return MNL_CB_ERROR;
	memcpy(to, mnl_attr_get_payload(attr), len);
	tuple->ip_version = len == 4 ? 4 : 6;
	return MNL_CB_OK;
}

static int addresses_read(const struct nlattr *attr, void *data)
{
	struct ipq_tuple *tuple = data;

	switch (mnl_attr_get_type(attr)) {
	case CTA_IP_V4_SRC:
	case CTA_IP_V6_SRC: return address_read(attr, tuple, tuple->saddr);
	case CTA_IP_V4_DST:
	case CTA_IP_V6_DST: return address_read(attr, tuple, tuple->daddr);
	default: return MNL_CB_OK;
	}
}

static int protocol_read(const struct nlattr *attr, void *data)
{
	struct ipq_tuple *tuple = data;
	uint16_t type = mnl_attr_get_type(attr);

	if (type == CTA_PROTO_NUM) {
		if (mnl_attr_validate(attr, MNL_TYPE_U8) < 0)
			return MNL_CB_ERROR;
		tuple->protocol = mnl_attr_get_u8(attr);
	} else if (type == CTA_PROTO_SRC_PORT || type == CTA_PROTO_DST_PORT) {
		if (mnl_attr_validate(attr, MNL_TYPE_U16) < 0)
			return MNL_CB_ERROR;
		*(type == CTA_PROTO_SRC_PORT ? &tuple->sport : &tuple->dport) =
			ntohs(mnl_attr_get_u16(attr));
	}
	return MNL_CB_OK;
}

static int tuple_read(const struct nlattr *attr, void *data)
{
	switch (mnl_attr_get_type(attr)) {
	case CTA_TUPLE_IP: return mnl_attr_parse_nested(attr, addresses_read, data);
	case CTA_TUPLE_PROTO: return mnl_attr_parse_nested(attr, protocol_read, data);
	default: return MNL_CB_OK;
	}
}

static int attr_read(const struct nlattr *attr, void *data)
{
	struct ipq_conntrack *conntrack = data;
	uint16_t type = mnl_attr_get_type(attr);
	uint32_t *field = field_of(conntrack, type);
	struct ipq_tuple *tuple;

	if (type == CTA_TUPLE_ORIG || type == CTA_TUPLE_REPLY) {
		tuple = type == CTA_TUPLE_ORIG ? &conntrack->original : &conntrack->reply;
		if (mnl_attr_parse_nested(attr, tuple_read, tuple) < 0)
			return MNL_CB_ERROR;
		if (!tuple->ip_version)
			return MNL_CB_OK;
	} else if (type == CTA_ZONE) {
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

static bool is_reply(const struct ipq_packet *packet)
{
	return packet->ct_info >= IP_CT_IS_REPLY && packet->ct_info <= IP_CT_RELATED_REPLY;
}

/* Whether the packet has other addresses or ports than the tuple says. */
static bool is_changed(const struct ipq_packet *packet, const struct ipq_tuple *tuple)
{
	bool is_v4 = tuple->ip_version == 4;
	const uint8_t *saddr = packet->data + packet->l3 + (is_v4 ? 12 : 8);
	uint32_t len = is_v4 ? 4 : 16;
	const uint8_t *ports = packet->data + packet->l4;

	if (memcmp(saddr, tuple->saddr, len) != 0 || memcmp(saddr + len, tuple->daddr, len) != 0)
		return true;
	return packet->l4 && ipq_has_ports(packet->protocol) &&
	       (ipq_load16(ports) != tuple->sport || ipq_load16(ports + 2) != tuple->dport);
}

/* The connection that the packet is one of. What belongs to an ICMP error is the one that it quotes. */
static bool own_connection(const struct ipq_packet *packet, struct ipq_conntrack *conntrack)
{
	return packet->present & IPQ_HAS_CT_INFO && packet->ct_info != IP_CT_RELATED &&
	       packet->ct_info != IP_CT_RELATED_REPLY && packet->ip_version &&
	       ipq_conntrack_parse(packet, conntrack) == 0;
}

static bool is_other(const struct ipq_packet *packet, const struct ipq_tuple *tuple)
{
	return tuple->ip_version == packet->ip_version && tuple->protocol == packet->protocol &&
	       is_changed(packet, tuple);
}

int ipq_conntrack_sender(const struct ipq_packet *packet, struct ipq_tuple *tuple)
{
	struct ipq_conntrack conntrack;

	if (!own_connection(packet, &conntrack))
		return false;
	*tuple = is_reply(packet) ? conntrack.reply : conntrack.original;
	return is_other(packet, tuple);
}

/* As who gets the packet has it: the answer's tuple, turned round. */
static bool receiver_knows(const struct ipq_packet *packet, const struct ipq_conntrack *conntrack,
			   struct ipq_tuple *tuple)
{
	const struct ipq_tuple *answer =
		is_reply(packet) ? &conntrack->original : &conntrack->reply;

	*tuple = *answer;
	memcpy(tuple->saddr, answer->daddr, sizeof(tuple->saddr));
	memcpy(tuple->daddr, answer->saddr, sizeof(tuple->daddr));
	tuple->sport = answer->dport;
	tuple->dport = answer->sport;
	return is_other(packet, tuple);
}

int ipq_conntrack_receiver(const struct ipq_packet *packet, struct ipq_tuple *tuple)
{
	struct ipq_conntrack conntrack;

	return own_connection(packet, &conntrack) && receiver_knows(packet, &conntrack, tuple);
}

int ipq_conntrack_answered(const struct ipq_packet *packet, struct ipq_tuple *tuple)
{
	struct ipq_conntrack conntrack;

	if (!own_connection(packet, &conntrack))
		return false;
	if (conntrack.status & IPS_CONFIRMED)
		return receiver_knows(packet, &conntrack, tuple);
	*tuple = is_reply(packet) ? conntrack.reply : conntrack.original;
	return is_other(packet, tuple);
}
