/* A packet, or a timer, that takes too long. */
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
