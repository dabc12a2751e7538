/*
 * The room of one packet's bytes: where its headers are, how they are changed, and what has to
 * follow.
 *
 * Called by   Lua, through the views and Buffers of bindings/ipq/packet, and the engine, when a
 *             filter has returned (engine/outcome.lua); lib/netset, which looks for addresses;
 *             host/figures, which tells what a worker judged.
 *
 * States      of struct ipq_packet (lib/ipq_abi.h). parsed is 0 until somebody has looked for
 *             headers, and again after a change that may have moved them; while it is 1, the
 *             layout fields (l3, l4, body, end, ...) hold. dirty says what ipq_rewrite_finish()
 *             has to do, and is 0 where that is nothing: the bytes are as they came, or finished.
 *
 * Always      No function reads behind data_len, or writes behind the memory that the packet has,
 *             whatever lengths it claims. A function that refuses has changed nothing. Nothing
 *             here allocates, and nothing here makes a system call.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations
 * only. checksum.h has the sums, transport.h has what a transport's checksum covers; both are for
 * this room alone.
 */
#ifndef IPQ_PACKET_H
#define IPQ_PACKET_H

#include "lib/ipq_abi.h"

/* Fills in the packet's layout: ip_version, protocol, fragment, malformed, l3, upper, l4, body,
 * end, ah; sets parsed. Any bytes are taken, whatever they claim. A chain of extension headers is followed
 * to its end, as the kernel follows it, in time that is linear in its length. (RFC 791; RFC 8200
 * section 4; RFC 4302 for AH in the chain.) */
void ipq_header_parse(struct ipq_packet *packet);

/* How many bytes the IP packet that begins at bytes has on the wire, by its own header; len of them
 * are there. More that are there are no part of it, but padding, a trailer, a check sequence of the
 * link. 0 where it cannot be told: the header is not all there, or its length is nonsense, as that of
 * what was captured before segmentation is. Then all bytes are the packet's. (RFC 791; RFC 8200
 * section 3; RFC 2675, whose option may be cut off, too.) */
uint32_t ipq_header_total(const uint8_t *bytes, uint32_t len);

/* Whether a parsed packet is ARP, by whoever handed it in: it begins at l3, and at upper is what
 * follows its addresses, or at l3 where they are not all there. */
bool ipq_header_is_arp(const struct ipq_packet *packet);

/* Bytes that ARP has with its four addresses, by its own header, of which len bytes are there: they
 * may be more than len. 0 where that is not all there. (RFC 826.) */
uint32_t ipq_header_arp_len(const uint8_t *bytes, uint32_t len);

/* What enum ipq_malformed says, in words; never NULL. */
const char *ipq_header_strmalformed(int malformed);

/* Whether another header may follow this one in an IPv6 chain; and how long the one at p is, of
 * which 8 bytes are there. */
bool ipq_header_is_extension(uint8_t type);
uint32_t ipq_header_extension_len(uint8_t type, const uint8_t *p);

/*
 * Packets inside of a packet: the one that an ICMP error quotes (RFC 792, RFC 4443; up to where the
 * length of RFC 4884 says), and the one that a tunnel carries: IP in IP, GRE, Ethernet over GRE, and UDP
 * to port 4789 (VXLAN), 6081 (GENEVE) or 2152 (GTP-U). Inside of these there may be others, at most
 * IPQ_INSIDE_MAX. They share the bytes of the outermost one, and are good until any of these change.
 *
 * Of a quoted TCP, SCTP or DCCP header the first 8 bytes may be all that is there: then l4 is set as if it
 * were whole, part as well, and body where the quote ends.
 *
 * The functions that change packets take them, too: ipq_rewrite_store() has the checksums follow at once
 * that are in the packet, and those of the packets around it; what the outermost one's needs is noted
 * there. It follows by what has changed: a checksum that is wrong stays as wrong. One that the quote does
 * not have, or a CRC32c of what is not all quoted, cannot follow, and a checksum that is stored itself
 * is what was stored. Nothing follows while the outermost packet's fix is 0. A change of the length, or
 * of where headers are, is refused: IPQ_REWRITE_INSIDE.
 */

/* Where in the outermost packet the one begins that this one, an ICMP error, quotes, or that it carries.
 * 0 where there is none. The packet must be parsed. */
