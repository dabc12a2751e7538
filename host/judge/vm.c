#include "vm.h"
#include "overtime.h"
#include "value.h"
#include "host/base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <lauxlib.h>
#include <lualib.h>
#include <linux/netfilter/nfnetlink_queue.h>

struct vm {
	lua_State *L;
	int script; /* registry references */
	int run;
	int keeper;  /* of the packets that the filter holds */
	int observe; /* LUA_NOREF: nobody */
	int carried; /* LUA_REFNIL: nothing */
	struct ipq_driver *driver;
	struct overtime overtime;
	volatile sig_atomic_t is_judging; /* in vm_run() */
};

/* What may raise is done in these, below one lua_cpcall() each. */

struct load {
	struct vm *vm;
	struct ipq_counter *counters;
	const char *path;
	int argc;
	char **argv;
	enum vm_result result;
};

static int protected_watch(lua_State *L)
{
	struct vm *vm = lua_touserdata(L, 1);

	overtime_init(L, &vm->overtime);
	return 0;
}

static int protected_load(lua_State *L)
{
	struct load *load = lua_touserdata(L, 1);
	const char *code;

	vm_push_member(L, "ipq.counter", "place");
	lua_pushlightuserdata(L, load->counters);
	lua_call(L, 1, 0);
	vm_push_member(L, "ipq.engine.script", "load");
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
	enum output_stream events;
};

static int protected_replay(lua_State *L)
{
	struct replay *replay = lua_touserdata(L, 1);

	vm_push_module(L, "ipq.engine.live");
	lua_pushboolean(L, 1);
	lua_setfield(L, -2, "is_replay");
	lua_pushboolean(L, 1);
	lua_setfield(L, -2, "is_capture");
	vm_events_to(L, replay->events);
	if (!replay->is_json)
		return 0;
	vm_push_member(L, "ipq.packet.record", "new");
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

	vm_push_member(L, "ipq.engine.script", "start");
	lua_rawgeti(L, LUA_REGISTRYINDEX, start->vm->script);
	lua_rawgeti(L, LUA_REGISTRYINDEX, start->vm->carried);
	lua_call(L, 2, 2);
	if (lua_isnil(L, -2)) {
		log_write(LOG_LEVEL_ERROR, "%s", lua_tostring(L, -1));
		start->result = VM_BAD;
		return 0;
	}
	vm_push_member(L, "ipq.engine.dispatch", "new");
	lua_pushlightuserdata(L, start->driver);
	lua_rawgeti(L, LUA_REGISTRYINDEX, start->vm->script);
	lua_getfield(L, -1, "filter");
	lua_remove(L, -2);
	if (start->vm->observe == LUA_NOREF)
		lua_pushnil(L);
	else
		lua_rawgeti(L, LUA_REGISTRYINDEX, start->vm->observe);
	lua_pushnil(L);
	lua_pushboolean(L, true);
	lua_call(L, 5, 2);
	start->vm->keeper = luaL_ref(L, LUA_REGISTRYINDEX);
	start->vm->run = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

struct stop {
	struct vm *vm;
	enum vm_result result;
};

/* What is still held gets the default verdict. */
static void judge_held(lua_State *L, struct vm *vm)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->keeper);
	lua_getfield(L, -1, "judge_rest");
	lua_insert(L, -2);
	lua_call(L, 1, 0);
}

/* Says what the log has kept back. */
static void flush_log(lua_State *L)
{
	vm_push_member(L, "ipq.log", "flush");
	lua_call(L, 0, 0);
}

static int protected_stop(lua_State *L)
{
	struct stop *stop = lua_touserdata(L, 1);

	vm_push_member(L, "ipq.engine.script", "stop");
	lua_rawgeti(L, LUA_REGISTRYINDEX, stop->vm->script);
	lua_call(L, 1, 2);
	if (lua_isnil(L, -2)) {
		log_write(LOG_LEVEL_ERROR, "%s", lua_tostring(L, -1));
		stop->result = VM_BAD;
	} else {
		luaL_unref(L, LUA_REGISTRYINDEX, stop->vm->carried);
		stop->vm->carried = luaL_ref(L, LUA_REGISTRYINDEX);
	}
	judge_held(L, stop->vm);
	flush_log(L);
	return 0;
}

