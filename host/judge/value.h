/* Values from one Lua state to another. */
#ifndef HOST_VALUE_H
#define HOST_VALUE_H

#include <lua.h>

/* Pushes onto to what is on top of from, which stays there: nil, booleans, numbers, strings, and
 * tables of them, which keep their shape where they have a part in common or contain themselves.
 * Raises in to for anything else; takes metatables away. */
void value_copy(lua_State *from, lua_State *to);

#endif
