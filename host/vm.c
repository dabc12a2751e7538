#include "vm.h"
#include "log.h"
#include "bindings/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <lauxlib.h>
#include <lualib.h>
#include <linux/netfilter/nfnetlink_queue.h>

/* LuaJIT's own bounds are for short programs: when the 512 KiB of machine code are full, all of it
 * is thrown away in the middle of traffic. */
static const char jit_settings[] = "require 'jit.opt'.start('maxmcode=16384', 'maxtrace=8000', "
				   "'maxrecord=16000', 'maxside=1000', 'maxsnap=2000')";

struct vm {
	lua_State *L;
	int script; /* registry references */
	int run;
	int observe; /* LUA_NOREF: nobody */
};

static int log_sink(lua_State *L)
{
	log_write(log_level_of(luaL_checkstring(L, 1)), "%s", luaL_checkstring(L, 2));
	return 0;
}

static int load_module(lua_State *L)
{
	const struct ipq_module *module = lua_touserdata(L, lua_upvalueindex(1));

	if (luaL_loadbuffer(L, module->begin, (size_t)(module->end - module->begin), module->chunk))
		return lua_error(L);
	lua_pushstring(L, module->name);
	lua_call(L, 1, 1);
	return 1;
}

static void preload_modules(lua_State *L)
{
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	lua_pushcfunction(L, luaopen_ipq_core);
	lua_setfield(L, -2, "ipq.core");
	for (const struct ipq_module *module = ipq_modules; module->name; module++) {
		lua_pushlightuserdata(L, (void *)module);
		lua_pushcclosure(L, load_module, 1);
		lua_setfield(L, -2, module->name);
	}
	lua_pop(L, 2);
}

/* Pushes require(module)[name]. */
static void push_member(lua_State *L, const char *module, const char *name)
{
	lua_getglobal(L, "require");
	lua_pushstring(L, module);
	lua_call(L, 1, 1);
	lua_getfield(L, -1, name);
	lua_remove(L, -2);
}

/* What may raise is done in these, below one lua_cpcall() each. */

static int protected_setup(lua_State *L)
{
	luaL_openlibs(L);
	preload_modules(L);
	if (luaL_dostring(L, jit_settings))
		lua_error(L);
	lua_getglobal(L, "require");
	lua_pushliteral(L, "ipq.log");
	lua_call(L, 1, 1);
	lua_pushcfunction(L, log_sink);
	lua_setfield(L, -2, "sink");
	return 0;
}

struct load {
	struct vm *vm;
	const char *path;
	int argc;
	char **argv;
	enum vm_result result;
};

