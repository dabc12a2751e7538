#include "vm.h"
#include "host/base/base.h"
#include "bindings/core.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <lauxlib.h>
#include <lualib.h>

/* LuaJIT's own bounds are for short programs: when the 512 KiB of machine code are full, all of it
 * is thrown away in the middle of traffic. loopunroll counts tail calls, too: a script's own small
 * functions that end with a call are soon more than 15. A filter that makes a packet has more constants
 * (maxirconst, 500) in its trace than one that looks at it. */
static const char jit_settings[] =
	"require 'jit.opt'.start('maxmcode=16384', 'maxtrace=8000', "
	"'maxrecord=16000', 'maxirconst=4000', 'maxside=1000', 'maxsnap=2000', "
	"'loopunroll=60')";

static int log_sink(lua_State *L)
{
	enum log_level level = LOG_LEVEL_INFO;

	(void)log_level_find(luaL_checkstring(L, 1), &level);
	log_write(level, "%s", luaL_checkstring(L, 2));
	return 0;
}

/* Lines of several workers stay whole. */
static int event_sink(lua_State *L)
{
	size_t len;
	const char *line = luaL_checklstring(L, 1, &len);
	enum output_stream stream = (enum output_stream)lua_tointeger(L, lua_upvalueindex(1));

	output_line(stream, line, len);
	return 0;
}

void vm_events_to(lua_State *L, enum output_stream stream)
{
	vm_push_module(L, "ipq.event");
	lua_pushinteger(L, (lua_Integer)stream);
	lua_pushcclosure(L, event_sink, 1);
	lua_setfield(L, -2, "sink");
	lua_pop(L, 1);
}

void vm_describe(lua_State *L, const struct options *options, int queue_num)
{
	vm_push_member(L, "ipq.engine.setting", "set");
	lua_pushnumber(L, options->bypass_mark);
	lua_pushnumber(L, options->sent_mark);
	if (queue_num == VM_NO_QUEUE)
		lua_pushnil(L);
	else
		lua_pushinteger(L, queue_num);
	lua_pushinteger(L, queue_num == VM_NO_QUEUE ? 0 : queue_num - options->queue.queue_num);
	lua_call(L, 4, 0);
}

/* What is below the least level is not even made into text. */
static void log_prepare(lua_State *L)
{
	int least = LOG_LEVEL_DEBUG;

	while (!log_takes((enum log_level)least))
		least++;
	vm_push_module(L, "ipq.log");
	lua_pushcfunction(L, log_sink);
	lua_setfield(L, -2, "sink");
	lua_pushinteger(L, least);
	lua_setfield(L, -2, "least");
	lua_pop(L, 1);
}

/* The program's modules have a require of their own, so that a script's reaches but two of them:
 * the others are not made for misuse. What they have loaded is in its table (upvalue 1), and what
 * is no module of the program's is for Lua's (upvalue 2). */

static bool is_public(const char *name)
{
	return strcmp(name, "ipq") == 0 || strcmp(name, "ipq.test") == 0;
}

static const struct ipq_module *find_module(const char *name)
{
	const struct ipq_module *module = ipq_modules;

	while (module->name && strcmp(module->name, name) != 0)
		module++;
	return module->name ? module : NULL;
}

/* Keeps what is on top of the stack as the module of that name, true where it is nil. */
static int keep_module(lua_State *L)
{
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushboolean(L, true);
	}
	lua_pushvalue(L, 1);
	lua_pushvalue(L, -2);
	lua_rawset(L, lua_upvalueindex(1));
	return 1;
}

static int require_own(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	const struct ipq_module *module = find_module(name);

	lua_settop(L, 1);
	lua_pushvalue(L, 1);
	lua_rawget(L, lua_upvalueindex(1));
	if (!lua_isnil(L, -1))
		return 1;
	if (strcmp(name, "ipq.core") == 0) {
		luaopen_ipq_core(L);
		return keep_module(L);
	}
	if (!module) {
		lua_pushvalue(L, lua_upvalueindex(2));
		lua_pushvalue(L, 1);
		lua_call(L, 1, 1);
		return 1;
	}
	if (luaL_loadbuffer(L, module->begin, (size_t)(module->end - module->begin), module->chunk))
		return lua_error(L);
	lua_getfield(L, LUA_REGISTRYINDEX, "ipq.environment");
	lua_setfenv(L, -2);
	lua_pushvalue(L, 1);
	lua_call(L, 1, 1);
	return keep_module(L);
}

void vm_push_module(lua_State *L, const char *name)
{
	lua_getfield(L, LUA_REGISTRYINDEX, "ipq.require");
	lua_pushstring(L, name);
	lua_call(L, 1, 1);
}

static int load_public(lua_State *L)
{
	vm_push_module(L, luaL_checkstring(L, 1));
	return 1;
}

