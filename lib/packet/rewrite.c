/* Changes to a packet's bytes. What they do to lengths and checksums is noted here and carried out
 * by finish.c. */
#include "checksum.h"
#include "cut.h"
#include "inner.h"
#include "inside.h"
#include "packet.h"
#include "transport.h"
#include "lib/bytes.h"

#include <netinet/in.h>
#include <string.h>
#include <linux/netfilter.h>

/* Bytes that a change may reach. Padding behind the IP packet is none of them. */
static uint32_t reach(struct ipq_packet *packet)
{
	if (!packet->parsed)
		ipq_header_parse(packet);
	return packet->ip_version == 0 ? packet->data_len : packet->end;
}

static bool is_within(struct ipq_packet *packet, uint32_t offset, uint32_t len)
{
	uint32_t size = reach(packet);

	return offset <= size && len <= size - offset;
}

/* Whether the IP header tells another length than the packet has. */
static bool lies(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->data + packet->l3;
	uint32_t len = packet->ip_version == 4 ? ipq_load16(p + 2) : ipq_load16(p + 4) + 40U;

	return len != (uint32_t)packet->end - packet->l3;
}

/*
 * Notes by what the transport's checksum is wrong, for the time when it is computed anew: a damaged
 * packet is not to become a good one. Only where nobody has found it right; not where it is another
 * one's to finish, or where what it covers is not all there.
 */
static void note_wrong(struct ipq_packet *packet)
{
	struct ipq_transport t;
	uint32_t has = 0;
	uint16_t wrong;

	if (packet->dirty & IPQ_DIRTY_NOTED || !(packet->present & IPQ_HAS_SKB_INFO) ||
	    !(packet->skb_info & IPQ_SKB_CSUM_NOTVERIFIED))
		return;
	packet->dirty |= IPQ_DIRTY_NOTED;
	if (packet->unready || packet->ip_version == 0 || packet->fragment ||
	    packet->data_len < packet->len)
		return;
	ipq_transport_find(packet, &t);
	if (!t.field || !t.covered)
		return;
	if (t.sum == IPQ_SUM_CRC32C) {
		memcpy(&has, packet->data + t.field, sizeof(uint32_t));
		packet->l4_wrong = has ^ ipq_transport_sum(packet, &t);
		return;
	}
	memcpy(&has, packet->data + t.field, sizeof(uint16_t));
	if (has == 0 && packet->protocol == IPPROTO_UDP)
		return;
	/* What has changed is not in the field yet. */
	wrong = ipq_checksum_minus(ipq_checksum_next((uint16_t)has, packet->l4_delta),
				   (uint16_t)ipq_transport_sum(packet, &t));
	packet->l4_wrong = wrong == 0xffff ? 0 : wrong;
}

/* A change follows after which all lengths and checksums are made anew. A UDP length that leaves bytes
 * behind the datagram (RFC 9868) is noted: it stays while the packet's size does. */
static void begin_anew(struct ipq_packet *packet)
{
	uint32_t len;

	note_wrong(packet);
	if (packet->dirty & IPQ_DIRTY_ALL)
		return;
	packet->dirty |= IPQ_DIRTY_ALL;
	if (packet->protocol != IPPROTO_UDP || !packet->l4 || packet->fragment)
		return;
	len = ipq_load16(packet->data + packet->l4 + 4);
	if (len >= 8 && len < (uint32_t)packet->end - packet->l4)
		packet->udp_len = (uint16_t)len;
}

/* A change within the packet's reach follows. The first one drops the padding, so that from then
 * on the packet ends where its bytes end. */
static void begin(struct ipq_packet *packet)
{
	/* What has been finished once cannot be told any more. */
	if (!(packet->set & IPQ_SET_PAYLOAD)) {
		packet->came_len = packet->len;
		packet->unready = (uint8_t)ipq_inner_unready(packet);
		if (ipq_inner_cuts_udp(packet))
			packet->set |= IPQ_SET_SEGMENTED;
	}
	packet->set |= IPQ_SET_PAYLOAD;
	if (packet->family == NFPROTO_BRIDGE)
		packet->set |= IPQ_SET_LAYOUT;
	if (packet->dirty)
		return;
	packet->l4_delta = 0;
	packet->l4_wrong = 0;
	packet->udp_len = 0;
	packet->dirty = IPQ_DIRTY_FIELDS;
	if (packet->ip_version == 0)
		return;
	if (packet->end < packet->data_len) {
		packet->data_len = packet->end;
		packet->len = packet->end;
		ipq_header_parse(packet);
	}
	/* The lengths of what a capture has cut off stay as they are. */
	if (!lies(packet) || ipq_cut_by_capture(packet))
		return;
	begin_anew(packet);
	ipq_header_parse(packet); /* what it says of its length counts no more */
}

/* The same where anything may change. lays_out: the headers are laid out anew, too. */
static void begin_all(struct ipq_packet *packet, bool lays_out)
{
	begin(packet);
	if (lays_out)
		packet->set |= IPQ_SET_LAYOUT;
	begin_anew(packet);
	packet->dirty |= IPQ_DIRTY_TRANSPORT;
	packet->parsed = 0;
}

