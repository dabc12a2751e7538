/* Prefixes, for the files of this room. */
#ifndef IPQ_PREFIX_H
#define IPQ_PREFIX_H

#include "netset.h"

/* An address, and how many of its first bits all addresses of a network have in common. */
struct ipq_prefix {
	uint8_t version; /* 4 or 6 */
	uint8_t len;
	uint8_t address[16]; /* network order; IPv4 has the first 4 bytes */
};

/* Reads "10.0.0.0/8", "2001:db8::/32", or an address alone, which is a prefix of all its bits.
 * Bits of the address behind the prefix are kept. 0; -EINVAL; -ERANGE where the length is too
 * large. */
int ipq_prefix_parse(struct ipq_prefix *prefix, const char *text, size_t len);

/* Adds a prefix; see ipq_netset_add_text(). */
int ipq_netset_add(struct ipq_netset *set, const struct ipq_prefix *prefix);

/* How many bytes the set takes. */
size_t ipq_netset_memory(const struct ipq_netset *set);

#endif
