/* Values of Lua's as bytes, for another process. */
#ifndef BINDINGS_VALUE_H
#define BINDINGS_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include <lua.h>

/* The most that is written. */
enum { VALUE_SIZE_MAX = 64 << 20 };

/* Writes what is on top of the stack, which stays there: nil, booleans, numbers, strings, and tables
 * of them, without their metatables. Gives the length. Raises for anything else, for tables that are
 * more than 100 deep in each other, as one that contains itself is, and where size bytes are not
 * enough. The format is this program's, of this version. */
size_t value_write(lua_State *L, uint8_t *to, size_t size);

/* Pushes the value that len bytes are. They may be anybody's, but nobody may change them meanwhile:
 * raises where they are no value. */
void value_read(lua_State *L, const uint8_t *from, size_t len);

/* Of Lua: gives a copy of its argument, as another process would read it. */
int value_copy(lua_State *L);

#endif
