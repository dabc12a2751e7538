/* The C module "ipq.core": makes sources of packets (core_*.c), and tells LuaJIT what lib has. */
#include "core.h"
#include "core_object.h"
#include "value.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

/* The bits of a pointer are a packet's handle: see ipq_abi.h. lib/libipq has none. */
_Static_assert(
	sizeof(void *) == sizeof(uint64_t),
	"ipq-lua needs a machine with pointers of 64 bits; on others there is libipq: make libipq");

#define DEVICES "ipq.core.devices"

/* The headers as they stand: what LuaJIT reads is what C was compiled from. abi.lua takes the lines
 * away that are the preprocessor's. */
__asm__(".pushsection .rodata\n"
	"ipq_abi_text:\n"
	".incbin \"lib/ipq_abi.h\"\n"
	".incbin \"lib/packet/packet.h\"\n"
	".incbin \"lib/netset/netset.h\"\n"
	".incbin \"lib/names/hello.h\"\n"
	".incbin \"lib/names/quic.h\"\n"
	".incbin \"lib/names/domainset.h\"\n"
	".incbin \"lib/names/dns.h\"\n"
	".incbin \"lib/names/http.h\"\n"
	".incbin \"lib/send/send.h\"\n"
	".incbin \"lib/flow/flow.h\"\n"
	".incbin \"lib/flow/shared.h\"\n"
	".incbin \"lib/stream/stream.h\"\n"
	".incbin \"lib/queue/queue.h\"\n"
	".incbin \"bindings/core_calls.h\"\n"
	".byte 0\n"
	".popsection\n");
extern const char ipq_abi_text[] __attribute__((visibility("hidden")));

/* core.strerror(errno) → the message and the code ("EINTR" or "EIO") of what a driver's loop gave
 */
static int core_strerror(lua_State *L)
{
	int error = (int)luaL_checkinteger(L, 1);

	lua_pushstring(L, strerror(abs(error)));
	lua_pushstring(L, abs(error) == EINTR ? "EINTR" : "EIO");
	return 2;
}

static int devices_gc(lua_State *L)
{
	ipq_devices_clear(luaL_checkudata(L, 1, DEVICES));
	return 0;
}

/* Pushes the address of a cache of interfaces, which lives as long as the Lua state. */
static void devices_push(lua_State *L)
{
	static const luaL_Reg none[] = {{NULL, NULL}};
	struct ipq_devices *devices = lua_newuserdata(L, sizeof(*devices));

	*devices = (struct ipq_devices){.fd = 0};
	ipq_object_class(L, DEVICES, none, devices_gc);
	luaL_getmetatable(L, DEVICES);
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, DEVICES ".anchor");
	lua_pushlightuserdata(L, devices);
}

/* Pushes the path of the shared object that this code is in, where LuaJIT finds the functions; nil
 * where this code is in the program itself. */
static void library_push(lua_State *L)
{
	Dl_info own, program;

	if (dladdr((void *)(uintptr_t)luaopen_ipq_core, &own) &&
	    dladdr((void *)getauxval(AT_ENTRY), &program) && own.dli_fbase != program.dli_fbase)
		lua_pushstring(L, own.dli_fname);
	else
		lua_pushnil(L);
}

static void core_push(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"open", ipq_core_open},     {"capture", ipq_core_capture},
		{"memory", ipq_core_memory}, {"strerror", core_strerror},
		{"value_copy", value_copy},  {NULL, NULL}};

	ipq_core_queue_class(L);
	ipq_core_capture_class(L);
	ipq_core_memory_class(L);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	lua_pushstring(L, ipq_abi_text);
	lua_setfield(L, -2, "abi");
	lua_pushliteral(L, IPQ_VERSION);
	lua_setfield(L, -2, "version");
	devices_push(L);
	lua_setfield(L, -2, "devices");
	ipq_core_json_push(L);
	lua_setfield(L, -2, "json");
	library_push(L);
	lua_setfield(L, -2, "library");
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
