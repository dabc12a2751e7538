#include "overtime.h"

#include <stdbool.h>
#include <lauxlib.h>

static bool is_late(const struct overtime *overtime)
{
	const struct ipq_batch *batch = overtime->batch;

	if (!batch)
		return true;
	return batch->counters.batches == overtime->batches &&
	       batch->current == overtime->current && batch->in_timer == overtime->in_timer &&
	       (batch->count > 0 || batch->in_timer % 2);
}

/* At the line of the script's that runs, or that called what runs. */
static void raise_here(lua_State *L, const char *text)
{
	lua_Debug info;
	int level = 0;

	while (lua_getstack(L, level, &info)) {
		lua_getinfo(L, "S", &info);
		if (info.source[0] == '@')
			break;
		level++;
	}
	luaL_where(L, level);
	lua_pushstring(L, text);
	lua_concat(L, 2);
	lua_error(L);
}

/* The first time that Lua is interpreted after overtime_interrupt(). By then the filter may have
 * returned, and another packet's may run. */
static void on_overtime(lua_State *L, lua_Debug *debug)
{
	const struct overtime *overtime;

	(void)debug;
	lua_sethook(L, NULL, 0, 0);
	lua_pushlightuserdata(L, (void *)on_overtime);
	lua_rawget(L, LUA_REGISTRYINDEX);
	overtime = lua_touserdata(L, -1);
	lua_pop(L, 1);
	if (is_late(overtime))
		raise_here(L, overtime->batch ? "takes longer than the time limit"
					      : "takes too long to load (--time-limit)");
}

void overtime_init(lua_State *L, struct overtime *overtime)
{
	lua_pushlightuserdata(L, (void *)on_overtime);
	lua_pushlightuserdata(L, overtime);
	lua_rawset(L, LUA_REGISTRYINDEX);
}

void overtime_interrupt(lua_State *L, struct overtime *overtime, const struct ipq_batch *batch)
{
	*overtime = (struct overtime){.batch = batch};
	if (batch) {
		overtime->batches = batch->counters.batches;
		overtime->current = batch->current;
		overtime->in_timer = batch->in_timer;
	}
	lua_sethook(L, on_overtime, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}
