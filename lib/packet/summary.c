/* A packet in one line. Lengths are those on the wire, also where the copy is cut off. */
#include "packet.h"
#include "lib/bytes.h"
#include "lib/ports.h"
#include "lib/text.h"

#include <net/if_arp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>

enum { IPV6_HEADER = 40, UDP_HEADER = 8, ARP_HEADER = 8, ARP_IPV4 = 28, MAC_SIZE = 6 };

/* Addresses */

static char *put_ip(char *to, const uint8_t *address)
{
	for (int i = 0; i < 4; i++) {
		to = ipq_put_number(to, address[i]);
		*to++ = '.';
	}
	return to - 1;
}

/* Where the longest run of words that are 0 begins, the first of those, and how many it has; -1
 * where none has two. */
static int longest_run(const uint16_t words[8], int *len)
{
	int best = -1, run = 0;

	*len = 1;
	for (int i = 0; i < 8; i++) {
		run = words[i] ? 0 : run + 1;
		if (run > *len) {
			*len = run;
			best = i - run + 1;
		}
	}
	return best;
}

/* RFC 5952, and the last four bytes as IPv4's where inet_ntop(3) has them so. */
static char *put_ip6(char *to, const uint8_t *address)
{
	uint16_t words[8];
	int run, len;
	bool has_ip;

	for (int i = 0; i < 8; i++)
		words[i] = ipq_load16(address + (ptrdiff_t)i * 2);
	run = longest_run(words, &len);
	has_ip = run == 0 && (len == 6 || (len == 5 && words[5] == 0xffff));
	for (int i = 0; i < 8; i++) {
		if (i == run)
			*to++ = ':';
		if (i >= run && i < run + len && run >= 0)
			continue;
		if (i > 0)
			*to++ = ':';
		if (i == 6 && has_ip)
			return put_ip(to, address + 12);
		to = ipq_put_hex(to, words[i], 1);
	}
	if (run >= 0 && run + len == 8)
		*to++ = ':';
	return to;
}

static char *put_mac(char *to, const uint8_t *address)
{
	for (int i = 0; i < MAC_SIZE; i++) {
		to = ipq_put_hex(to, address[i], 2);
		*to++ = ':';
	}
	return to - 1;
}

/* ARP: RFC 826 */

static bool is_zero(const uint8_t *bytes, size_t len)
{
	while (len && !bytes[len - 1])
		len--;
	return len == 0;
}

/* Of Ethernet and IPv4; its sender's addresses are at 8 and 14, its target's at 18 and 24. */
static char *put_arp_ip(char *to, const uint8_t *arp)
{
	uint16_t operation = ipq_load16(arp + 6);

	if (operation == ARPOP_REQUEST) {
		to = put_ip(ipq_put_text(to, "Request who-has "), arp + 24);
		if (!is_zero(arp + 18, MAC_SIZE)) {
			to = put_mac(ipq_put_text(to, " ("), arp + 18);
			*to++ = ')';
		}
		return put_ip(ipq_put_text(to, " tell "), arp + 14);
	}
	if (operation == ARPOP_REPLY) {
		to = put_ip(ipq_put_text(to, "Reply "), arp + 14);
		return put_mac(ipq_put_text(to, " is-at "), arp + 8);
	}
	return ipq_put_number(ipq_put_text(to, "operation "), operation);
}

static char *put_arp(char *to, const struct ipq_packet *packet)
{
	static const uint8_t of_ip[4] = {ETH_P_IP >> 8, ETH_P_IP & 0xff, MAC_SIZE, 4};
	const uint8_t *arp = packet->data;

	to = ipq_put_text(to, "ARP, ");
	if (memcmp(arp + 2, of_ip, sizeof(of_ip)) == 0) {
		to = put_arp_ip(to, arp);
	} else {
		to = ipq_put_number(ipq_put_text(to, "hardware "), ipq_load16(arp));
		to = ipq_put_number(ipq_put_text(to, " (len "), arp[4]);
		to = ipq_put_hex(ipq_put_text(to, "), protocol 0x"), ipq_load16(arp + 2), 4);
		to = ipq_put_number(ipq_put_text(to, " (len "), arp[5]);
		*to++ = ')';
	}
	return ipq_put_number(ipq_put_text(to, ", length "), packet->len);
}

