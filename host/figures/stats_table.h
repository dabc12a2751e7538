/* The statistics of a program as a table for people. */
#ifndef HOST_STATS_TABLE_H
#define HOST_STATS_TABLE_H

#include <stdio.h>

#include "stats_page.h"

/* Writes lines of text, 80 columns wide where names are not long. Rates are those between before
 * and now, snapshots of the same process; 0 where they are the same. age_ns is how old now is. */
void stats_table_put(FILE *out, pid_t pid, const struct stats_snapshot *now,
		     const struct stats_snapshot *before, int64_t age_ns);

#endif
