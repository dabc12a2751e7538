/* The C half of the Lua module "ipq", as the host embeds it. */
#ifndef IPQ_CORE_H
#define IPQ_CORE_H

#include <stddef.h>
#include <lua.h>

/* require "ipq.core" */
int luaopen_ipq_core(lua_State *L);

/* A Lua module of the program's own, as text. */
struct ipq_module {
	const char *name;  /* for require */
	const char *chunk; /* for messages */
	const char *begin;
	const char *end;
};

/* All of them; the last has no name. */
extern const struct ipq_module ipq_modules[];

#endif