uint32_t ipq_inside_quoted(const struct ipq_packet *packet);
uint32_t ipq_inside_carried(const struct ipq_packet *packet);

/* The packet inside of the outermost one that begins at offset at, in the memory of inside; NULL where
 * there is none. */
struct ipq_packet *ipq_inside_open(struct ipq_inside *inside, struct ipq_packet *packet,
				   uint32_t at);

/* The last one that begins before that offset. */
struct ipq_packet *ipq_inside_around(struct ipq_inside *inside, struct ipq_packet *packet,
				     uint32_t offset);

/* The packet in a line, as tcpdump(1) prints it, but without what its applications say:
 * "IP 10.0.0.1.1024 > 10.0.0.2.80: Flags [S], seq 1, win 64240, length 0". Addresses are text as of
 * inet_ntop(3). Writes at most IPQ_SUMMARY_SIZE bytes, visible ASCII and blanks, without a 0 byte
 * behind them, and gives how many. Any bytes are taken. */
enum { IPQ_SUMMARY_SIZE = 256 };
size_t ipq_packet_summary(struct ipq_packet *packet, char *to);

/* Why a packet cannot be changed, or a changed one cannot be sent. */
enum ipq_rewrite_error {
	IPQ_REWRITE_OK = 0,
	IPQ_REWRITE_TRUNCATED = -1, /* only a part of the packet was copied (IPQ_CUT_QUEUE) */
	IPQ_REWRITE_FRAGMENT = -2,  /* its checksum covers bytes that are in other fragments */
	IPQ_REWRITE_TOO_LONG = -3,  /* over IPQ_PAYLOAD_MAX bytes */
	IPQ_REWRITE_VERSION = -4,   /* the IP version is another one than before, or none */
	IPQ_REWRITE_HEADER = -5,    /* the IP or transport header is malformed or cut off */
	IPQ_REWRITE_BOUNDS = -6,    /* offset and length are outside of the packet */
	IPQ_REWRITE_INNER = -7,	    /* a packet inside has to be finished, but where is it? */
	IPQ_REWRITE_GSO = -8,	    /* what segmentation would make of it does not arrive */
	IPQ_REWRITE_CUT = -11,	    /* a capture has only a part of the packet (IPQ_CUT_CAPTURE) */
	IPQ_REWRITE_MOST = -12,	    /* it has more bytes than can be copied (IPQ_CUT_MOST) */
	IPQ_REWRITE_INSIDE = -13,   /* a packet inside of it would have another length or layout */
	/* For who knows what the kernel does, as no function here. */
	IPQ_REWRITE_LAYOUT = -9,   /* it loses packets with IPQ_SET_LAYOUT */
	IPQ_REWRITE_SEGMENTS = -10 /* the same of IPQ_SET_SEGMENTED */
};
/* The reason in words, with the remedy where there is one; never NULL. */
const char *ipq_rewrite_strerror(int error);

/* The next three functions change the packet, set IPQ_SET_PAYLOAD, and note in dirty and l4_delta
 * what ipq_rewrite_finish() has to do. A change that is refused changes nothing. bytes may lie in
 * the packet. parsed becomes 0 where headers may have moved.
 *
 * IPQ_SET_LAYOUT is set where IPv4 options, fragment fields (but DF), IPv6 extension headers or the
 * header's length become others, and for any change of a bridged packet: some kernels drop those.
 *
 * Padding behind the IP packet (a capture may have it) is not part of it: no change can reach it,
 * and the first change drops it. From then on the packet ends where its bytes end, whatever its
 * length fields say. */

/* Stores len bytes over those at offset. 0 or IPQ_REWRITE_BOUNDS. */
int ipq_rewrite_store(struct ipq_packet *packet, uint32_t offset, const void *bytes, uint32_t len);

/* Puts new_len bytes in the place of the len bytes at offset. What follows moves, and the field
 * len grows or shrinks with it. A packet that grows moves to its spare memory. 0,
 * IPQ_REWRITE_BOUNDS or IPQ_REWRITE_TOO_LONG. */
int ipq_rewrite_replace(struct ipq_packet *packet, uint32_t offset, uint32_t len, const void *bytes,
			uint32_t new_len);