static int protected_load(lua_State *L)
{
	struct load *load = lua_touserdata(L, 1);
	const char *code;

	push_member(L, "ipq.script", "load");
	lua_pushstring(L, load->path);
	lua_createtable(L, load->argc, 0);
	for (int i = 0; i < load->argc; i++) {
		lua_pushstring(L, load->argv[i]);
		lua_rawseti(L, -2, i + 1);
	}
	lua_call(L, 2, 3);
	if (lua_isnil(L, -3)) {
		code = lua_tostring(L, -1);
		log_write(LOG_LEVEL_ERROR, "%s", lua_tostring(L, -2));
		load->result = strcmp(code, "ENOENT") == 0 ? VM_NO_FILE : VM_BAD;
		return 0;
	}
	lua_pop(L, 2);
	load->vm->script = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

static int write_stdout(lua_State *L)
{
	size_t len;
	const char *line = luaL_checklstring(L, 1, &len);

	fwrite(line, 1, len, stdout);
	return 0;
}

struct replay {
	struct vm *vm;
	bool is_json;
};

static int protected_replay(lua_State *L)
{
	struct replay *replay = lua_touserdata(L, 1);

	lua_getglobal(L, "require");
	lua_pushliteral(L, "ipq.live");
	lua_call(L, 1, 1);
	lua_pushboolean(L, 1);
	lua_setfield(L, -2, "is_replay");
	if (!replay->is_json)
		return 0;
	push_member(L, "ipq.record", "new");
	lua_pushcfunction(L, write_stdout);
	lua_call(L, 1, 1);
	replay->vm->observe = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

struct start {
	struct vm *vm;
	struct ipq_driver *driver;
	enum vm_result result;
};

static int protected_start(lua_State *L)
{
	struct start *start = lua_touserdata(L, 1);

	push_member(L, "ipq.script", "start");
	lua_rawgeti(L, LUA_REGISTRYINDEX, start->vm->script);
	lua_call(L, 1, 2);
	if (lua_isnil(L, -2)) {
		log_write(LOG_LEVEL_ERROR, "%s", lua_tostring(L, -1));
		start->result = VM_BAD;
		return 0;
	}
	push_member(L, "ipq.dispatch", "new");
	lua_pushlightuserdata(L, start->driver);
	lua_rawgeti(L, LUA_REGISTRYINDEX, start->vm->script);
	lua_getfield(L, -1, "filter");
	lua_remove(L, -2);
	if (start->vm->observe == LUA_NOREF)
		lua_pushnil(L);
	else
		lua_rawgeti(L, LUA_REGISTRYINDEX, start->vm->observe);
	lua_call(L, 3, 1);
	start->vm->run = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

struct stop {
	struct vm *vm;
	enum vm_result result;
};

static int protected_stop(lua_State *L)
{
	struct stop *stop = lua_touserdata(L, 1);

	push_member(L, "ipq.script", "stop");
	lua_rawgeti(L, LUA_REGISTRYINDEX, stop->vm->script);
	lua_call(L, 1, 1);
	if (!lua_toboolean(L, -1))
		stop->result = VM_BAD;
	return 0;
}

/* Runs one of them. An error that reaches here is no script's fault: memory, or the program's own.
 */
static bool protect(lua_State *L, lua_CFunction function, void *data)
{
	if (lua_cpcall(L, function, data) == 0)
		return true;
	log_write(LOG_LEVEL_ERROR, "Lua: %s", lua_tostring(L, -1));
	lua_pop(L, 1);
	return false;
}

enum vm_result vm_new(struct vm **vm, const char *path, int argc, char **argv)
{
	struct vm *v = calloc(1, sizeof(*v));
	struct load load = {v, path, argc, argv, VM_OK};

	*vm = NULL;
	if (v) {
		v->L = luaL_newstate();
		v->observe = LUA_NOREF;
	}
	if (!v || !v->L) {
		log_write(LOG_LEVEL_ERROR, "not enough memory for a Lua state");
		load.result = VM_BAD;
	} else if (!protect(v->L, protected_setup, NULL) || !protect(v->L, protected_load, &load)) {
		load.result = VM_BAD;
	}
	if (load.result == VM_OK)
		*vm = v;
	else
		vm_free(v);
	return load.result;
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	if (vm->L)
		lua_close(vm->L);
	free(vm);
}

void vm_queue_options(struct vm *vm, struct ipq_queue_options *options)
{
	lua_State *L = vm->L;

	/* script.lua has checked them. */
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->script);
	lua_getfield(L, -1, "queue");
	lua_getfield(L, -1, "copy");
	if (lua_isstring(L, -1) && strcmp(lua_tostring(L, -1), "meta") == 0)
		options->copy_mode = NFQNL_COPY_META;
	lua_getfield(L, -2, "range");
	if (lua_isnumber(L, -1))
		options->copy_range = (uint32_t)lua_tonumber(L, -1);
	lua_pop(L, 4);
}

bool vm_replay(struct vm *vm, bool is_json)
{
	struct replay replay = {vm, is_json};

	return protect(vm->L, protected_replay, &replay);
}

enum vm_result vm_start(struct vm *vm, struct ipq_driver *driver)
{
	struct start start = {vm, driver, VM_OK};

	return protect(vm->L, protected_start, &start) ? start.result : VM_BAD;
}

int vm_run(struct vm *vm)
{
	int ret = -ENOTRECOVERABLE;

	lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->run);
	if (lua_pcall(vm->L, 0, 1, 0) == 0)
		ret = (int)lua_tointeger(vm->L, -1);
	else
		log_write(LOG_LEVEL_ERROR, "Lua: %s", lua_tostring(vm->L, -1));
	lua_pop(vm->L, 1);
	return ret;
}

enum vm_result vm_stop(struct vm *vm)
{
	struct stop stop = {vm, VM_OK};

	return protect(vm->L, protected_stop, &stop) ? stop.result : VM_BAD;
}