static void add_delta(struct ipq_packet *packet, const struct ipq_change *change, uint32_t from,
		      uint32_t to)
{
	if (!ipq_change_touches(change, from, to))
		return;
	packet->l4_delta = ipq_checksum_plus(packet->l4_delta, ipq_change_delta(change, from, to));
	packet->dirty |= IPQ_DIRTY_TRANSPORT;
}

static void track(struct ipq_packet *packet, uint32_t offset, const uint8_t *bytes, uint32_t len)
{
	const struct ipq_change change = {packet->data, offset, bytes, len};
	struct ipq_transport t;
	bool moves;

	if (packet->ip_version == 0) {
		packet->dirty |= IPQ_DIRTY_ALL | IPQ_DIRTY_TRANSPORT;
		packet->parsed = 0;
		return;
	}
	ipq_transport_find(packet, &t);
	moves = ipq_transport_moves(packet, offset, bytes, len);
	if (moves && ipq_transport_lays_out(packet, offset, bytes, len))
		packet->set |= IPQ_SET_LAYOUT;
	/* A CRC32c is computed anew whatever changes in what it covers. */
	if (moves)
		begin_anew(packet);
	else if (t.sum == IPQ_SUM_CRC32C && offset + len > t.start)
		note_wrong(packet);
	add_delta(packet, &change, t.start, t.covered);
	/* Of a later fragment they are none of its own business, but the first one's. */
	if (t.sum == IPQ_SUM_PSEUDO && packet->fragment != IPQ_FRAGMENT_LATER) {
		add_delta(packet, &change, t.source, t.source + t.address_len);
		add_delta(packet, &change, t.destination, t.destination + t.address_len);
	}
	if (moves)
		packet->parsed = 0;
}

int ipq_rewrite_store(struct ipq_packet *packet, uint32_t offset, const void *bytes, uint32_t len)
{
	if (!is_within(packet, offset, len))
		return IPQ_REWRITE_BOUNDS;
	if (len == 0)
		return IPQ_REWRITE_OK;
	if (packet->outer)
		return ipq_inside_store(packet, offset, bytes, len);
	begin(packet);
	track(packet, offset, bytes, len);
	memmove(packet->data + offset, bytes, len);
	return IPQ_REWRITE_OK;
}

static void shrink(struct ipq_packet *packet, uint32_t offset, uint32_t len, const uint8_t *bytes,
		   uint32_t new_len)
{
	uint8_t *at = packet->data + offset;

	if (new_len > 0)
		memmove(at, bytes, new_len);
	memmove(at + new_len, at + len, packet->data_len - offset - len);
}

/* Within the spare memory. The bytes may lie in front of the tail, in it, or both; those in the
 * tail move with it. */
static void grow_in_place(struct ipq_packet *packet, uint32_t offset, uint32_t len,
			  const uint8_t *bytes, uint32_t new_len)
{
	uint8_t *at = packet->data + offset;
	uint8_t *tail = at + len;
	size_t tail_len = packet->data_len - offset - len;
	uintptr_t start = (uintptr_t)bytes;
	uintptr_t moved = (uintptr_t)tail;
	size_t front = new_len;

	memmove(at + new_len, tail, tail_len);
	if (start >= moved + tail_len || start + new_len <= moved) {
		memmove(at, bytes, new_len);
		return;
	}
	if (start >= moved)
		front = 0;
	else
		front = moved - start;
	memmove(at, bytes, front);
	memcpy(at + front, bytes + front + (new_len - len), new_len - front);
}

static void grow(struct ipq_packet *packet, uint32_t offset, uint32_t len, const uint8_t *bytes,
		 uint32_t new_len)
{
	uint8_t *from = packet->data;
	uint8_t *to = packet->spare;

	if (from == to) {
		grow_in_place(packet, offset, len, bytes, new_len);
		return;
	}
	if (offset > 0)
		memcpy(to, from, offset);
	memcpy(to + offset, bytes, new_len);
	if (packet->data_len > offset + len)
		memcpy(to + offset + new_len, from + offset + len, packet->data_len - offset - len);
	packet->data = to;
}

/* The packet inside whose checksum is not finished moves with its bytes. Where segmentation is to
 * follow, it goes by where that packet was. */
static void inner_move(struct ipq_packet *packet, uint32_t offset, uint32_t len, uint32_t new_len)
{
	if (packet->unready != IPQ_UNREADY_INNER || offset > packet->inner ||
	    (offset == packet->inner && len > 0))
		return;
	if (len > packet->inner - offset || packet->skb_info & IPQ_SKB_GSO)
		packet->unready = IPQ_UNREADY_UNKNOWN;
	else
		packet->inner = (uint16_t)(packet->inner - len + new_len);
}