/* Whether all of the ARP packet is there that put_arp() reads. */
static bool is_arp(const struct ipq_packet *packet)
{
	return packet->hw_protocol == ETH_P_ARP && packet->data_len >= ARP_HEADER &&
	       (packet->data_len >= ARP_IPV4 || packet->data[4] != MAC_SIZE ||
		packet->data[5] != 4);
}

/* What IP carries */

/* Where the IP packet ends on the wire, as an offset in the copy, which may end before that. Where
 * the header's length cannot be right, or is too large for its field, that is where the bytes end;
 * so it is of a packet whose lengths have yet to be made right. */
static uint32_t wire_end(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->data + packet->l3;
	uint32_t least, len;

	if (packet->data_len >= packet->len)
		return packet->end;
	least = packet->ip_version == 4 ? (p[0] & 15U) * 4 : IPV6_HEADER + 1;
	len = packet->ip_version == 4 ? ipq_load16(p + 2) : ipq_load16(p + 4) + IPV6_HEADER;
	if (len < least || len > packet->len - packet->l3 || packet->dirty & IPQ_DIRTY_ALL)
		return packet->len;
	return packet->l3 + len;
}

static char *put_length(char *to, uint32_t length)
{
	return ipq_put_number(ipq_put_text(to, ", length "), length);
}

static char *put_tcp(char *to, const struct ipq_packet *packet)
{
	static const char letters[] = "FSRP.UEW";
	const uint8_t *tcp = packet->data + packet->l4;
	uint32_t sequence = ipq_load32(tcp + 4), length = wire_end(packet) - packet->body;

	to = ipq_put_text(to, "Flags [");
	for (int bit = 0; bit < 8; bit++)
		if (tcp[13] >> bit & 1)
			*to++ = letters[bit];
	if (!tcp[13])
		to = ipq_put_text(to, "none");
	*to++ = ']';
	if (length || tcp[13] & (TH_FIN | TH_SYN | TH_RST))
		to = ipq_put_number(ipq_put_text(to, ", seq "), sequence);
	if (length)
		to = ipq_put_number(ipq_put_text(to, ":"), sequence + length);
	if (tcp[13] & TH_ACK)
		to = ipq_put_number(ipq_put_text(to, ", ack "), ipq_load32(tcp + 8));
	to = ipq_put_number(ipq_put_text(to, ", win "), ipq_load16(tcp + 14));
	return put_length(to, length);
}

/* By the length that its own header tells: of a first fragment that is the whole datagram's. */
static char *put_udp(char *to, const struct ipq_packet *packet)
{
	uint32_t room = wire_end(packet) - packet->body;
	uint32_t length = ipq_load16(packet->data + packet->l4 + 4);

	if (packet->dirty & IPQ_DIRTY_ALL)
		length = room + UDP_HEADER;
	if (length < UDP_HEADER)
		return ipq_put_number(ipq_put_text(to, "UDP, bad length "), length);
	length -= UDP_HEADER;
	if (length <= room || packet->fragment != IPQ_FRAGMENT_NONE)
		return put_length(ipq_put_text(to, "UDP"), length);
	to = ipq_put_number(ipq_put_text(to, "UDP, bad length "), length);
	return ipq_put_number(ipq_put_text(to, " > "), room);
}

static const char *icmp_name(uint8_t type)
{
	switch (type) {
	case 0: return "echo reply";
	case 3: return "unreachable";
	case 5: return "redirect";
	case 8: return "echo request";
	case 11: return "time exceeded";
	default: return NULL;
	}
}

static const char *icmpv6_name(uint8_t type)
{
	switch (type) {
	case 1: return "unreachable";
	case 2: return "packet too big";
	case 3: return "time exceeded";
	case 128: return "echo request";
	case 129: return "echo reply";
	case 133: return "router solicitation";
	case 134: return "router advertisement";
	case 135: return "neighbor solicitation";
	case 136: return "neighbor advertisement";
	default: return NULL;
	}
}

