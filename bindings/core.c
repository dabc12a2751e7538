/* The C module "ipq.core": opens queues, and hands LuaJIT the layouts and functions of lib. */
#include "core.h"
#include "explain.h"
#include "lib/ipq.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <lauxlib.h>
#include <linux/netfilter/nfnetlink_queue.h>

#define QUEUE "ipq.core.queue"
#define STATE "ipq.core.state"

/* lib/ipq_abi.h as it stands: what LuaJIT reads is what C was compiled from. */
__asm__(".pushsection .rodata\nipq_abi_text: .incbin \"lib/ipq_abi.h\"\n.byte 0\n.popsection\n");
extern const char ipq_abi_text[] __attribute__((visibility("hidden")));

/* One per Lua state. */
struct state {
	struct ipq_calls calls;
	struct ipq_devices devices;
};

struct queue {
	struct ipq_queue *queue; /* NULL once closed */
	struct ipq_driver driver;
};

/* What a driver has left when its queue is closed: the end. */
static int closed(struct ipq_source *source, struct ipq_batch *batch)
{
	(void)source;
	(void)batch;
	return 0;
}

static struct ipq_source closed_source = {.receive = closed, .commit = closed};

static int fail(lua_State *L, const char *message, const char *code)
{
	lua_pushnil(L);
	lua_pushstring(L, message);
	lua_pushstring(L, code);
	return 3;
}

static struct queue *queue_check(lua_State *L)
{
	struct queue *queue = luaL_checkudata(L, 1, QUEUE);

	if (!queue->queue)
		luaL_error(L, "queue is closed");
	return queue;
}

static lua_Number option_number(lua_State *L, const char *name, lua_Number otherwise,
				lua_Number max)
{
	lua_Number value;

	lua_getfield(L, 1, name);
	if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TNUMBER)
		luaL_error(L, "option %s must be a number", name);
	value = lua_isnil(L, -1) ? otherwise : lua_tonumber(L, -1);
	if (!(value >= 0 && value <= max))
		luaL_error(L, "option %s must be from 0 to %f", name, max);
	lua_pop(L, 1);
	return value;
}

static bool option_bool(lua_State *L, const char *name, bool otherwise)
{
	bool value;

	lua_getfield(L, 1, name);
	value = lua_isnil(L, -1) ? otherwise : lua_toboolean(L, -1);
	lua_pop(L, 1);
	return value;
}

static uint32_t option_verdict(lua_State *L, const char *name, uint32_t otherwise)
{
	uint32_t verdict = (uint32_t)option_number(L, name, otherwise, UINT32_MAX);

	if (!ipq_verdict_valid(verdict))
		luaL_error(L, "option %s is no verdict", name);
	return verdict;
}

static void options_read(lua_State *L, struct ipq_queue_options *options)
{
	static const char *const modes[] = {"packet", "meta", NULL};
	static const uint8_t mode_of[] = {NFQNL_COPY_PACKET, NFQNL_COPY_META};

	ipq_queue_defaults(options);
	options->queue_num = (uint16_t)option_number(L, "queue_num", 0, UINT16_MAX);
	lua_getfield(L, 1, "copy");
	options->copy_mode = mode_of[luaL_checkoption(L, -1, "packet", modes)];
	lua_pop(L, 1);
	options->copy_range = (uint32_t)option_number(L, "range", options->copy_range, UINT32_MAX);
	options->maxlen = (uint32_t)option_number(L, "maxlen", options->maxlen, UINT32_MAX);
	options->rcvbuf = (uint32_t)option_number(L, "rcvbuf", 0, UINT32_MAX);
	if (option_bool(L, "fail_open", false))
		options->flags |= IPQ_QUEUE_FAIL_OPEN;
	if (!option_bool(L, "gso", true))
		options->flags &= ~(uint32_t)IPQ_QUEUE_GSO;
}

static int fail_open(lua_State *L, const struct ipq_queue_options *options, int error)
{
	static const char *const code_of[] = {
		[IPQ_CAUSE_PERMISSION] = "EPERM", [IPQ_CAUSE_TAKEN] = "EBUSY",
		[IPQ_CAUSE_KERNEL] = "ENOTSUP",	  [IPQ_CAUSE_OPTION] = "ERANGE",
		[IPQ_CAUSE_SYSTEM] = "EIO",
	};
	char text[512];
	enum ipq_cause cause = ipq_explain_open(text, sizeof(text), options, error);

	return fail(L, text, code_of[cause]);
}

