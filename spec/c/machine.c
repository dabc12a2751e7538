/* Linked into the program of make test-lua, in no other: each Lua state begins with the text in
 * IPQ_MACHINE, which is what spec/support/machine.lua does for the specs themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <lauxlib.h>
#include <lualib.h>

void __real_luaL_openlibs(lua_State *L);
void __wrap_luaL_openlibs(lua_State *L);

void __wrap_luaL_openlibs(lua_State *L)
{
	const char *text = getenv("IPQ_MACHINE");

	__real_luaL_openlibs(L);
	if (!text || luaL_dostring(L, text) == 0)
		return;
	fprintf(stderr, "IPQ_MACHINE: %s\n", lua_tostring(L, -1));
	abort();
}
