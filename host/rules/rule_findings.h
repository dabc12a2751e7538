/* What --doctor says of rules: which of them queue packets, and for whom. */
#ifndef HOST_RULE_FINDINGS_H
#define HOST_RULE_FINDINGS_H

#include "host/base/finding.h"
#include "host/base/options.h"

/* Looks at the rules that queue packets, and at those that lead flows around the queues. edits: for a script that edits
 * connections. */
void rule_findings_tell(struct findings *findings, const struct options *options, bool edits);

#endif
