#include "value.h"

#include <lauxlib.h>

enum { DEPTH_MAX = 200 };

static void copy(lua_State *from, lua_State *to, int seen, int depth);

static void copy_table(lua_State *from, lua_State *to, int seen, int depth)
{
	lua_pushlightuserdata(to, (void *)lua_topointer(from, -1));
	lua_rawget(to, seen);
	if (!lua_isnil(to, -1))
		return;
	lua_pop(to, 1);
	lua_newtable(to);
	lua_pushlightuserdata(to, (void *)lua_topointer(from, -1));
	lua_pushvalue(to, -2);
	lua_rawset(to, seen);
	lua_pushnil(from);
	while (lua_next(from, -2)) {
		lua_pushvalue(from, -2);
		copy(from, to, seen, depth + 1);
		lua_pop(from, 1);
		copy(from, to, seen, depth + 1);
		lua_pop(from, 1);
		lua_rawset(to, -3);
	}
}

static void copy(lua_State *from, lua_State *to, int seen, int depth)
{
	const char *text;
	size_t len;

	if (depth > DEPTH_MAX || !lua_checkstack(from, 4) || !lua_checkstack(to, 6))
		luaL_error(to, "tables are more than %d deep in each other", DEPTH_MAX);
	switch (lua_type(from, -1)) {
	case LUA_TNIL: lua_pushnil(to); break;
	case LUA_TBOOLEAN: lua_pushboolean(to, lua_toboolean(from, -1)); break;
	case LUA_TNUMBER: lua_pushnumber(to, lua_tonumber(from, -1)); break;
	case LUA_TSTRING:
		text = lua_tolstring(from, -1, &len);
		lua_pushlstring(to, text, len);
		break;
	case LUA_TTABLE: copy_table(from, to, seen, depth); break;
	default:
		luaL_error(to,
			   "a %s cannot be carried over; booleans, numbers, strings and tables can",
			   luaL_typename(from, -1));
	}
}

void value_copy(lua_State *from, lua_State *to)
{
	int top = lua_gettop(from);

	lua_newtable(to);
	copy(from, to, lua_gettop(to), 0);
	lua_remove(to, -2);
	lua_settop(from, top);
}
