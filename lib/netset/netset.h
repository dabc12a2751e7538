/*
 * The room of networks: sets of address prefixes, made once and looked up for each packet.
 *
 * Called by   Lua: bindings/ipq/netset.lua for a script's sets, bindings/ipq/packet/address.lua
 *             for addresses in text.
 *
 * States      of a set: it is being filled (add, load), or built. A lookup in one that is being
 *             filled finds nothing, and one that is built is never filled again.
 *
 * Always      The time of a lookup depends on the number of prefixes alone, not on which they are:
 *             nobody who chooses addresses can make it slow. A lookup takes no memory, no lock and
 *             no system call, and any number of threads may look up at once.
 *
 * How         prefix.c reads text, file.c reads files, segment.c cuts the address space by the
 *             prefixes, and segment_tree.c finds an address in it; netset.c holds them together.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations
 * only.
 */
#ifndef IPQ_NETSET_H
#define IPQ_NETSET_H

#include "lib/ipq_abi.h"

struct ipq_netset;

/* Makes an empty set. 0 or -ENOMEM. The caller frees it with ipq_netset_free(), which takes NULL.
 */
int ipq_netset_new(struct ipq_netset **set);
void ipq_netset_free(struct ipq_netset *set);

/* Adds the prefix that text, of len bytes, is: "10.0.0.0/8", "2001:db8::/32", or an address alone,
 * which is a prefix of all its bits. Prefixes may overlap and come more than once. Bits of the
 * address behind the prefix do not matter: 10.1.2.3/8 is 10.0.0.0/8, as it is for iptables, ipset
 * and nft, whose lists may be used here. 0, or:
 *   -EINVAL  it is no prefix
 *   -ERANGE  its length is too large
 *   -EBUSY   the set is built
 *   -E2BIG   there are too many
 *   -ENOMEM  there is no memory */
int ipq_netset_add_text(struct ipq_netset *set, const char *text, size_t len);

/* Adds the prefixes in a file, one a line. Blanks around them, empty lines, and what follows a '#'
 * or a ';' are skipped. Stops at the first error; *line is then the number of the bad line, or 0
 * where the file could not be read (the error is that of fopen(3) or of reading). What came before
 * it stays. */
int ipq_netset_load(struct ipq_netset *set, const char *path, uint32_t *line);

/* Makes what was added ready to be found. Nothing can be added from then on. A second time does
 * nothing. 0 or -ENOMEM, after which the set is as before. */
int ipq_netset_build(struct ipq_netset *set);

/* Whether the address (network order, 4 or 16 bytes by version, which is 4 or 6) is in one of the
 * set's prefixes. Then *prefix_len, unless it is NULL, is the length of the longest. */
bool ipq_netset_has(const struct ipq_netset *set, int version, const uint8_t *address,
		    uint8_t *prefix_len);

/* The same for a packet's addresses; false where the packet has no whole IP header. */
bool ipq_netset_has_saddr(const struct ipq_netset *set, struct ipq_packet *packet);
bool ipq_netset_has_daddr(const struct ipq_netset *set, struct ipq_packet *packet);

/* How many prefixes were added, each as often as it was. */
uint32_t ipq_netset_count(const struct ipq_netset *set);

/* An error of the functions above in words, never NULL; good until the next call. */
const char *ipq_netset_strerror(int error);

/* Addresses in text */

/* Reads an address as inet_pton(3) does; text is len bytes and needs no 0 byte. Gives its version,
 * 4 or 6, or -EINVAL. */
int ipq_address_parse(uint8_t address[16], const char *text, size_t len);

/* Writes the text of an address of that version, 4 or 6 (RFC 5952), into text, IPQ_ADDRESS_TEXT
 * bytes. */
enum { IPQ_ADDRESS_TEXT = 46 };
void ipq_address_text(int version, const uint8_t *address, char *text);

/* Reads an Ethernet address: six bytes of two hexadecimal digits each, with ':' between all of them
 * or '-'; text is len bytes and needs no 0 byte. 1, or 0 where it is none, which changes nothing. */
int ipq_ether_parse(uint8_t address[6], const char *text, size_t len);

#endif