/* Not left to what is installed as files, which would find the program's own through the C half. */
static int refuse_inner(lua_State *L)
{
	return luaL_error(L, "%s is the program's own; a script has \"ipq\" and \"ipq.test\"",
			  luaL_checkstring(L, 1));
}

/* The environment of the program's modules: Lua's globals, but for require. */
static void prepare_modules(lua_State *L)
{
	lua_newtable(L);
	lua_getglobal(L, "require");
	lua_pushcclosure(L, require_own, 2);
	lua_pushvalue(L, -1);
	lua_setfield(L, LUA_REGISTRYINDEX, "ipq.require");
	lua_createtable(L, 0, 1);
	lua_insert(L, -2);
	lua_setfield(L, -2, "require");
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, LUA_GLOBALSINDEX);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, "ipq.environment");
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	for (const struct ipq_module *module = ipq_modules; module->name; module++) {
		lua_pushcfunction(L, is_public(module->name) ? load_public : refuse_inner);
		lua_setfield(L, -2, module->name);
	}
	lua_pushcfunction(L, refuse_inner);
	lua_setfield(L, -2, "ipq.core");
	lua_pop(L, 2);
}

static int protected_setup(lua_State *L)
{
	luaL_openlibs(L);
	prepare_modules(L);
	if (luaL_dostring(L, jit_settings))
		lua_error(L);
	log_prepare(L);
	vm_events_to(L, OUTPUT_OUT);
	return 0;
}

bool vm_protect(lua_State *L, lua_CFunction function, void *data)
{
	if (lua_cpcall(L, function, data) == 0)
		return true;
	log_write(LOG_LEVEL_ERROR, "Lua: %s", lua_tostring(L, -1));
	lua_pop(L, 1);
	return false;
}

lua_State *vm_state_new(void)
{
	lua_State *L = luaL_newstate();

	if (!L) {
		log_write(LOG_LEVEL_ERROR, "not enough memory for a Lua state");
		return NULL;
	}
	if (vm_protect(L, protected_setup, NULL))
		return L;
	lua_close(L);
	return NULL;
}

void vm_push_member(lua_State *L, const char *module, const char *name)
{
	vm_push_module(L, module);
	lua_getfield(L, -1, name);
	lua_remove(L, -2);
}

/* Without a command it asks whether there is a shell. With one, system() would give the status of a
 * command that was not found. */
static int refuse_execute(lua_State *L)
{
	if (!lua_isnoneornil(L, 1))
		return luaL_error(L, "os.execute: not permitted in the sandbox, see --no-sandbox");
	lua_pushinteger(L, 0);
	return 1;
}

static int refuse_popen(lua_State *L)
{
	lua_pushnil(L);
	lua_pushfstring(L, "%s: not permitted in the sandbox, see --no-sandbox",
			luaL_checkstring(L, 1));
	lua_pushinteger(L, EPERM);
	return 3;
}

static void replace(lua_State *L, const char *library, const char *name, lua_CFunction function)
{
	lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
	lua_getfield(L, -1, library);
	lua_pushcfunction(L, function);
	lua_setfield(L, -2, name);
	lua_pop(L, 2);
}

/* What the sandbox keeps a function from, it says as the C library does: which option would let it
 * is added. */
static int explain_writable(lua_State *L)
{
	bool reads =
		lua_toboolean(L, lua_upvalueindex(2)) && !strpbrk(luaL_optstring(L, 2, "r"), "wa+");
	int error;

	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	if (lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0) != 0) {
		luaL_where(L, 1);
		lua_insert(L, -2);
		lua_pushliteral(L, ", see --writable");
		lua_concat(L, 3);
		return lua_error(L);
	}
	error = (int)lua_tointeger(L, 3);
	if (lua_gettop(L) == 3 && lua_isnil(L, 1) && !reads &&
	    (error == EACCES || error == EPERM)) {
		lua_pushfstring(L, "%s, see --writable", lua_tostring(L, 2));
		lua_replace(L, 2);
	}
	return lua_gettop(L);
}

static void wrap(lua_State *L, const char *library, const char *name, bool has_mode)
{
	lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
	lua_getfield(L, -1, library);
	lua_getfield(L, -1, name);
	lua_pushboolean(L, has_mode);
	lua_pushcclosure(L, explain_writable, 2);
	lua_setfield(L, -2, name);
	lua_pop(L, 2);
}

void vm_state_confine(lua_State *L)
{
	vm_push_member(L, "ipq.core", "devices");
	ipq_devices_open(lua_touserdata(L, -1));
	lua_pop(L, 1);
	replace(L, "os", "execute", refuse_execute);
	replace(L, "io", "popen", refuse_popen);
	wrap(L, "io", "open", true);
	wrap(L, "io", "tmpfile", false);
	wrap(L, "os", "remove", false);
	wrap(L, "os", "rename", false);
	wrap(L, "os", "tmpname", false);
}