/* Makes the packet these bytes. The bytes that it came with change nothing. A truncated packet is whole from then
 * on; but to one that a capture has cut off as many bytes as are there are a store. 0 or
 * IPQ_REWRITE_TOO_LONG. */
int ipq_rewrite_set(struct ipq_packet *packet, const void *bytes, uint32_t len);

/*
 * Makes a changed packet's lengths and checksums right, as it is to be sent. What has to be done
 * depends on three things: what changed (dirty), whether the packet is a fragment, and whether its
 * transport checksum is ready. It is not ready where the network card or the segmentation was to
 * compute it (IPQ_SKB_CSUMNOTREADY, IPQ_SKB_GSO).
 *
 *   dirty                    whole packet           first fragment        later fragment
 *   ----------------------   --------------------   -------------------   --------------
 *   FIELDS, ready            IP                     IP                    IP
 *   FIELDS, not ready        IP, computed           refused               refused
 *   FIELDS TRANSPORT, ready  IP, followed           IP, followed (1)      refused
 *     and not ready          IP, computed           refused               refused
 *   ALL, ready               length, IP, computed   length, IP            length, IP
 *   ALL, not ready           length, IP, computed   refused               refused
 *   ALL TRANSPORT            length, IP, computed   refused               refused
 *
 *   IP        the checksum of an IPv4 header is computed; IPv6 has none
 *   length    IPv4 total length or IPv6 payload length; in a whole packet UDP's length too, but for
 *             one that came with bytes behind the datagram (RFC 9868) and that nothing has changed,
 *             nor the packet's size; and a UDP-Lite or DCCP coverage of more than is left becomes
 *             0, which means all
 *   followed  RFC 1624: the checksum changes by what the bytes changed by. SCTP's CRC32c, and the
 *             sum of a UDP packet over IPv6 that has none, are computed
 *   computed  anew, of all that the checksum covers
 *   refused   IPQ_REWRITE_FRAGMENT: the checksum would have to be computed of bytes that are in
 *             other fragments
 *   (1)       but refused where it would have to be computed (CRC32c, UDP without a sum over IPv6)
 *
 * A checksum that came wrong stays wrong by as much, for its receiver to find out: by itself where
 * it is followed; where it is computed, if the packet was whole and the kernel said that nobody had
 * verified it (IPQ_SKB_CSUM_NOTVERIFIED). Otherwise a computed one is right.
 *
 * A packet that a capture has cut off (IPQ_CUT_CAPTURE, tcpdump -s) is changed in its place alone:
 *
 *   dirty             cut off                             first fragment, cut off
 *   ---------------   ---------------------------------   -----------------------
 *   FIELDS            IP                                  IP
 *   FIELDS TRANSPORT  IP, followed where it is there (2)  the same (1)
 *   ALL               refused: IPQ_REWRITE_CUT            the same
 *
 *   (2)       a checksum that is not among the bytes is in no file, so nothing is to be done for it,
 *             nor for half of one. IPQ_REWRITE_CUT where it would have to be computed, as in (1)
 *
 * Its lengths stay, even where they lie; a later fragment is as one that is whole.
 *
 * What is not ready may be the checksum of a packet inside (ipq_inner_unready()): that one is
 * computed then, before the packet's own. Else nothing inside of a tunnel is touched.
 *
 * UDP that segmentation is to cut up (IPQ_SKB_GSO) gets the sum of its pseudo-header in place of a
 * checksum: the kernel makes the segments' of that (Linux 6.12 does; 6.1 makes wrong ones, and 5.10
 * stops). IPQ_SET_SEGMENTED is set from its first change on.
 *
 * ARP has neither lengths nor checksums that could follow: it is complete as it is.
 *
 * A transport without a checksum leaves "followed", "computed" and their refusals out: ESP, AH
 * over IPv4, GRE without one, and protocols that are not known here. A UDP checksum of 0 stays 0
 * over IPv4, and around a packet whose checksum is not ready.
 *
 * Other refusals, whatever changed:
 *   IPQ_REWRITE_TRUNCATED  the packet is longer than what was copied of it
 *   IPQ_REWRITE_MOST       the same where no more can be copied
 *   IPQ_REWRITE_TOO_LONG   it is over IPQ_PAYLOAD_MAX bytes
 *   IPQ_REWRITE_VERSION    it came with another IP version, by family, or by hw_protocol and VLAN
 *                          tags
 *   IPQ_REWRITE_HEADER     the IP header is malformed, or the transport header where its checksum
 *                          has to follow
 *   IPQ_REWRITE_INNER      the packet inside whose checksum is not ready was not found, or is not
 *                          there any more; or it has moved, where segmentation does not follow
 *   IPQ_REWRITE_GSO        UDP that segmentation is to cut up in INPUT, or in PREROUTING, from where
 *                          it may come there: no field makes a socket here take the segments. Or
 *                          SCTP, whose pieces the kernel has kept elsewhere
 *
 * A packet that is refused stays as the filter left it, dirty and with IPQ_SET_PAYLOAD. It must
 * not be sent so: the caller gives it the error verdict and clears set.
 */
