/*
 * A packet, or a timer, that takes too long: how a running filter is interrupted.
 *
 * The limit (--time-limit) is kept by whoever can look at the batch while the filter runs:
 *
 *   live            the supervisor's watchdog (host/supervise/limits.c), by the clock. It sends
 *                   XCPU, of which the worker's handler calls vm_overtime(); a moment later it
 *                   kills
 *   replay, --test  a timer of the process' own (host/tools/time_limit.c), by the processor's
 *                   time. Its handler calls overtime_interrupt(); a moment later it ends the
 *                   process
 *   plain luajit    nobody
 */
#ifndef HOST_OVERTIME_H
#define HOST_OVERTIME_H

#include <lua.h>

#include "lib/ipq_abi.h"

/* What a signal said takes too long. Zeroed memory is nothing. */
struct overtime {
	const struct ipq_batch *batch; /* NULL: what runs, and it is no packet's */
	uint64_t batches;
	uint32_t current;
	uint32_t in_timer;
};

/* The Lua state has this one, which outlives it. May raise. */
void overtime_init(lua_State *L, struct overtime *overtime);

/* For a signal handler: what runs of the batch takes too long; where that is NULL, what runs at
 * all. Raises there, if Lua is interpreted; compiled code cannot be interrupted. */
void overtime_interrupt(lua_State *L, struct overtime *overtime, const struct ipq_batch *batch);

#endif
