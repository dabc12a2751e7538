/* Lua states with the program's modules in them. */
#ifndef HOST_STATE_H
#define HOST_STATE_H

#include <stdbool.h>
#include <lua.h>

/* Makes a state in which require "ipq" works without a file. NULL with a message where there is no
 * memory for it. Caller closes it with lua_close(). */
lua_State *state_new(void);

/* Calls function with data as a light userdata. An error that reaches here is no script's fault,
 * but memory, or the program's own: it is logged, and gives false. */
bool state_protect(lua_State *L, lua_CFunction function, void *data);

/* Where the lines of ipq.event() go: standard output, until another descriptor is named. May raise.
 */
void state_events_to(lua_State *L, int fd);

/* Pushes require(module)[name]. May raise. */
void state_push_member(lua_State *L, const char *module, const char *name);

/* Has os.execute() and io.popen() say that the sandbox (sandbox.h) stops them, which the C library
 * would not. May raise. */
void state_confine(lua_State *L);

#endif
