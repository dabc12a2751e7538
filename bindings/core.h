/*
 * The room of the bindings: how Lua sees lib.
 *
 * Called by   host/judge, which makes Lua states with it (this header); plain luajit and busted,
 *             which load core.so; bindings/ipq, the Lua half.
 *
 * How         core.c is the C module "ipq.core". Lua calls lib's functions by FFI, as the headers
 *             declare them (core.c takes their text in, ipq/engine/abi.lua reads it); only what
 *             has a life of its own, and must not be freed by a script, is an object: a queue, a
 *             capture, one packet in memory (core_*.c, core_object.h). capture/ is the source that
 *             reads capture files. modules.c has the Lua half inside the program, and explain.c
 *             the words for errors. Of the Lua half, ipq/ has what a script may require,
 *             ipq/engine/ the loop and what keeps packets and timers for it, ipq/packet/ views and
 *             fields, ipq/test/ the test kit.
 *
 * States      one table a Lua state, "ipq.core" in its registry: it outlives the Lua modules,
 *             which busted loads anew for each spec file.
 *
 * Always      Misuse raises at the script's line; what the environment refuses gives nil, a
 *             message and a code. A closed object is not freed while a filter of its own runs.
 */
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
