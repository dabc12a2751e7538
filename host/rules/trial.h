/* What this kernel loses of the packets that a filter has changed: found by trying. */
#ifndef HOST_TRIAL_H
#define HOST_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

/* Some kernels lose changed packets behind an ACCEPT, without a word: if their IPv4 options, their
 * fragment fields (but DF) or their IPv6 extension headers are others than before, and those of a
 * bridge in any case, all of it or nothing (IPQ_SET_LAYOUT); or if they are UDP that has yet to be
 * cut into segments (IPQ_SET_SEGMENTED), for which Linux 5.10 even stops: kernels before 6.12 are not
 * tried with that, but lose it. Else one case of each is tried by a process of its own in a
 * network namespace of its own, between packets that nobody changes, so that nobody waits for what
 * does not come. The answer is kept in /run/ipq-lua.kernel until the kernel is another one. Takes
 * some 30 ms the first time, 5 s at most.
 *
 * Gives in lost which of the two it loses. False where that could not be tried, without root, or
 * without iptables and nft: lost has what is known nevertheless. */
bool trial_loses(uint32_t *lost);

#endif
