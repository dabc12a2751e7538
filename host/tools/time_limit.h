/* The time limit where there is no supervisor, with a capture and in specs. It is of the
 * processor's time: who waits, for a pager that reads what is printed as for a debugger, does not
 * run in circles. */
#ifndef HOST_TIME_LIMIT_H
#define HOST_TIME_LIMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <lua.h>

/* From here on a filter that one call of which takes so long in this state raises there, if it is
 * interpreted; if it is compiled the process ends with a message, and the status 70. For one state
 * in the life of a process; 0 ms is no limit. False with a message where that cannot be. */
bool time_limit_set(lua_State *L, uint32_t limit_ms);

#endif
