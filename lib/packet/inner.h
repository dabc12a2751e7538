/* IP packets inside of a packet: what a tunnel carries. */
#ifndef IPQ_INNER_H
#define IPQ_INNER_H

#include "lib/ipq_abi.h"

/* Makes inner a packet of its own of the bytes of packet from offset at on, up to where the IP
 * packet ends, and parses it. It is cut off where packet is. False where they do not begin with a whole IP header. Both share the
 * bytes; whatever moves them ends inner. */
bool ipq_inner_view(struct ipq_packet *inner, const struct ipq_packet *packet, uint32_t at);

/* Where the IP packet begins that this one carries: in IPv4 or IPv6, GRE, Ethernet over GRE, VXLAN
 * and VXLAN-GPE, GENEVE, GTP-U, FOU and GUE, on whatever port. It has to end where this one ends,
 * by its own length, but in an Ethernet frame so short that it is padded. 0 where there is none that is known here.
 * (RFC 2003, 2473, 2784, 4213, 7348, 8926; drafts-ietf: nvo3-vxlan-gpe, intarea-gue; 3GPP TS 29.281)
 */
uint32_t ipq_inner_start(const struct ipq_packet *packet);

/* The same, but in UDP only what its destination port says: 4789 VXLAN, 6081 GENEVE, 2152 GTP-U. */
uint32_t ipq_inner_known(const struct ipq_packet *packet);

/* Finds the packet inside, at whatever depth, whose transport's checksum is left to others; at is
 * where it begins in packet. False where there is none. Both share the bytes. */
bool ipq_inner_find(struct ipq_packet *inner, const struct ipq_packet *packet, uint32_t *at);

/* Whose checksum is not finished in a packet as the kernel told of it, before anything of it has
 * changed; sets inner where that is a packet inside. What others are to finish holds its
 * pseudo-header's sum, a CRC32c holds 0: that is how the packet is told which it is. */
enum ipq_unready ipq_inner_unready(struct ipq_packet *packet);

/* The same once other bytes are the packet's, of one that had its unfinished checksum at inner: they
 * carry no packet, and it is their own; or one there, still; or another one, and then it is not
 * known. */
enum ipq_unready ipq_inner_left(const struct ipq_packet *packet);

/* Whether the kernel has yet to cut the packet, whose unready is known, into segments that are UDP, or
 * may be. */
bool ipq_inner_cuts_udp(const struct ipq_packet *packet);

#endif
