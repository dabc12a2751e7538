/* Link headers of frames that nobody has captured. */
#include "link.h"
#include "lib/bytes.h"

#include <string.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>

enum { GROUP = 1 /* of an Ethernet address' first byte */ };

void ipq_link_turn(int type, uint8_t *header, uint32_t header_len)
{
	uint8_t destination[ETH_ALEN];

	if (type != IPQ_LINKTYPE_ETHERNET || header_len < 2 * ETH_ALEN)
		return;
	memcpy(destination, header, ETH_ALEN);
	memcpy(header, header + ETH_ALEN, ETH_ALEN);
	if (destination[0] & GROUP)
		memset(destination, 0, ETH_ALEN);
	memcpy(header + ETH_ALEN, destination, ETH_ALEN);
}

/* The last byte of PPP's numbers (RFC 1332, RFC 5072); 0: it is neither. */
static uint8_t ppp_number(uint16_t protocol)
{
	return protocol == ETH_P_IP ? 0x21 : protocol == ETH_P_IPV6 ? 0x57 : 0;
}

/* Address families of BSD's loopback: the byte that tells is the first or the last, by who has written
 * it. */
static void set_family(int type, uint8_t *header, uint8_t version)
{
	uint8_t *family = &header[header[0] ? 0 : 3];

	*family = version == 4 ? 2 : type == IPQ_LINKTYPE_NULL ? 30 : 24;
}

/* Where the header ends with what it carries, as most do. */
static void set_last(uint8_t *header, uint32_t header_len, uint16_t from, uint16_t to)
{
	uint8_t *last = header + header_len - 1;

	if (header_len >= 2 && ipq_load16(last - 1) == from)
		ipq_store16(last - 1, to);
	else if (header_len >= 1 && *last == ppp_number(from))
		*last = ppp_number(to);
}

void ipq_link_set_version(int type, uint8_t *header, uint32_t header_len, uint8_t version)
{
	uint16_t protocol = version == 4 ? ETH_P_IP : ETH_P_IPV6;
	struct ipq_link_info info;

	/* What the header carries is not there, which is no reason not to find out. */
	ipq_link_parse(type, header, header_len, &info);
	if (info.protocol == protocol || header_len == 0)
		return;
	if ((type == IPQ_LINKTYPE_NULL || type == IPQ_LINKTYPE_LOOP) && header_len >= 4)
		set_family(type, header, version);
	else if (type == IPQ_LINKTYPE_NFLOG)
		header[0] = version == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
	else if (type == IPQ_LINKTYPE_LINUX_SLL2 && ipq_load16(header) == info.protocol)
		ipq_store16(header, protocol);
	else
		set_last(header, header_len, info.protocol, protocol);
}
