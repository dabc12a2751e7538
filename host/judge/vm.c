#include "vm.h"
#include "overtime.h"
#include "bindings/value.h"
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
	struct ipq_driver *driver;
	struct overtime overtime;
	volatile sig_atomic_t is_judging; /* packets wait for what runs */
};

/* What may raise is done in these, below one lua_cpcall() each. */

struct load {
	struct vm *vm;
	const struct options *options;
	int queue_num;
	struct ipq_counter *counters, *inherited;
	enum vm_result result;
};

struct share {
	uint8_t *memory;
	size_t size;
	uint32_t worker;
};

static int protected_share(lua_State *L)
{
	const struct share *share = lua_touserdata(L, 1);

	if (!share->memory) {
		vm_push_module(L, "ipq.engine.region");
		lua_pushnumber(L, (lua_Number)share->size);
		lua_setfield(L, -2, "size");
		return 0;
	}
	vm_push_member(L, "ipq.engine.region", "use");
	lua_pushlightuserdata(L, share->memory);
	lua_pushnumber(L, (lua_Number)share->size);
	lua_pushinteger(L, (lua_Integer)share->worker);
	lua_call(L, 3, 0);
	return 0;
}

static int protected_watch(lua_State *L)
{
	struct vm *vm = lua_touserdata(L, 1);

	overtime_init(L, &vm->overtime);
	return 0;
}

static int protected_load(lua_State *L)
{
	struct load *load = lua_touserdata(L, 1);
	const struct options *options = load->options;
	const char *code;

	vm_describe(L, options, load->queue_num);
	vm_push_member(L, "ipq.counter", "place");
	lua_pushlightuserdata(L, load->counters);
	if (load->inherited)
		lua_pushlightuserdata(L, load->inherited);
	else
		lua_pushnil(L);
	lua_call(L, 2, 0);
	vm_push_member(L, "ipq.engine.script", "load");
	lua_pushstring(L, options->script);
	lua_createtable(L, options->argc, 0);
	for (int i = 0; i < options->argc; i++) {
		lua_pushstring(L, options->argv[i]);
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

static int protected_inspect(lua_State *L)
{
	const struct vm *vm = lua_touserdata(L, 1);

	vm_push_member(L, "ipq.engine.script", "inspect");
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->script);
	lua_call(L, 1, 0);
	return 0;
}

struct replay {
	struct vm *vm;
	enum vm_record record;
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
	if (replay->record == VM_RECORD_NONE)
		return 0;
	vm_push_member(L, "ipq.packet.record",
		       replay->record == VM_RECORD_JSON ? "write_json" : "print");
	replay->vm->observe = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

/* Calls the script's function of that name with what is on top of the stack, and leaves what it
 * returned there; false where it raised, which is logged. */
static bool call_script(lua_State *L, const struct vm *vm, const char *name)
{
	vm_push_member(L, "ipq.engine.script", "call");
	lua_insert(L, -2);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->script);
	lua_insert(L, -2);
	lua_pushstring(L, name);
	lua_insert(L, -2);
	lua_call(L, 3, 2);
	if (!lua_isnil(L, -2))
		return true;
	log_write(LOG_LEVEL_ERROR, "%s", lua_tostring(L, -1));
	return false;
}

struct start {
	struct vm *vm;
	struct ipq_driver *driver;
	enum vm_result result;
};

static int protected_start(lua_State *L)
{
	struct start *start = lua_touserdata(L, 1);

	vm_push_member(L, "ipq.engine.send", "use");
	lua_pushlightuserdata(L, start->driver);
	lua_call(L, 1, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, start->vm->script);
	lua_getfield(L, -1, "args");
	if (!call_script(L, start->vm, "start")) {
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

struct save {
	struct vm *vm;
	uint8_t *to;
	size_t size;
	ssize_t len;
};

static int protected_save(lua_State *L)
{
	struct save *save = lua_touserdata(L, 1);

	lua_pushnil(L);
	if (!call_script(L, save->vm, "save"))
		return 0;
	save->len = lua_isnil(L, -1) ? 0 : (ssize_t)value_write(L, save->to, save->size);
	return 0;
}

struct restore {
	struct vm *vm;
	const uint8_t *from;
	size_t len;
	enum vm_result result;
};

static int protected_restore(lua_State *L)
{
	struct restore *restore = lua_touserdata(L, 1);

	value_read(L, restore->from, restore->len);
	if (!call_script(L, restore->vm, "restore"))
		restore->result = VM_BAD;
	return 0;
}

struct follow {
	struct vm *vm;
	const struct vm_memory *flows, *streams; /* NULL: the script reads none */
	bool is_done;
};

/* Calls begin(script[name], memory, size, more values from the top on) of a module. What it gives becomes keeper[field].
 * False with a message where it gives none. */
static bool begin_of(lua_State *L, const struct vm *vm, const char *module, const char *name,
		     const char *field, const struct vm_memory *memory)
{
	vm_push_member(L, module, "begin");
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->script);
	lua_getfield(L, -1, name);
	lua_remove(L, -2);
	if (memory->memory)
		lua_pushlightuserdata(L, memory->memory);
	else
		lua_pushnil(L);
	lua_pushnumber(L, (lua_Number)memory->size);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->keeper);
	lua_getfield(L, -1, "flows");
	lua_remove(L, -2);
	lua_call(L, 4, 2);
	if (lua_isnil(L, -2)) {
		log_write(LOG_LEVEL_ERROR, "%s", lua_tostring(L, -1));
		return false;
	}
	lua_pop(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->keeper);
	lua_insert(L, -2);
	lua_setfield(L, -2, field);
	lua_pop(L, 1);
	return true;
}

/* keeper.flows = flows.begin(script.flow, memory, size);
 * keeper.streams = streams.begin(script.stream, memory, size, keeper.flows) */
static int protected_follow(lua_State *L)
{
	struct follow *follow = lua_touserdata(L, 1);
	const struct vm *vm = follow->vm;

	follow->is_done = begin_of(L, vm, "ipq.engine.flows", "flow", "flows", follow->flows) &&
			  (!follow->streams || begin_of(L, vm, "ipq.engine.streams", "stream",
							"streams", follow->streams));
	return 0;
}

/* Calls that function of the engine's module with what it has begun, if it has: "flows" or "streams". */
static void call_begun(lua_State *L, const struct vm *vm, const char *what, const char *name)
{
	char module[32];

	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->keeper);
	lua_getfield(L, -1, what);
	lua_remove(L, -2);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return;
	}
	snprintf(module, sizeof(module), "ipq.engine.%s", what);
	vm_push_member(L, module, name);
	lua_insert(L, -2);
	lua_call(L, 1, 0);
}

