/* The statistics of a program as a table for people. */
#ifndef HOST_BOARD_H
#define HOST_BOARD_H

#include <stdio.h>

#include "page.h"

/* Writes lines of text, 80 columns wide where names are not long. Rates are those between before
 * and now, snapshots of the same process; 0 where they are the same. age_ns is how old now is. */
void board_put(FILE *out, pid_t pid, const struct snapshot *now, const struct snapshot *before,
	       int64_t age_ns);

#endif
