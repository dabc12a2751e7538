/* Values from one Lua state to another. */
#ifndef HOST_CARRY_H
#define HOST_CARRY_H

#include <lua.h>

/* Pushes onto to what is on top of from, which stays there: nil, booleans, numbers, strings, and
 * tables of them, which keep their shape where they have a part in common or contain themselves.
 * Raises in to for anything else; takes metatables away. */
void carry(lua_State *from, lua_State *to);

#endif
