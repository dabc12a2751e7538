/* A source of one packet at a time, which Lua lays into its batch by FFI, as a Lua object. */
#include "core_object.h"
#include "lib/send/send.h"

#define MEMORY "ipq.core.memory"

struct memory {
	struct ipq_object object;
	struct ipq_source source;
	bool is_offered;
};

/* The memory that a source is of. */
static struct memory *memory_of(struct ipq_source *source)
{
	return (struct memory *)((uint8_t *)source - offsetof(struct memory, source));
}

static int memory_receive(struct ipq_source *source, struct ipq_batch *batch)
{
	struct memory *memory = memory_of(source);

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
static int memory_commit_held(struct ipq_source *source, struct ipq_batch *batch,
			      struct ipq_packet *packet)
{
	(void)source;
	(void)batch;
	(void)packet;
	return 0;
}

/* core.memory() → memory | nil, message, code. Its driver's batch has one packet with a slot of
 * IPQ_PACKET_MAX bytes; what its filters send stays in its outbox. */
int ipq_core_memory(lua_State *L)
{
	struct memory *memory = ipq_object_new(L, MEMORY, sizeof(*memory));

	memory->source = (struct ipq_source){
		.receive = memory_receive,
		.commit = memory_commit,
		.commit_held = memory_commit_held,
	};
	memory->object.of = memory;
	memory->object.driver.source = &memory->source;
	if (ipq_batch_new(&memory->object.driver.batch, 1, IPQ_PACKET_MAX) < 0 ||
	    ipq_outbox_new(&memory->object.driver.outbox, memory->object.driver.batch,
			   IPQ_SENT_MARK) < 0)
		return ipq_object_fail(L, "not enough memory for a packet", "ENOMEM");
	return 1;
}

/* memory:offer(): the packet as it lies in the batch is the next one, and then the source ends. */
static int memory_offer(lua_State *L)
{
	struct memory *memory = luaL_checkudata(L, 1, MEMORY);

	memory->is_offered = true;
	return 0;
}

void ipq_core_memory_class(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"driver", ipq_object_driver}, {"offer", memory_offer}, {NULL, NULL}};

	ipq_object_class(L, MEMORY, methods, ipq_object_gc);
}
