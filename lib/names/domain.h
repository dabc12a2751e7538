/* Domain names as lists have them: what the files of sets share. */
#ifndef IPQ_DOMAIN_H
#define IPQ_DOMAIN_H

#include "domainset.h"

enum { IPQ_LABEL_MOST = 63, IPQ_DOMAIN_MOST = 253 }; /* RFC 1035 section 2.3.4 */

static inline char ipq_lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* Reads an entry (ipq_domainset_add says which) into name, in small letters, without a dot at its end.
 * Gives its length, or the error. */
int ipq_domain_read(char name[IPQ_DOMAIN_MOST], const char *text, size_t len);

/* How many bytes all that a set has allocated has. */
size_t ipq_domainset_memory(const struct ipq_domainset *set);

/* Puts what other has into the place of what set has, and frees other. What is kept of files stays. */
void ipq_domainset_take(struct ipq_domainset *set, struct ipq_domainset *other);

/* What is kept of the file that a set was loaded from. */
struct ipq_domainset_file {
	char *path;
	uint64_t stamp[7];
};
struct ipq_domainset_file *ipq_domainset_file(struct ipq_domainset *set);

#endif
