/* Packets of which only the beginning is there. */
#ifndef IPQ_CUT_H
#define IPQ_CUT_H

#include "lib/ipq_abi.h"

static inline bool ipq_cut_off(const struct ipq_packet *packet)
{
	return packet->data_len < packet->len;
}

/* Whether a capture has cut it off, or the ICMP error that quotes it: its missing bytes stay missing,
 * and what is there can be changed in its place. */
static inline bool ipq_cut_by_capture(const struct ipq_packet *packet)
{
	return ipq_cut_off(packet) &&
	       (packet->cut == IPQ_CUT_CAPTURE || packet->cut == IPQ_CUT_QUOTE);
}

#endif