/* core.open(options) → queue | nil, message, code. Misuse raises. Options: queue_num, copy, range,
 * maxlen, rcvbuf, fail_open, gso, default and on_error (verdicts). */
static int core_open(lua_State *L)
{
	struct ipq_queue_options options;
	uint32_t default_verdict, error_verdict;
	struct queue *queue;
	int ret;

	luaL_checktype(L, 1, LUA_TTABLE);
	options_read(L, &options);
	default_verdict = option_verdict(L, "default", IPQ_ACCEPT);
	error_verdict = option_verdict(L, "on_error", IPQ_DROP);

	queue = lua_newuserdata(L, sizeof(*queue));
	*queue = (struct queue){.driver.source = &closed_source};
	luaL_getmetatable(L, QUEUE);
	lua_setmetatable(L, -2);
	ret = ipq_batch_new(&queue->driver.batch, IPQ_BATCH_MAX, ipq_queue_slot_size(&options));
	if (ret == 0)
		ret = ipq_queue_open(&queue->queue, &options);
	if (ret < 0)
		return fail_open(L, &options, ret);
	queue->driver.batch->default_verdict = default_verdict;
	queue->driver.batch->error_verdict = error_verdict;
	queue->driver.source = ipq_queue_source(queue->queue);
	return 1;
}

/* queue:driver() → its address, for FFI; good as long as the queue is open and referred to */
static int queue_driver(lua_State *L)
{
	lua_pushlightuserdata(L, &queue_check(L)->driver);
	return 1;
}

/* core.strerror(errno) → the message and the code ("EINTR" or "EIO") of what a driver's loop gave
 */
static int core_strerror(lua_State *L)
{
	int error = (int)luaL_checkinteger(L, 1);

	lua_pushstring(L, strerror(abs(error)));
	lua_pushstring(L, abs(error) == EINTR ? "EINTR" : "EIO");
	return 2;
}

/* queue:stop() → true | nil, message, code */
static int queue_stop(lua_State *L)
{
	struct queue *queue = queue_check(L);
	struct ipq_source *source = ipq_queue_source(queue->queue);
	int ret = source->stop(source);

	if (ret < 0)
		return fail(L, strerror(-ret), "EIO");
	lua_pushboolean(L, 1);
	return 1;
}

/* queue:close(): a second time does nothing. A filter that runs may call it, so the batch stays. */
static int queue_close(lua_State *L)
{
	struct queue *queue = luaL_checkudata(L, 1, QUEUE);

	queue->driver.source = &closed_source;
	ipq_queue_close(queue->queue);
	queue->queue = NULL;
	return 0;
}

static int queue_gc(lua_State *L)
{
	struct queue *queue = luaL_checkudata(L, 1, QUEUE);

	queue_close(L);
	ipq_batch_free(queue->driver.batch);
	queue->driver.batch = NULL;
	return 0;
}

static int state_gc(lua_State *L)
{
	struct state *state = luaL_checkudata(L, 1, STATE);

	ipq_devices_clear(&state->devices);
	return 0;
}

static void class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
	luaL_newmetatable(L, name);
	lua_pushcfunction(L, gc);
	lua_setfield(L, -2, "__gc");
	lua_newtable(L);
	luaL_register(L, NULL, methods);
	lua_setfield(L, -2, "__index");
	/* Out of a script's reach, which could call __gc by hand. */
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
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
			  .conntrack_parse = ipq_conntrack_parse,
			  .device_get = ipq_device_get,
			  .devices = &state->devices,
			  .now = now,
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
	static const luaL_Reg functions[] = {
		{"open", core_open}, {"strerror", core_strerror}, {NULL, NULL}};
	static const luaL_Reg methods[] = {{"driver", queue_driver},
					   {"stop", queue_stop},
					   {"close", queue_close},
					   {NULL, NULL}};
	static const luaL_Reg none[] = {{NULL, NULL}};

	class(L, QUEUE, methods, queue_gc);
	class(L, STATE, none, state_gc);
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
