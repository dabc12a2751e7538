/*
 * The room of the bindings: how Lua sees lib.
 *
 * Called by   host/judge, which makes Lua states with it (this header); plain luajit and busted,
 *             which load core.so; host/supervise and host/tools, for explain.h; bindings/ipq, the
 *             Lua half.
 *
 * How         core.c is the C module "ipq.core". Lua calls lib's functions by FFI, as the headers
 *             declare them (core.c takes their text in, ipq/engine/abi.lua reads it), and
 *             core_json.c in Lua's own way; only what is opened and closed is an object: a queue,
 *             a capture, one packet in memory (core_queue.c, core_capture.c, core_memory.c, on
 *             core_object.h). capture/ is the source that reads capture files. modules.c has the
 *             Lua half inside the program, explain.c the words for errors, and nearest.c the name
 *             that a misspelt one was meant to be. Of the Lua half, ipq/ has what a script may
 *             require, ipq/engine/ the loop and what keeps packets and timers for it, ipq/packet/
 *             views and fields, ipq/test/ the test kit.
 *
 * States      one table a Lua state, "ipq.core" in its registry: it outlives the Lua modules,
 *             which busted loads anew for each spec file.
 *
 * Always      Misuse raises at the script's line. What the environment refuses gives nil, a
 *             message and a code; where a script cannot go on without it, as without the file of a
 *             set, that raises too. A script cannot free what C still uses: a closed object keeps
 *             its batch, and its driver a source that has ended, until the collector takes it.
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
