#include "core_object.h"
#include "lib/send/send.h"

#include <string.h>

void ipq_object_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
	luaL_newmetatable(L, name);
	lua_pushstring(L, name);
	lua_pushcclosure(L, gc, 1);
	lua_setfield(L, -2, "__gc");
	lua_newtable(L);
	lua_pushstring(L, name);
	luaL_openlib(L, NULL, methods, 1);
	lua_setfield(L, -2, "__index");
	/* Out of a script's reach, which could call __gc by hand. */
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}

static int ended(struct ipq_source *source, struct ipq_batch *batch)
{
	(void)source;
	(void)batch;
	return 0;
}

static int nowhere(struct ipq_source *source, struct ipq_batch *batch, struct ipq_packet *packet)
{
	(void)source;
	(void)batch;
	(void)packet;
	return 0;
}

/* What a driver is left with when its own source is closed. */
static struct ipq_source no_source = {.receive = ended, .commit = ended, .commit_held = nowhere};

void *ipq_object_new(lua_State *L, const char *name, size_t size)
{
	struct ipq_object *object = lua_newuserdata(L, size);

	memset(object, 0, size);
	object->driver.source = &no_source;
	luaL_getmetatable(L, name);
	lua_setmetatable(L, -2);
	return object;
}

void *ipq_object_check(lua_State *L, const char *name)
{
	struct ipq_object *object = luaL_checkudata(L, 1, name);

	if (!object->of)
		luaL_error(L, "%s is closed", strrchr(name, '.') + 1);
	return object;
}

/* The class of the method that runs. */
static const char *class_name(lua_State *L)
{
	return lua_tostring(L, lua_upvalueindex(1));
}

int ipq_object_driver(lua_State *L)
{
	struct ipq_object *object = ipq_object_check(L, class_name(L));

	lua_pushlightuserdata(L, &object->driver);
	return 1;
}

int ipq_object_close(lua_State *L)
{
	struct ipq_object *object = luaL_checkudata(L, 1, class_name(L));
	struct ipq_source *source = object->driver.source;

	object->driver.source = &no_source;
	object->of = NULL;
	if (source->close)
		source->close(source);
	return 0;
}

int ipq_object_gc(lua_State *L)
{
	struct ipq_object *object = luaL_checkudata(L, 1, class_name(L));

	ipq_object_close(L);
	if (object->driver.outbox)
		ipq_raw_close(object->driver.outbox->way);
	ipq_outbox_free(object->driver.outbox);
	object->driver.outbox = NULL;
	ipq_batch_free(object->driver.batch);
	object->driver.batch = NULL;
	return 0;
}

int ipq_object_fail(lua_State *L, const char *message, const char *code)
{
	lua_pushnil(L);
	lua_pushstring(L, message);
	lua_pushstring(L, code);
	return 3;
}

/* Raises, without a position: the Lua code that called has the caller's. */
static void misused(lua_State *L, const char *name, const char *allowed)
{
	lua_pushfstring(L, "option %s must be %s", name, allowed);
	lua_error(L);
}

lua_Number ipq_option_number(lua_State *L, const char *name, lua_Number otherwise, lua_Number max)
{
	lua_Number value;

	lua_getfield(L, 1, name);
	if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TNUMBER)
		misused(L, name, "a number");
	value = lua_isnil(L, -1) ? otherwise : lua_tonumber(L, -1);
	if (!(value >= 0 && value <= max))
		misused(L, name, lua_pushfstring(L, "from 0 to %f", max));
	lua_pop(L, 1);
	return value;
}

bool ipq_option_bool(lua_State *L, const char *name, bool otherwise)
{
	bool value;

	lua_getfield(L, 1, name);
	value = lua_isnil(L, -1) ? otherwise : lua_toboolean(L, -1);
	lua_pop(L, 1);
	return value;
}

static void read_verdict(lua_State *L, const char *name, uint32_t *verdict, uint32_t *reject)
{
	uint32_t number = (uint32_t)ipq_option_number(L, name, *verdict, UINT32_MAX);

	if (ipq_verdict_read(number, verdict, reject) < 0)
		misused(L, name, "a verdict, as ipq.ACCEPT is");
	if (*reject && !ipq_option_bool(L, "send", false)) {
		lua_pushfstring(L, "option %s rejects packets, which needs the option send = true",
				name);
		lua_error(L);
	}
}

void ipq_option_verdicts(lua_State *L, struct ipq_batch *batch)
{
	read_verdict(L, "default", &batch->default_verdict, &batch->default_reject);
	read_verdict(L, "on_error", &batch->error_verdict, &batch->error_reject);
}

const char *ipq_option_string(lua_State *L, const char *name)
{
	const char *value;

	lua_getfield(L, 1, name);
	if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
		misused(L, name, "a string");
	value = lua_tostring(L, -1);
	lua_pop(L, 1);
	return value;
}

bool ipq_option_is_meta(lua_State *L)
{
	const char *mode = ipq_option_string(L, "copy");

	if (mode && strcmp(mode, "packet") != 0 && strcmp(mode, "meta") != 0)
		misused(L, "copy", "\"packet\" or \"meta\"");
	return mode && strcmp(mode, "meta") == 0;
}
