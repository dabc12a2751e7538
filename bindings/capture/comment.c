#include "comment.h"
#include "lib/bytes.h"
#include "lib/packet/packet.h"
#include "lib/queue/queue.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char ipq_comment_sent[] = "ipq-lua: sent by the filter";

/* Text that ends where there is no more room. */
struct text {
	char *at;
	size_t left;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text->at, text->left, format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= text->left)
		len = (int)text->left - 1;
	text->at += len;
	text->left -= (size_t)len;
}

/* A field as a script names it (bindings/ipq/packet): bits of size bytes, or an address. Lengths and
 * checksums follow by themselves, and are not told. */
struct field {
	const char *name;
	uint8_t offset;
	uint8_t size; /* 1, 2 or 4; of an address 4 or 16 */
	uint8_t is_address;
	uint8_t shift;
	uint32_t mask; /* of what is shifted; 0: all */
};

enum { ADDRESS = 1, MAC = 6 };

static const struct field ip_fields[] = {
	{"ip.dscp", 1, 1, 0, 2, 0x3f},	 {"ip.ecn", 1, 1, 0, 0, 3},
	{"ip.id", 4, 2, 0, 0, 0},	 {"ip.df", 6, 1, 0, 6, 1},
	{"ip.mf", 6, 1, 0, 5, 1},	 {"ip.frag_off", 6, 2, 0, 0, 0x1fff},
	{"ip.ttl", 8, 1, 0, 0, 0},	 {"ip.protocol", 9, 1, 0, 0, 0},
	{"saddr", 12, 4, ADDRESS, 0, 0}, {"daddr", 16, 4, ADDRESS, 0, 0},
};
static const struct field ip6_fields[] = {
	{"ip6.dscp", 0, 2, 0, 6, 0x3f},		{"ip6.ecn", 1, 1, 0, 4, 3},
	{"ip6.flowlabel", 0, 4, 0, 0, 0xfffff}, {"ip6.nexthdr", 6, 1, 0, 0, 0},
	{"ip6.hoplimit", 7, 1, 0, 0, 0},	{"saddr", 8, 16, ADDRESS, 0, 0},
	{"daddr", 24, 16, ADDRESS, 0, 0},
};
static const struct field tcp_fields[] = {
	{"sport", 0, 2, 0, 0, 0},	 {"dport", 2, 2, 0, 0, 0},
	{"tcp.sequence", 4, 4, 0, 0, 0}, {"tcp.ackseq", 8, 4, 0, 0, 0},
	{"tcp.flags", 13, 1, 0, 0, 0},	 {"tcp.window", 14, 2, 0, 0, 0},
	{"tcp.urgptr", 18, 2, 0, 0, 0},
};
static const struct field port_fields[] = {
	{"sport", 0, 2, 0, 0, 0},
	{"dport", 2, 2, 0, 0, 0},
};
static const struct field icmp_fields[] = {
	{"icmp.type", 0, 1, 0, 0, 0},
	{"icmp.code", 1, 1, 0, 0, 0},
	{"icmp.id", 4, 2, 0, 0, 0},
	{"icmp.sequence", 6, 2, 0, 0, 0},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint32_t value_of(const struct field *field, const uint8_t *header)
{
	const uint8_t *p = header + field->offset;
	uint32_t value = field->size == 1 ? *p : field->size == 2 ? ipq_load16(p) : ipq_load32(p);

	value >>= field->shift;
	return field->mask ? value & field->mask : value;
}

static void add_address(struct text *text, const uint8_t *p, uint8_t size)
{
	char buffer[INET6_ADDRSTRLEN];

	inet_ntop(size == 4 ? AF_INET : AF_INET6, p, buffer, sizeof(buffer));
	add(text, "%s", buffer);
}

static void add_fields(struct text *text, const struct field *fields, size_t count,
		       const uint8_t *before, const uint8_t *after)
{
	for (const struct field *field = fields; field < fields + count; field++) {
		if (field->is_address) {
			if (memcmp(before + field->offset, after + field->offset, field->size) == 0)
				continue;
			add(text, ", %s ", field->name);
			add_address(text, before + field->offset, field->size);
			add(text, " -> ");
			add_address(text, after + field->offset, field->size);
		} else if (value_of(field, before) != value_of(field, after)) {
			add(text, ", %s %u -> %u", field->name, value_of(field, before),
			    value_of(field, after));
		}
	}
}

static void add_transport(struct text *text, uint8_t protocol, const uint8_t *before,
			  const uint8_t *after)
{
	switch (protocol) {
	case IPPROTO_TCP: add_fields(text, tcp_fields, COUNT(tcp_fields), before, after); break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
	case IPPROTO_SCTP: add_fields(text, port_fields, COUNT(port_fields), before, after); break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		add_fields(text, icmp_fields, COUNT(icmp_fields), before, after);
		break;
	default: break;
	}
}

/* How many of the bytes behind the headers are others; of other lengths the lengths. */
static void add_body(struct text *text, const struct ipq_packet *before,
		     const struct ipq_packet *after)
{
	uint32_t len = before->data_len - before->body, len_after = after->data_len - after->body;
	uint32_t count = 0;

	if (len != len_after) {
		add(text, ", payload of %u -> %u bytes", len, len_after);
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		count += before->data[before->body + i] != after->data[after->body + i];
	if (count > 0)
		add(text, ", %u of %u bytes of payload", count, len);
}

/* What is different. Where headers are of another kind there is nothing to compare. */
static void add_packet(struct text *text, const struct ipq_packet *packet)
{
	struct ipq_packet before = *packet, after = *packet;

	before.data = (uint8_t *)packet->came;
	before.data_len = packet->came_data_len;
	before.len = packet->came_len > before.data_len ? packet->came_len : before.data_len;
	ipq_header_parse(&before);
	ipq_header_parse(&after);
	if (before.ip_version == 0 || before.ip_version != after.ip_version ||
	    before.protocol != after.protocol || !before.l4 != !after.l4) {
		add(text, ", packet of %u -> %u bytes", before.data_len, after.data_len);
		return;
	}
	if (after.ip_version == 4)
		add_fields(text, ip_fields, COUNT(ip_fields), before.data + before.l3,
			   after.data + after.l3);
	else
		add_fields(text, ip6_fields, COUNT(ip6_fields), before.data + before.l3,
			   after.data + after.l3);
	if (!after.l4)
		return;
	if (before.l4 - before.l3 != after.l4 - after.l3)
		add(text, ", IP header of %d -> %d bytes", before.l4 - before.l3,
		    after.l4 - after.l3);
	add_transport(text, after.protocol, before.data + before.l4, after.data + after.l4);
	if (before.body - before.l4 != after.body - after.l4)
		add(text, ", transport header of %d -> %d bytes", before.body - before.l4,
		    after.body - after.l4);
	add_body(text, &before, &after);
}

static void add_mac(struct text *text, const char *name, const uint8_t *before,
		    const uint8_t *after)
{
	if (memcmp(before, after, MAC) == 0)
		return;
	add(text, ", %s %02x:%02x:%02x:%02x:%02x:%02x -> %02x:%02x:%02x:%02x:%02x:%02x", name,
	    before[0], before[1], before[2], before[3], before[4], before[5], after[0], after[1],
	    after[2], after[3], after[4], after[5]);
}

static void add_link(struct text *text, uint8_t link, const struct ipq_comment_link *header)
{
	const uint8_t *before = header->before, *after = header->after;

	if (link != IPQ_LINK_ETHER || header->before_len < 2 * MAC || header->after_len < 2 * MAC) {
		add(text, ", link header");
		return;
	}
	add_mac(text, "ether.daddr", before, after);
	add_mac(text, "ether.saddr", before + MAC, after + MAC);
	if (header->before_len != header->after_len ||
	    memcmp(before + 2 * MAC, after + 2 * MAC, header->after_len - 2 * MAC) != 0)
		add(text, ", vlan");
}

void ipq_comment(char comment[IPQ_COMMENT_SIZE], const struct ipq_packet *packet,
		 const struct ipq_comment_link *header, bool is_mended)
{
	struct text text = {comment, IPQ_COMMENT_SIZE};
	char verdict[IPQ_VERDICT_SIZE];

	add(&text, "ipq-lua: %.*s", (int)ipq_judged_text(packet, verdict), verdict);
	if (packet->why && packet->why[0])
		add(&text, ", error: %s", packet->why);
	if (packet->set & IPQ_SET_MARK)
		add(&text, ", mark %u", packet->mark);
	if (packet->set & IPQ_SET_LINK)
		add_link(&text, packet->link, header);
	if (packet->set & IPQ_SET_PAYLOAD && packet->came)
		add_packet(&text, packet);
	if (is_mended)
		add(&text, ", checksums made right");
}
