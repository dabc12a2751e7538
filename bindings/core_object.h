/* What the objects of the C module "ipq.core" have in common. */
#ifndef IPQ_CORE_OBJECT_H
#define IPQ_CORE_OBJECT_H

#include <stdbool.h>
#include <lauxlib.h>

#include "lib/ipq.h"

/* Makes a metatable for luaL_checkudata(), out of a script's reach. */
void ipq_object_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);

/* Pushes nil, message, code; gives 3. */
int ipq_object_fail(lua_State *L, const char *message, const char *code);

/* A source that has ended: what a driver is left with when its own is closed. */
extern struct ipq_source ipq_object_no_source;

/* Fields of the options table at index 1, and what stands for one that is nil. They raise where a
 * value is of another type or out of range: a message without a position. */
lua_Number ipq_option_number(lua_State *L, const char *name, lua_Number otherwise, lua_Number max);
bool ipq_option_bool(lua_State *L, const char *name, bool otherwise);
uint32_t ipq_option_verdict(lua_State *L, const char *name, uint32_t otherwise);
/* NULL where it is nil. The table keeps it. */
const char *ipq_option_string(lua_State *L, const char *name);
/* copy: "packet" or "meta". */
bool ipq_option_is_meta(lua_State *L);

/* The objects' constructors, and what makes their metatables. */
int ipq_core_open(lua_State *L);
void ipq_core_queue_class(lua_State *L);
int ipq_core_capture(lua_State *L);
void ipq_core_capture_class(lua_State *L);
int ipq_core_memory(lua_State *L);
void ipq_core_memory_class(lua_State *L);

#endif
