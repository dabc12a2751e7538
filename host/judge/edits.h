/* What a script that edits connections needs of its surroundings: rules, options, conntrack. */
#ifndef HOST_EDITS_H
#define HOST_EDITS_H

#include "host/base/options.h"
#include "vm.h"

/* Whether the options let packets by that are not translated, and the script edits. Gives an exit
 * code, and has told why it is not EX_OK. */
int edits_check(const struct options *options, struct vm *vm);

/* Tells the log, for a script that edits, what may break its connections here. */
void edits_tell(const struct options *options, struct vm *vm);

/* How conntrack takes segments whose numbers it does not expect, in this network namespace. */
enum edits_conntrack {
	EDITS_CONNTRACK_NONE,	 /* there is none */
	EDITS_CONNTRACK_IDLE,	 /* as invalid, but it follows no connection now */
	EDITS_CONNTRACK_STRICT,	 /* as invalid, and it follows some */
	EDITS_CONNTRACK_LIBERAL, /* as valid: net.netfilter.nf_conntrack_tcp_be_liberal */
};
enum edits_conntrack edits_conntrack(void);

/* Whether a rule, as iptables or nft write it, may bring ICMP errors about connections; whether one
 * of --rule's may. */
bool edits_brings_errors(const char *rule);
bool edits_rules_bring_errors(const struct options *options);

#endif
