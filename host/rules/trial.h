/* What this kernel does with a packet whose headers a filter has laid out anew: found by trying. */
#ifndef HOST_TRIAL_H
#define HOST_TRIAL_H

enum trial_result {
	TRIAL_UNKNOWN, /* it could not be tried: no right to, or no iptables and no nft */
	TRIAL_TAKEN,
	TRIAL_DROPPED /* behind an ACCEPT, without a word */
};

/* Some kernels drop a changed packet if its IPv4 options, its fragment fields (but DF) or its IPv6
 * extension headers are others than before, and a changed packet of a bridge in any case; they do
 * all of it or nothing. So one case is tried: in a network namespace of its own, by a process of its
 * own, a packet gets an IPv4 option, and one behind it stays as it is, so that nobody waits for what
 * does not come. The answer is kept in /run/ipq-lua.kernel until the kernel is another one. Takes
 * some 50 ms the first time, 5 s at most. */
enum trial_result trial_layout(void);

#endif