static void forget_begun(lua_State *L, const struct vm *vm, const char *what)
{
	call_begun(L, vm, what, "close");
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->keeper);
	lua_pushnil(L);
	lua_setfield(L, -2, what);
	lua_pop(L, 1);
}

static int protected_unfollow(lua_State *L)
{
	struct vm *vm = lua_touserdata(L, 1);

	forget_begun(L, vm, "streams");
	forget_begun(L, vm, "flows");
	vm->driver->streams = NULL;
	vm->driver->flows = NULL;
	return 0;
}

static int protected_tell_flows(lua_State *L)
{
	call_begun(L, lua_touserdata(L, 1), "flows", "tell");
	return 0;
}

struct stop {
	struct vm *vm;
	const char *reason;
	bool ends_flows;
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

	if (stop->ends_flows) {
		call_begun(L, stop->vm, "streams", "exit");
		call_begun(L, stop->vm, "flows", "exit");
	}
	lua_pushstring(L, stop->reason);
	if (!call_script(L, stop->vm, "stop"))
		stop->result = VM_BAD;
	forget_begun(L, stop->vm, "streams");
	judge_held(L, stop->vm);
	flush_log(L);
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

struct vm *vm_new(void)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->observe = LUA_NOREF;
	vm->L = vm_state_new();
	if (vm->L && vm_protect(vm->L, protected_watch, vm))
		return vm;
	vm_free(vm);
	return NULL;
}

