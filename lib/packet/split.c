/* A packet in pieces: segments of TCP, fragments of all others. */
#include "checksum.h"
#include "make.h"
#include "packet.h"
#include "lib/bytes.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <string.h>

enum {
	LEAST_4 = 68, /* every link takes the longest header and 8 bytes: RFC 791 */
	FRAGMENT_HEADER = 8,
	FRAGMENT_LEAST = 8, /* bytes of the packet in a piece that others follow */
	LEAST_6 = IPQ_MAKE_IPV6 + FRAGMENT_HEADER + FRAGMENT_LEAST,
	IPV4_OPTIONS = 40,
	TCP_MD5 = 19,
	TCP_AO = 29,
	TCP_CWR = 0x80, /* RFC 3168; <netinet/tcp.h> has none */
	TCP_FIRST = TCP_CWR | TH_SYN,
	TCP_LAST = TH_FIN | TH_RST | TH_PUSH
};

/* A piece of a packet: its bytes from offset at on, size of them at most. */
struct piece {
	const struct ipq_packet *packet;
	uint32_t at;
	uint32_t len; /* of the packet's bytes, those of its headers not counted */
	bool is_first;
	bool is_last;
	uint8_t *bytes;
	uint32_t size;
};

/* Takes what comes next of what lies behind the packet's first head bytes, room bytes at most. False where nothing
 * fits, or the place is none where a piece can begin. */
static bool piece_take(struct piece *piece, uint32_t head, uint32_t room)
{
	uint32_t end = piece->packet->end;

	piece->is_first = piece->at == 0;
	if (piece->is_first)
		piece->at = head;
	if (room == 0 || piece->at < head)
		return false;
	piece->len = end - piece->at < room ? end - piece->at : room;
	piece->is_last = piece->at + piece->len == end;
	return true;
}

static void segment_write(const struct piece *piece, uint8_t *tcp, uint32_t done)
{
	uint32_t seq = ipq_load32(tcp + 4) + done;
	uint32_t urgent = ipq_load16(tcp + 18);

	/* A SYN is one number before the first byte. */
	if (!piece->is_first && tcp[13] & TH_SYN)
		seq++;
	ipq_store16(tcp + 4, seq >> 16);
	ipq_store16(tcp + 6, seq);
	if (!piece->is_first)
		tcp[13] &= (uint8_t)~TCP_FIRST;
	if (!piece->is_last)
		tcp[13] &= (uint8_t)~TCP_LAST;
	if (tcp[13] & TH_URG && urgent > done) {
		ipq_store16(tcp + 18, urgent - done);
	} else if (done > 0) {
		tcp[13] &= (uint8_t)~TH_URG;
		ipq_store16(tcp + 18, 0);
	}
}

static int segment_make(struct piece *piece, uint32_t mtu)
{
	const struct ipq_packet *packet = piece->packet;
	uint32_t head = packet->body, room = mtu > head ? mtu - head : 0, len, done;
	uint8_t *bytes = piece->bytes;

	if (!piece_take(piece, head, room))
		return -IPQ_UNSENT_LENGTH;
	len = head + piece->len;
	done = piece->at - head;
	if (len > piece->size)
		return -IPQ_UNSENT_ROOM;
	memcpy(bytes, packet->data, head);
	memcpy(bytes + head, packet->data + piece->at, piece->len);
	if (packet->ip_version == 4) {
		ipq_store16(bytes + 2, len);
		ipq_store16(bytes + 4, ipq_load16(bytes + 4) + done / room);
	} else {
		ipq_store16(bytes + 4, len - IPQ_MAKE_IPV6);
	}
	segment_write(piece, bytes + packet->l4, done);
	ipq_make_sums(bytes, len);
	return (int)len;
}

/* Copies the IPv4 options that every fragment has, which their first bit tells; gives how many bytes,
 * with what fills up the last word. (RFC 791 section 3.1) */
static uint32_t options_copy(const uint8_t *options, uint32_t len, uint8_t *to)
{
	uint32_t at = 0, kept = 0, size;

	for (; at < len && options[at] != IPOPT_EOL; at += size) {
		size = 1;
		if (options[at] != IPOPT_NOP)
			size = len - at < 2 ? 0 : options[at + 1];
		if (size == 0 || size > len - at)
			break;
		if (!IPOPT_COPIED(options[at]))
			continue;
		memcpy(to + kept, options + at, size);
		kept += size;
	}
	for (; kept % 4; kept++)
		to[kept] = IPOPT_EOL;
	return kept;
}

static int fragment_4(struct piece *piece, uint32_t mtu, uint32_t id)
{
	const uint8_t *p = piece->packet->data;
	uint32_t head = piece->packet->upper, room = (mtu - head) & ~7U;
	uint32_t field = ipq_load16(p + 6), place, options = head - IPQ_MAKE_IPV4;
	uint8_t kept[IPV4_OPTIONS], *bytes = piece->bytes;

	if (field & IP_DF || !piece_take(piece, head, room))
		return -IPQ_UNSENT_LENGTH;
	place = (field & IP_OFFMASK) + (piece->at - head) / FRAGMENT_LEAST;
	if (place > IP_OFFMASK)
		return -IPQ_UNSENT_MALFORMED;
	memcpy(kept, p + IPQ_MAKE_IPV4, options);
	if (!piece->is_first)
		options = options_copy(p + IPQ_MAKE_IPV4, options, kept);
	head = IPQ_MAKE_IPV4 + options;
	if (head + piece->len > piece->size)
		return -IPQ_UNSENT_ROOM;
	memcpy(bytes, p, IPQ_MAKE_IPV4);
	memcpy(bytes + IPQ_MAKE_IPV4, kept, options);
	memcpy(bytes + head, p + piece->at, piece->len);
	bytes[0] = (uint8_t)(0x40 | head / 4);
	ipq_store16(bytes + 2, head + piece->len);
	if (ipq_load16(p + 4) == 0)
		ipq_store16(bytes + 4, id & 0xffff ? id : 1);
	ipq_store16(bytes + 6, place | (piece->is_last ? field & IP_MF : IP_MF));
	ipq_checksum_ipv4(bytes);
	return (int)(head + piece->len);
}

