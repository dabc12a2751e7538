/* The C module "ipq.core": makes sources of packets (core_*.c), and hands LuaJIT the layouts and
 * functions of lib. */
#include "core.h"
#include "core_object.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STATE "ipq.core.state"

/* lib/ipq_abi.h as it stands: what LuaJIT reads is what C was compiled from. */
__asm__(".pushsection .rodata\nipq_abi_text: .incbin \"lib/ipq_abi.h\"\n.byte 0\n.popsection\n");
extern const char ipq_abi_text[] __attribute__((visibility("hidden")));

/* One per Lua state. */
struct state {
	struct ipq_calls calls;
	struct ipq_devices devices;
};

/* core.strerror(errno) → the message and the code ("EINTR" or "EIO") of what a driver's loop gave
 */
static int core_strerror(lua_State *L)
{
	int error = (int)luaL_checkinteger(L, 1);

	lua_pushstring(L, strerror(abs(error)));
	lua_pushstring(L, abs(error) == EINTR ? "EINTR" : "EIO");
	return 2;
}

static int state_gc(lua_State *L)
{
	struct state *state = luaL_checkudata(L, 1, STATE);

	ipq_devices_clear(&state->devices);
	return 0;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double monotonic(void)
{
	/* NOLINTNEXTLINE(bugprone-integer-division): whole microseconds */
	return (double)(ipq_monotonic_ns() / 1000);
}

static int find(const uint8_t *haystack, uint32_t haystack_len, const char *needle,
		uint32_t needle_len)
{
	const uint8_t *found = memmem(haystack, haystack_len, needle, needle_len);

	return found ? (int)(found - haystack) : -1;
}

static void state_push(lua_State *L)
{
	struct state *state = lua_newuserdata(L, sizeof(*state));

	*state = (struct state){
		.calls = {.driver_next = ipq_driver_next,
			  .driver_hold = ipq_driver_hold,
			  .driver_release = ipq_driver_release,
			  .driver_settle = ipq_driver_settle,
			  .conntrack_parse = ipq_conntrack_parse,
			  .device_get = ipq_device_get,
			  .devices = &state->devices,
			  .now = now,
			  .monotonic = monotonic,
			  .find = find,
			  .memcmp = memcmp,
			  .header_parse = ipq_header_parse,
			  .rewrite_store = ipq_rewrite_store,
			  .rewrite_replace = ipq_rewrite_replace,
			  .rewrite_set = ipq_rewrite_set,
			  .rewrite_finish = ipq_rewrite_finish,
			  .rewrite_strerror = ipq_rewrite_strerror,
			  .inet_ntop = inet_ntop,
			  .address_parse = ipq_address_parse,
			  .netset_new = ipq_netset_new,
			  .netset_free = ipq_netset_free,
			  .netset_add_text = ipq_netset_add_text,
			  .netset_load = ipq_netset_load,
			  .netset_finish = ipq_netset_finish,
			  .netset_has = ipq_netset_has,
			  .netset_has_saddr = ipq_netset_has_saddr,
			  .netset_has_daddr = ipq_netset_has_daddr,
			  .netset_count = ipq_netset_count,
			  .netset_strerror = ipq_netset_strerror},
	};
	luaL_getmetatable(L, STATE);
	lua_setmetatable(L, -2);
}

static void core_push(lua_State *L)
{
	static const luaL_Reg functions[] = {{"open", ipq_core_open},
					     {"capture", ipq_core_capture},
					     {"memory", ipq_core_memory},
					     {"strerror", core_strerror},
					     {NULL, NULL}};
	static const luaL_Reg none[] = {{NULL, NULL}};

	ipq_core_queue_class(L);
	ipq_core_capture_class(L);
	ipq_core_memory_class(L);
	ipq_object_class(L, STATE, none, state_gc);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	lua_pushstring(L, ipq_abi_text);
	lua_setfield(L, -2, "abi");
	lua_pushliteral(L, IPQ_VERSION);
	lua_setfield(L, -2, "version");
	state_push(L);
	lua_pushlightuserdata(L, &((struct state *)lua_touserdata(L, -1))->calls);
	lua_setfield(L, -3, "calls");
	lua_setfield(L, LUA_REGISTRYINDEX, STATE ".anchor");
}

/* The same table each time: busted loads modules anew for every spec file, but FFI declarations and
 * metatypes last as long as the Lua state, and what made them is kept in this table. */
int luaopen_ipq_core(lua_State *L)
{
	lua_getfield(L, LUA_REGISTRYINDEX, "ipq.core");
	if (!lua_isnil(L, -1))
		return 1;
	core_push(L);
	lua_pushvalue(L, -1);
	lua_setfield(L, LUA_REGISTRYINDEX, "ipq.core");
	return 1;
}
