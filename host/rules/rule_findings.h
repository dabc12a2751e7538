/* What feeds the queues, for --doctor. */
#ifndef HOST_FEEDS_H
#define HOST_FEEDS_H

#include "host/base/finding.h"
#include "host/base/options.h"

/* Looks at the rules that queue packets, and at those that lead flows around the queues. */
void feeds_check(struct findings *findings, const struct options *options);

#endif
