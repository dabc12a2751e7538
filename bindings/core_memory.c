/* A source of one packet at a time, which Lua lays into its batch by FFI, as a Lua object. */
#include "core_object.h"

#define MEMORY "ipq.core.memory"

struct memory {
	struct ipq_source source;
	struct ipq_driver driver;
	bool is_offered;
};

static int memory_receive(struct ipq_source *source, struct ipq_batch *batch)
{
	struct memory *memory = (struct memory *)source;

	if (!memory->is_offered)
		return 0;
	memory->is_offered = false;
	ipq_batch_add(batch);
	return 1;
}

/* The packet stays where it is, with its verdict, for Lua to read. */
static int memory_commit(struct ipq_source *source, struct ipq_batch *batch)
{
	(void)source;
	(void)batch;
	return 0;
}

/* The held packet is a copy that Lua has. */
static int memory_settle(struct ipq_source *source, struct ipq_batch *batch,
			 struct ipq_packet *packet)
{
	(void)source;
	(void)batch;
	(void)packet;
	return 0;
}

/* core.memory() → memory | nil, message, code. Its driver's batch has one packet with a slot of
 * IPQ_PACKET_MAX bytes. */
int ipq_core_memory(lua_State *L)
{
	struct memory *memory = lua_newuserdata(L, sizeof(*memory));

	*memory = (struct memory){
		.source = {.receive = memory_receive,
			   .commit = memory_commit,
			   .settle = memory_settle},
	};
	memory->driver.source = &memory->source;
	luaL_getmetatable(L, MEMORY);
	lua_setmetatable(L, -2);
	if (ipq_batch_new(&memory->driver.batch, 1, IPQ_PACKET_MAX) < 0)
		return ipq_object_fail(L, "not enough memory for a packet", "ENOMEM");
	return 1;
}

/* memory:driver() → its address, for FFI; good as long as the memory is referred to */
static int memory_driver(lua_State *L)
{
	lua_pushlightuserdata(L, &((struct memory *)luaL_checkudata(L, 1, MEMORY))->driver);
	return 1;
}

/* memory:offer(): the packet as it lies in the batch is the next one, and then the source ends. */
static int memory_offer(lua_State *L)
{
	struct memory *memory = luaL_checkudata(L, 1, MEMORY);

	memory->is_offered = true;
	return 0;
}

static int memory_gc(lua_State *L)
{
	struct memory *memory = luaL_checkudata(L, 1, MEMORY);

	ipq_batch_free(memory->driver.batch);
	memory->driver.batch = NULL;
	return 0;
}

void ipq_core_memory_class(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"driver", memory_driver}, {"offer", memory_offer}, {NULL, NULL}};

	ipq_object_class(L, MEMORY, methods, memory_gc);
}