static char *put_icmp(char *to, const struct ipq_packet *packet, const char *name)
{
	const uint8_t *icmp = packet->data + packet->l4;

	if (!name) {
		to = ipq_put_number(ipq_put_text(to, "type "), icmp[0]);
		to = ipq_put_number(ipq_put_text(to, " code "), icmp[1]);
	} else {
		to = ipq_put_text(to, name);
	}
	if (name && strncmp(name, "echo", 4) == 0) {
		to = ipq_put_number(ipq_put_text(to, ", id "), ipq_load16(icmp + 4));
		to = ipq_put_number(ipq_put_text(to, ", seq "), ipq_load16(icmp + 6));
	}
	return put_length(to, wire_end(packet) - packet->l4);
}

/* What has no header that could be told: the number, or that it is behind an authentication header.
 */
static char *put_unknown(char *to, const struct ipq_packet *packet)
{
	if (packet->ah)
		return ipq_put_text(to, "AH");
	return ipq_put_number(ipq_put_text(to, "protocol "), packet->protocol);
}

static char *put_transport(char *to, const struct ipq_packet *packet)
{
	uint8_t type;

	if (packet->l4 == 0)
		return put_unknown(to, packet);
	type = packet->data[packet->l4];
	switch (packet->protocol) {
	case IPPROTO_TCP: return put_tcp(to, packet);
	case IPPROTO_UDP: return put_udp(to, packet);
	case IPPROTO_ICMP: return put_icmp(ipq_put_text(to, "ICMP "), packet, icmp_name(type));
	case IPPROTO_ICMPV6:
		return put_icmp(ipq_put_text(to, "ICMP6, "), packet, icmpv6_name(type));
	case IPPROTO_SCTP: return ipq_put_text(to, "SCTP");
	case IPPROTO_UDPLITE: return ipq_put_text(to, "UDPLITE");
	case IPPROTO_DCCP: return ipq_put_text(to, "DCCP");
	case IPPROTO_GRE: return ipq_put_text(to, "GRE");
	case IPPROTO_ESP: return ipq_put_text(to, "ESP");
	default: return put_unknown(to, packet);
	}
}

/* The line */

static char *put_end(char *to, const struct ipq_packet *packet, bool is_source)
{
	const uint8_t *ip = packet->data + packet->l3;
	const uint8_t *port = packet->data + packet->l4 + (is_source ? 0 : 2);

	if (packet->ip_version == 4)
		to = put_ip(to, ip + (is_source ? 12 : 16));
	else
		to = put_ip6(to, ip + (is_source ? 8 : 24));
	if (!packet->l4 || !ipq_has_ports(packet->protocol))
		return to;
	*to++ = '.';
	return ipq_put_number(to, ipq_load16(port));
}

static const char *family_name(uint8_t family)
{
	switch (family) {
	case NFPROTO_UNSPEC: return "unspec";
	case NFPROTO_INET: return "inet";
	case NFPROTO_IPV4: return "ip";
	case NFPROTO_ARP: return "arp";
	case NFPROTO_NETDEV: return "netdev";
	case NFPROTO_BRIDGE: return "bridge";
	case NFPROTO_IPV6: return "ip6";
	default: return "packet";
	}
}

/* Of what is no IP, or has no header of it. */
static char *put_frame(char *to, const struct ipq_packet *packet)
{
	to = ipq_put_text(to, family_name(packet->family));
	to = ipq_put_hex(ipq_put_text(to, ", ethertype 0x"), packet->hw_protocol, 4);
	to = ipq_put_text(to, ", ");
	if (packet->present & (IPQ_HAS_PAYLOAD | IPQ_HAS_CAP_LEN))
		to = ipq_put_number(to, packet->len);
	else
		*to++ = '?';
	return ipq_put_text(to, " bytes");
}

size_t ipq_packet_summary(struct ipq_packet *packet, char *to)
{
	char *at = to;

	if (is_arp(packet))
		return (size_t)(put_arp(at, packet) - to);
	if (!packet->parsed)
		ipq_header_parse(packet);
	if (!packet->ip_version)
		return (size_t)(put_frame(at, packet) - to);
	at = ipq_put_text(at, packet->ip_version == 4 ? "IP " : "IP6 ");
	at = put_end(at, packet, true);
	at = put_end(ipq_put_text(at, " > "), packet, false);
	return (size_t)(put_transport(ipq_put_text(at, ": "), packet) - to);
}