int ipq_rewrite_finish(struct ipq_packet *packet);

/* The Internet checksum (RFC 1071) of any bytes, in host order. */
uint16_t ipq_checksum_read(const void *bytes, size_t len);

/* Which of a packet's checksums are wrong: bits. */
enum ipq_sum_wrong { IPQ_SUM_WRONG_IP = 1, IPQ_SUM_WRONG_TRANSPORT = 2 };

/* The bits of those that a receiver would find wrong in the packet as it stands: the IPv4 header's,
 * and the transport's, by whatever ipq_rewrite_finish() knows. One that a network card was to finish
 * is wrong, too. What cannot be told has no bit: the transport's of a fragment, of a packet that is
 * cut off or malformed, of UDP without one (0), and of a coverage that cannot be. One pass over the
 * bytes, which are the same afterwards. (RFC 1071, RFC 9260 appendix A) */
uint32_t ipq_sums_wrong(struct ipq_packet *packet);

/* Makes those right which ipq_sums_wrong() would find wrong, computed anew, and before them the one
 * that a network card was to finish in a packet inside of a tunnel. All other bytes stay, lengths
 * too; so do dirty and set. Whether anything has changed. One pass over the bytes, of which a
 * tunnel's inner ones may have two. */
bool ipq_sums_mend(struct ipq_packet *packet);

/*
 * Packets of our own (copy.c, answer.c, reject.c, split.c). What they make is a packet by itself: its
 * bytes lie where the caller says, apart from those it is made of; its lengths and checksums are right,
 * those too that a network card or the segmentation was to finish, and nothing of a queue, a link or a
 * capture is in it. They give its length in bytes, or a negative enum ipq_unsent; then there is none.
 * size is how many bytes there is room for, and IPQ_UNSENT_ROOM what they give where it is too small.
 * What they are made from keeps its bytes.
 */

/* The packet's copy, as it would be sent: changes of a filter are finished in it, unless its fix is 0.
 * Bytes behind the IP packet, and VLAN tags before it, are left out. A transport checksum that is ready
 * and wrong stays wrong. A packet inside of another one (ipq_inside_open()) may be copied, too.
 * IPQ_UNSENT_MALFORMED: the packet is cut off or malformed, or one that ipq_rewrite_finish() refuses.
 * IPQ_UNSENT_LENGTH: it is UDP that the kernel has yet to cut into segments, of which nobody here knows
 * the size; or it has changed and is over IPQ_PAYLOAD_MAX bytes. */
int ipq_packet_copy(const struct ipq_packet *from, uint8_t *bytes, uint32_t size);

/* What its receiver says to a packet's sender: addresses and ports are exchanged; the TTL or hop limit is 64;
 * options and extension headers are left out; payload is what the transport header is followed by. DF is
 * set for TCP alone.
 *   TCP     sequence and acknowledgement numbers go on where the packet left them (RFC 9293 section
 *           3.10.7.1), from 0 on where it has no ACK; ACK is set, and to a SYN without ACK also SYN; the
 *           window is the packet's
 *   ICMP    an echo request becomes the reply, with its id and sequence; where payload is NULL with
 *           the request's payload (RFC 792, RFC 4443 section 4.2)
 *   others  the packet's header, with payload's length, and coverage of all where it has one: UDP,
 *           UDP-Lite, SCTP, DCCP, GRE
 * Where payload is NULL it is empty, but for ICMP. known: who said it to whom as the sender knows it
 * (ipq_conntrack_answered()), or NULL: as the packet has it. It counts where its IP version and protocol
 * are the packet's.
 * IPQ_UNSENT_MALFORMED: the packet is malformed, or has none of these headers; or what the answer needs
 * is in another fragment (TCP's length, an echo's payload) or was not copied (an echo's payload).
 * IPQ_UNSENT_RULE: it is ICMP, but no echo request, or a TCP reset; or ipq_packet_reject() may not
 * answer it for its addresses.
 * IPQ_UNSENT_LENGTH: the answer would have over IPQ_PACKET_MAX bytes. */