struct transfer {
	struct vm *vm, *from;
};

static int protected_carry(lua_State *L)
{
	struct transfer *transfer = lua_touserdata(L, 1);
	lua_State *from = transfer->from->L;

	lua_rawgeti(from, LUA_REGISTRYINDEX, transfer->from->carried);
	value_copy(from, L);
	lua_pop(from, 1);
	luaL_unref(L, LUA_REGISTRYINDEX, transfer->vm->carried);
	transfer->vm->carried = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

struct files {
	struct vm *vm;
	void (*each)(void *data, const char *path);
	void *data;
};

static int protected_files(lua_State *L)
{
	struct files *files = lua_touserdata(L, 1);

	vm_push_member(L, "ipq.engine.script", "files");
	lua_rawgeti(L, LUA_REGISTRYINDEX, files->vm->script);
	lua_call(L, 1, 1);
	for (int i = 1; lua_rawgeti(L, -1, i), lua_isstring(L, -1); i++) {
		files->each(files->data, lua_tostring(L, -1));
		lua_pop(L, 1);
	}
	return 0;
}

static int protected_confine(lua_State *L)
{
	vm_state_confine(L);
	return 0;
}

bool vm_confine(struct vm *vm)
{
	return vm_protect(vm->L, protected_confine, NULL);
}

struct vm *vm_new(bool is_confined)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->observe = LUA_NOREF;
	vm->carried = LUA_REFNIL;
	vm->L = vm_state_new();
	if (vm->L && (!is_confined || vm_confine(vm)) && vm_protect(vm->L, protected_watch, vm))
		return vm;
	vm_free(vm);
	return NULL;
}

enum vm_result vm_load(struct vm *vm, struct ipq_counter *counters, const char *path, int argc,
		       char **argv)
{
	struct load load = {vm, counters, path, argc, argv, VM_OK};

	return vm_protect(vm->L, protected_load, &load) ? load.result : VM_BAD;
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

bool vm_has_start(struct vm *vm)
{
	bool has;

	lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->script);
	lua_getfield(vm->L, -1, "start");
	has = !lua_isnil(vm->L, -1);
	lua_pop(vm->L, 2);
	return has;
}

bool vm_replay(struct vm *vm, bool is_json, enum output_stream events)
{
	struct replay replay = {vm, is_json, events};

	return vm_protect(vm->L, protected_replay, &replay);
}

lua_State *vm_state(struct vm *vm)
{
	return vm->L;
}

enum vm_result vm_start(struct vm *vm, struct ipq_driver *driver)
{
	struct start start = {vm, driver, VM_OK};

	vm->driver = driver;
	return vm_protect(vm->L, protected_start, &start) ? start.result : VM_BAD;
}

int vm_run(struct vm *vm)
{
	int ret = -ENOTRECOVERABLE;

	vm->is_judging = true;
	/* What took too long is over. */
	lua_sethook(vm->L, NULL, 0, 0);
	lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->run);
	if (lua_pcall(vm->L, 0, 1, 0) == 0)
		ret = (int)lua_tointeger(vm->L, -1);
	else
		log_write(LOG_LEVEL_ERROR, "Lua: %s", lua_tostring(vm->L, -1));
	lua_pop(vm->L, 1);
	vm->is_judging = false;
	return ret;
}

enum vm_result vm_stop(struct vm *vm)
{
	struct stop stop = {vm, VM_OK};

	return vm_protect(vm->L, protected_stop, &stop) ? stop.result : VM_BAD;
}

bool vm_carry(struct vm *vm, struct vm *from)
{
	struct transfer transfer = {vm, from};
	int top = lua_gettop(from->L);
	bool done = vm_protect(vm->L, protected_carry, &transfer);

	lua_settop(from->L, top);
	return done;
}

void vm_files(struct vm *vm, void (*each)(void *data, const char *path), void *data)
{
	struct files files = {vm, each, data};

	(void)vm_protect(vm->L, protected_files, &files);
}

void vm_overtime(void *data)
{
	struct vm *vm = data;

	overtime_interrupt(vm->L, &vm->overtime, vm->is_judging ? vm->driver->batch : NULL);
}
