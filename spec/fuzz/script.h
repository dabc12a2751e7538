/*
 * Targets that are Lua scripts: a script gives a function of the input, which raises where
 * something is wrong, and otherwise says in a string what came out.
 *
 * What the script needs of the target's own, FUZZ_OPEN(L) puts into a state, where it is defined.
 *
 * It runs twice, in the program's own states: interpreted, where a hook tells libFuzzer which lines
 * ran, and compiled. Both have to say the same.
 */
#ifndef IPQ_FUZZ_SCRIPT_H
#define IPQ_FUZZ_SCRIPT_H

#include "fuzz.h"
#include "host/judge/vm.h"

#include <lauxlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int __lsan_is_turned_off(void);

/* LeakSanitizer does not look into LuaJIT's memory for who still holds what. */
int __lsan_is_turned_off(void)
{
	return 1;
}

__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[1 << 13];

static lua_State *interpreted, *compiled;

static void line_count(lua_State *L, lua_Debug *info)
{
	uint32_t hash = (uint32_t)info->currentline * 2654435761U;

	lua_getinfo(L, "S", info);
	for (const char *p = info->source; *p; p++)
		hash = (hash ^ (uint8_t)*p) * 16777619U;
	hash >>= 19;
	if (counters[hash] < UINT8_MAX)
		counters[hash]++;
}

static void fail(lua_State *L)
{
	dprintf(2, "%s\n", lua_tostring(L, -1));
	abort();
}

static lua_State *script_load(const char *path, const char *setting)
{
	lua_State *L = vm_state_new();

	CHECK(L);
	/* Scripts' own reaches none of the program's modules but two. */
	lua_getfield(L, LUA_REGISTRYINDEX, "ipq.require");
	lua_setglobal(L, "require");
#ifdef FUZZ_OPEN
	FUZZ_OPEN(L);
#endif
	if (luaL_dostring(L, setting) || luaL_loadfile(L, path) || lua_pcall(L, 0, 1, 0))
		fail(L);
	return L;
}

/* Pushes what came out. */
static const char *script_run(lua_State *L, const uint8_t *bytes, size_t len)
{
	lua_settop(L, 1);
	lua_pushvalue(L, 1);
	lua_pushlstring(L, (const char *)bytes, len);
	if (lua_pcall(L, 1, 1, 0))
		fail(L);
	return lua_tostring(L, -1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	interpreted = script_load(FUZZ_SCRIPT, "jit.off()");
	compiled = script_load(FUZZ_SCRIPT, "jit.opt.start('hotloop=5', 'hotexit=2')");
	lua_sethook(interpreted, line_count, LUA_MASKLINE, 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const char *one = script_run(interpreted, bytes, len);
	const char *other = script_run(compiled, bytes, len);

	if (strcmp(one, other) != 0)
		dprintf(2, "interpreted:\n%s\ncompiled:\n%s\n", one, other);
	CHECK(strcmp(one, other) == 0);
	return 0;
}

#endif