int ipq_rewrite_replace(struct ipq_packet *packet, uint32_t offset, uint32_t len, const void *bytes,
			uint32_t new_len)
{
	uint32_t missing;

	if (!is_within(packet, offset, len))
		return IPQ_REWRITE_BOUNDS;
	if (new_len == len)
		return ipq_rewrite_store(packet, offset, bytes, len);
	if (packet->outer)
		return IPQ_REWRITE_INSIDE;
	if (new_len > IPQ_PAYLOAD_MAX || reach(packet) - len > IPQ_PAYLOAD_MAX - new_len)
		return IPQ_REWRITE_TOO_LONG;
	begin_all(packet, offset < packet->upper);
	packet->udp_len = 0;
	inner_move(packet, offset, len, new_len);
	/* What was not copied stays missing. */
	missing = packet->len > packet->data_len ? packet->len - packet->data_len : 0;
	if (new_len < len)
		shrink(packet, offset, len, bytes, new_len);
	else
		grow(packet, offset, len, bytes, new_len);
	packet->data_len = packet->data_len - len + new_len;
	packet->len = packet->data_len + missing;
	return IPQ_REWRITE_OK;
}

/* With its padding, or without. What the queue has cut off is whole once its bytes are set. */
static bool is_as_it_came(struct ipq_packet *packet, const uint8_t *bytes, uint32_t len)
{
	if (packet->dirty || len == 0 || (len != packet->data_len && len != reach(packet)))
		return false;
	if (ipq_cut_off(packet) && !ipq_cut_by_capture(packet))
		return false;
	return memcmp(packet->data, bytes, len) == 0;
}

int ipq_rewrite_set(struct ipq_packet *packet, const void *bytes, uint32_t len)
{
	bool is_cut = ipq_cut_by_capture(packet), keeps_size, lays_out;

	if (len > IPQ_PAYLOAD_MAX)
		return IPQ_REWRITE_TOO_LONG;
	keeps_size = len == reach(packet) && (is_cut || !ipq_cut_off(packet));
	if (is_as_it_came(packet, bytes, len))
		return IPQ_REWRITE_OK;
	/* What did not change must be known where not all that a checksum covers is here. */
	if (keeps_size && (is_cut || packet->fragment))
		return ipq_rewrite_store(packet, 0, bytes, len);
	/* Where the headers cannot be told nobody knows whether they are the same. */
	lays_out = packet->ip_version == 0 || packet->malformed || len < packet->upper ||
		   ipq_transport_lays_out(packet, 0, bytes, len);
	begin_all(packet, lays_out);
	if (!keeps_size)
		packet->udp_len = 0;
	if (len > packet->data_len)
		packet->data = packet->spare;
	if (len > 0)
		memmove(packet->data, bytes, len);
	packet->data_len = len;
	packet->len = len;
	if (packet->unready == IPQ_UNREADY_INNER) {
		ipq_header_parse(packet);
		packet->unready = (uint8_t)ipq_inner_left(packet);
	}
	return IPQ_REWRITE_OK;
}

const char *ipq_rewrite_strerror(int error)
{
	switch (error) {
	case IPQ_REWRITE_OK: return "no error";
	case IPQ_REWRITE_TRUNCATED:
		return "only a part of the packet was copied: raise --copy-range, or the script's "
		       "queue.range, to change it";
	case IPQ_REWRITE_CUT:
		return "the capture has only a part of the packet (its snapshot length): of that "
		       "only changes that keep the length can be made, and for which no checksum "
		       "has to be computed of what is missing";
	case IPQ_REWRITE_MOST:
		return "the packet is over 65531 bytes (BIG TCP), the most that is copied of one: "
		       "--no-gso has the kernel cut it into segments first, which can be changed";
	case IPQ_REWRITE_FRAGMENT:
		return "the checksum of a fragment covers bytes of other fragments: change whole "
		       "packets, which connection tracking puts together";
	case IPQ_REWRITE_TOO_LONG:
		return "the packet would be over 65531 bytes, the most that can be sent back";
	case IPQ_REWRITE_VERSION: return "the packet is not of the IP version that it came with";
	case IPQ_REWRITE_HEADER:
		return "the IP header or the transport header is malformed or cut off";
	case IPQ_REWRITE_INNER:
		return "the network card was to finish the checksum of a packet inside of this one "
		       "that is not known here, or is gone: --no-gso has the kernel finish it "
		       "first";
	case IPQ_REWRITE_GSO:
		return "the kernel could not cut this packet into segments any more that arrive "
		       "(GSO of UDP or SCTP): --no-gso has it cut them first";
	case IPQ_REWRITE_LAYOUT:
		return "this kernel drops a packet whose IPv4 options, fragment fields (but DF) or "
		       "IPv6 extension headers were changed, and a bridged one that was changed at "
		       "all";
	case IPQ_REWRITE_SEGMENTS:
		return "this kernel makes wrong checksums of a large UDP packet that was changed "
		       "(one that is many datagrams: GSO), and loses it or even stops (before "
		       "Linux 6.12): --no-gso has it cut first";
	case IPQ_REWRITE_INSIDE:
		return "the length of a packet inside of another one, and where its headers are, "
		       "cannot be changed: only what leaves both as they are";
	case IPQ_REWRITE_BOUNDS: return "offset and length are outside of the packet";
	default: return "unknown error";
	}
}