int ipq_packet_answer(const struct ipq_packet *from, const struct ipq_tuple *known,
		      const void *payload, uint32_t payload_len, uint8_t *bytes, uint32_t size);

/* What tells a packet's sender that it was not let through, by enum ipq_reject: a TCP reset (RFC 9293
 * section 3.10.7.1), or an ICMP error that quotes the packet: of IPv4 up to 576 bytes in all (RFC 1812 section
 * 4.3.2.3), of IPv6 up to 1,280 (RFC 4443 section 2.4), and never more of it than is there. The packet may
 * be cut off. known is as of ipq_packet_answer(): addresses and ports are those that the sender knows, in
 * the quote too, whose checksums follow as far as they are quoted. Else the quote is as the packet stands:
 * what a network card was to finish in it may be unfinished, and of what a filter has changed only
 * IPv4's checksum follows. An ICMP error's source is what the packet was sent to if is_receiver, and else left open,
 * 0.0.0.0 or ::, for who sends it to fill in: the checksum of ICMPv6 counts it as it stands.
 * IPQ_UNSENT_MALFORMED: the packet is malformed, or what was copied of it does not tell what it is.
 * IPQ_UNSENT_RULE: RFC 1122 section 3.2.2, RFC 4443 section 2.4 and RFC 9293 have no answer to: an ICMP
 * error or redirect, or a type of IPv4's that is not known; a fragment that is not the first; what was
 * sent to many, by its address or its link header, or comes from many or from nobody (0.0.0.0, ::, a
 * loopback address that comes from outside is not looked at, nor are a subnet's broadcasts); a TCP reset
 * by a reset; TCP_RESET of what is not TCP, or whose header is not all there. A packet that came with a
 * wrong checksum of the IP header or transport is not answered either where the kernel says that nobody
 * has verified it; of a packet that a filter has changed that may not be known. */
int ipq_packet_reject(const struct ipq_packet *from, enum ipq_reject kind,
		      const struct ipq_tuple *known, bool is_receiver, uint8_t *bytes,
		      uint32_t size);

/* The reset that a packet's receiver gets in its sender's name: it has the sequence number of a TCP
 * packet that is dropped (RFC 9293 section 3.5.3), and acknowledges what that acknowledged, for a receiver
 * whose SYN it answers takes no other. known: who speaks to whom as the receiver knows it, or NULL.
 * IPQ_UNSENT_MALFORMED, IPQ_UNSENT_RULE: as of
 * ipq_packet_reject() with TCP_RESET. */
int ipq_packet_reset(const struct ipq_packet *from, const struct ipq_tuple *known, uint8_t *bytes,
		     uint32_t size);

/* A whole packet, made by these or checked by them, in pieces of at most mtu bytes: TCP in segments, as RFC 9293
 * has them, others in fragments (RFC 791, RFC 8200 section 4.5), those over IPv4 unless DF is set. TCP that
 * an option or an authentication header signs counts as another. Checksums of segments are computed. offset
 * is 0 at first, and what the function adds to it is where the next piece begins; it is the packet's length
 * after the last one. id is what the fragments of an IPv6 packet have in common, and those of an IPv4
 * packet whose own is 0, which the kernel would fill in for each by itself. Gives the piece's
 * length, 0 after the last one.
 * IPQ_UNSENT_LENGTH: the packet may not be cut (DF, an IPv6 packet that has a fragment header), or
 * no piece fits into mtu, which is 68 (IPv4) or 56 (IPv6) at least.
 * IPQ_UNSENT_MALFORMED: it is malformed, or its length is not len. */
int ipq_packet_split(const uint8_t *packet, uint32_t len, uint32_t mtu, uint32_t id,
		     uint32_t *offset, uint8_t *bytes, uint32_t size);

#endif
