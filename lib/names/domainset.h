/*
 * The room of names: sets of domain names, and DNS messages (dns.h).
 *
 * Called by   Lua: bindings/ipq/domainset.lua for a script's sets.
 *
 * Always      A name is in a set if it was added, or one that it is below: "a.b.example" is, where
 *             "b.example" or "example" was added. Whether letters are capital does not matter, nor a
 *             dot at the end. A look-up compares names whole, so there are no false ones; it takes no
 *             memory, no lock and no system call.
 *             What a look-up costs depends on how many labels the name has, and at most as many as
 *             the longest that was added. Where names are kept depends on numbers that are
 *             chosen for each set and nobody knows: who chooses names cannot crowd them together.
 *
 * How         domainset.c has the table, domain.c reads entries as they are written in lists, and
 *             domainfile.c reads files.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations
 * only.
 */
#ifndef IPQ_DOMAINSET_H
#define IPQ_DOMAINSET_H

#include "lib/ipq_abi.h"

struct ipq_domainset;

/* Makes an empty set. 0, -ENOMEM, or getrandom(2)'s error. The caller frees it with
 * ipq_domainset_free(), which takes NULL. */
int ipq_domainset_new(struct ipq_domainset **set);
void ipq_domainset_free(struct ipq_domainset *set);

/* Adds the name that the entry of a list is, len bytes: "ads.example", "*.ads.example", ".ads.example"
 * or "||ads.example^", which are all the same. 1 where it was not there, 0 where it was, or:
 *   -EINVAL        it is no name: of letters, digits, '-' and '_', in labels with dots between them
 *   -ENAMETOOLONG  a label has more than 63 bytes, or the name more than 253
 *   -EILSEQ        it has bytes that are not ASCII
 *   -EOPNOTSUPP    it is adblock's, and no mere name: it has options, a path, or is an exception
 *   -E2BIG         there are too many
 *   -ENOMEM        there is no memory */
int ipq_domainset_add(struct ipq_domainset *set, const char *text, size_t len);

/* Takes out the name that such an entry is. 1; 0 where it was not there; or what add gives for one that
 * is no name. Names below it that were added stay. */
int ipq_domainset_remove(struct ipq_domainset *set, const char *text, size_t len);

/* Adds the names in a file, which is one of hosts(5) ("0.0.0.0 ads.example"), of one entry a line, or
 * both. Comments begin with '#' at the beginning of a line or behind a blank, and with '!' or '[' at
 * the beginning. What hosts(5) has of the machine itself ("127.0.0.1 localhost") is left out. Stops at
 * the first error; *line is then the number of the bad line, or 0 where the file could not be
 * read (the error is that of fopen(3) or of reading). What came before it stays. The set keeps
 * the file's name. */
int ipq_domainset_load(struct ipq_domainset *set, const char *path, uint32_t *line);

/* Reads the file again that the set was loaded from, if it is not the one that was read last: another
 * one by that name, or of another time or size. Then the set has what is in that, and nothing else. 1;
 * 0 where the file is the same, or the set is of none; or an error as that of load, which is told
 * once for a file, and leaves the set as it was. */
int ipq_domainset_refresh(struct ipq_domainset *set, uint32_t *line);

/* How many bytes at the end of name (len bytes, any) are the longest name of the set that it is, or
 * is below, a dot behind not counted; 0 where there is none. */
size_t ipq_domainset_find(const struct ipq_domainset *set, const char *name, size_t len);

/* How many names there are. */
uint32_t ipq_domainset_count(const struct ipq_domainset *set);

/* The file that it was loaded from; NULL where there is none. It is the set's. */
const char *ipq_domainset_path(const struct ipq_domainset *set);

/* An error of the functions above in words, never NULL; good until the next call. */
const char *ipq_domainset_strerror(int error);

#endif