static bool is_per_fragment(uint8_t kind)
{
	return kind == IPPROTO_HOPOPTS || kind == IPPROTO_ROUTING || kind == IPPROTO_DSTOPTS;
}

/* Where the headers end that every router on the way looks at, and the offset of the byte that says what
 * follows them; 0 where the packet has a fragment header already. (RFC 8200 section 4.5) */
static uint32_t per_fragment(const struct ipq_packet *packet, uint32_t *next)
{
	const uint8_t *p = packet->data;
	uint32_t at = IPQ_MAKE_IPV6, kind_at = 6, end = at, len;
	bool goes_on = true;

	for (*next = kind_at; at < packet->upper; at += len) {
		uint8_t kind = p[kind_at];

		if (kind == IPPROTO_FRAGMENT)
			return 0;
		len = ipq_header_extension_len(kind, p + at);
		kind_at = at;
		goes_on = goes_on && is_per_fragment(kind);
		/* Options for the destination alone are behind them. */
		if (goes_on && kind != IPPROTO_DSTOPTS) {
			end = at + len;
			*next = kind_at;
		}
	}
	return end;
}

static int fragment_6(struct piece *piece, uint32_t mtu, uint32_t id)
{
	const uint8_t *p = piece->packet->data;
	uint32_t next, head = per_fragment(piece->packet, &next), len, place;
	uint32_t headers = head + FRAGMENT_HEADER, room = mtu > headers ? (mtu - headers) & ~7U : 0;
	uint8_t *bytes = piece->bytes, *fragment = bytes + head;

	if (head == 0 || !piece_take(piece, head, room))
		return -IPQ_UNSENT_LENGTH;
	len = headers + piece->len;
	if (len > piece->size)
		return -IPQ_UNSENT_ROOM;
	place = piece->at - head;
	memcpy(bytes, p, head);
	bytes[next] = IPPROTO_FRAGMENT;
	ipq_store16(bytes + 4, len - IPQ_MAKE_IPV6);
	fragment[0] = p[next];
	fragment[1] = 0;
	ipq_store16(fragment + 2, place | !piece->is_last);
	ipq_store16(fragment + 4, id >> 16);
	ipq_store16(fragment + 6, id);
	memcpy(bytes + headers, p + piece->at, piece->len);
	return (int)len;
}

/* Whether an option signs the segment, which is good as a whole alone. (RFC 2385, RFC 5925) */
static bool is_signed(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->data;
	uint32_t at = (uint32_t)packet->l4 + IPQ_MAKE_TCP, end = packet->body, len;

	for (; at < end && p[at] != 0; at += len) {
		len = p[at] == 1 ? 1 : end - at < 2 ? 0 : p[at + 1];
		if (len == 0 || len > end - at)
			break;
		if (p[at] == TCP_MD5 || p[at] == TCP_AO)
			return true;
	}
	return false;
}

/* Whether the packet can become segments. What an authentication header covers cannot. */
static bool is_segmentable(const struct ipq_packet *packet)
{
	return packet->protocol == IPPROTO_TCP && !packet->fragment && !packet->ah &&
	       !is_signed(packet);
}

int ipq_packet_split(const uint8_t *packet, uint32_t len, uint32_t mtu, uint32_t id,
		     uint32_t *offset, uint8_t *bytes, uint32_t size)
{
	struct ipq_packet whole = {
		.data = (uint8_t *)(uintptr_t)packet, /* which is read alone */
		.data_len = len,
		.len = len,
	};
	struct piece piece = {&whole, *offset, 0, false, false, bytes, size};
	int ret;

	if (len > 0 && *offset >= len)
		return 0;
	if (len > IPQ_PACKET_MAX || ipq_header_total(packet, len) != len)
		return -IPQ_UNSENT_MALFORMED;
	ipq_header_parse(&whole);
	if (whole.ip_version == 0 || whole.malformed)
		return -IPQ_UNSENT_MALFORMED;
	if (mtu < (whole.ip_version == 4 ? LEAST_4 : LEAST_6))
		return -IPQ_UNSENT_LENGTH;
	if (len <= mtu && *offset == 0) {
		if (len > size)
			return -IPQ_UNSENT_ROOM;
		memcpy(bytes, packet, len);
		*offset = len;
		return (int)len;
	}
	if (is_segmentable(&whole))
		ret = segment_make(&piece, mtu);
	else if (whole.ip_version == 4)
		ret = fragment_4(&piece, mtu, id);
	else
		ret = fragment_6(&piece, mtu, id);
	if (ret > 0)
		*offset = piece.at + piece.len;
	return ret;
}