enum vm_result vm_load(struct vm *vm, const struct options *options, int queue_num,
		       struct ipq_counter *counters, struct ipq_counter *inherited)
{
	struct load load = {vm, options, queue_num, counters, inherited, VM_OK};

	return vm_protect(vm->L, protected_load, &load) ? load.result : VM_BAD;
}

void vm_inspect(struct vm *vm)
{
	(void)vm_protect(vm->L, protected_inspect, vm);
}

bool vm_share(struct vm *vm, uint8_t *memory, size_t size, uint32_t worker)
{
	struct share share = {memory, size, worker};

	return vm_protect(vm->L, protected_share, &share);
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

/* Whether the script has that, and says not false. */
static bool script_has(struct vm *vm, const char *name)
{
	bool has;

	lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->script);
	lua_getfield(vm->L, -1, name);
	has = lua_toboolean(vm->L, -1);
	lua_pop(vm->L, 2);
	return has;
}

bool vm_has_start(struct vm *vm)
{
	return script_has(vm, "start");
}

bool vm_takes_arp(struct vm *vm)
{
	return script_has(vm, "arp");
}

bool vm_sends(struct vm *vm)
{
	return script_has(vm, "send");
}

bool vm_edits(struct vm *vm)
{
	return script_has(vm, "edits");
}

bool vm_takes_sent(struct vm *vm)
{
	bool takes;

	lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->script);
	lua_getfield(vm->L, -1, "queue");
	lua_getfield(vm->L, -1, "sent");
	takes = lua_toboolean(vm->L, -1);
	lua_pop(vm->L, 3);
	return takes;
}

bool vm_is_private(struct vm *vm)
{
	return script_has(vm, "private");
}

bool vm_replay(struct vm *vm, enum vm_record record, enum output_stream events)
{
	struct replay replay = {vm, record, events};

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

/* The time of what runs between them is limited as a timer's is. */
static void begin_limited(struct vm *vm)
{
	/* What took too long is over. */
	lua_sethook(vm->L, NULL, 0, 0);
	vm->is_judging = true;
	vm->driver->batch->in_timer++;
}

static void end_limited(struct vm *vm)
{
	vm->driver->batch->in_timer++;
	vm->is_judging = false;
	lua_sethook(vm->L, NULL, 0, 0);
}

static bool call_limited(struct vm *vm, const char *name, lua_CFunction function, void *data)
{
	bool done;

	begin_limited(vm);
	done = lua_cpcall(vm->L, function, data) == 0;
	end_limited(vm);
	if (done)
		return true;
	log_write(LOG_LEVEL_ERROR, "%s: %s", name, lua_tostring(vm->L, -1));
	lua_pop(vm->L, 1);
	return false;
}

ssize_t vm_save(struct vm *vm, uint8_t *to, size_t size)
{
	struct save save = {vm, to, size, -1};

	(void)call_limited(vm, "save()", protected_save, &save);
	return save.len;
}

enum vm_result vm_restore(struct vm *vm, const uint8_t *from, size_t len)
{
	struct restore restore = {vm, from, len, VM_OK};

	return call_limited(vm, "restore()", protected_restore, &restore) ? restore.result : VM_BAD;
}

bool vm_follow(struct vm *vm, const struct vm_memory *flows, const struct vm_memory *streams)
{
	struct follow follow = {vm, flows, script_has(vm, "stream") ? streams : NULL, false};

	return !script_has(vm, "flow") ||
	       (vm_protect(vm->L, protected_follow, &follow) && follow.is_done);
}

void vm_tell_flows(struct vm *vm)
{
	(void)vm_protect(vm->L, protected_tell_flows, vm);
}

void vm_unfollow(struct vm *vm)
{
	(void)vm_protect(vm->L, protected_unfollow, vm);
}

enum vm_result vm_stop(struct vm *vm, const char *reason, bool ends_flows)
{
	struct stop stop = {vm, reason, ends_flows, VM_OK};

	return vm_protect(vm->L, protected_stop, &stop) ? stop.result : VM_BAD;
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
