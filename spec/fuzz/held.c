/* Packets that are held, and timers: see held.lua. What it judges comes from here, and here it is
 * seen that each packet gets one verdict. */
#define FUZZ_SCRIPT "spec/fuzz/held.lua"
#define FUZZ_OPEN   feed_open
#include <lua.h>
static void feed_open(lua_State *L);
#include "script.h"

enum { FRAMES_MAX = 64, SLOT_SIZE = 512, BATCH_SIZE = 4, L2HDR_SIZE = 8 };

struct frame {
	uint8_t bytes[SLOT_SIZE];
	size_t len;
	uint64_t us;
	uint8_t *l2hdr; /* as long as its batch */
	uint32_t verdicts;
	uint32_t verdict; /* and what the packet was then */
	uint32_t set;
	uint8_t *data;
	size_t data_len;
};

/* Frames in segments, behind each of which the source ends, and goes on when it is asked again. */
struct feed {
	struct ipq_source source;
	struct ipq_driver driver;
	struct frame frames[FRAMES_MAX];
	uint32_t first_id;
	uint32_t count, next, stop;
	uint32_t batch_size;
	uint32_t kept; /* verdicts of held packets that wait for flush() */
};

static struct frame *frame_of(struct feed *feed, const struct ipq_packet *packet)
{
	uint32_t index = packet->packet_id - feed->first_id;

	CHECK(index < feed->next);
	return &feed->frames[index];
}

static int feed_receive(struct ipq_source *source, struct ipq_batch *batch)
{
	struct feed *feed = (struct feed *)source;

	CHECK(batch->count == 0 && feed->kept == 0);
	while (batch->count < feed->batch_size && feed->next < feed->stop) {
		struct frame *frame = &feed->frames[feed->next];
		uint8_t *slot = batch->slots + (size_t)batch->count * batch->slot_size;
		uint8_t *spare = batch->packets[batch->count].spare;
		struct ipq_packet *packet;

		batch->packets[batch->count] = (struct ipq_packet){.spare = spare};
		packet = ipq_batch_add(batch);
		memcpy(slot, frame->bytes, frame->len);
		packet->data = slot;
		packet->data_len = (uint32_t)frame->len;
		packet->len = (uint32_t)frame->len;
		packet->packet_id = feed->first_id + feed->next++;
		packet->family = 2;
		packet->hw_protocol = 0x800;
		packet->timestamp_sec = frame->us / 1000000;
		packet->timestamp_usec = frame->us % 1000000;
		frame->l2hdr = calloc(1, L2HDR_SIZE);
		packet->l2hdr = frame->l2hdr;
		packet->l2hdr_len = L2HDR_SIZE;
		packet->present =
			IPQ_HAS_PACKET_HDR | IPQ_HAS_PAYLOAD | IPQ_HAS_TIMESTAMP | IPQ_HAS_L2HDR;
	}
	return (int)batch->count;
}

static void take_verdict(struct frame *frame, const struct ipq_packet *packet)
{
	CHECK(frame->verdicts++ == 0);
	frame->verdict = packet->verdict;
	frame->set = packet->set;
	frame->data = own(packet->data, packet->data_len);
	frame->data_len = packet->data_len;
}

/* What is left of the batch is not what it was. */
static int feed_commit(struct ipq_source *source, struct ipq_batch *batch)
{
	struct feed *feed = (struct feed *)source;

	CHECK(batch->current == batch->count && feed->kept == 0);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct frame *frame = frame_of(feed, &batch->packets[i]);

		if (!batch->packets[i].held)
			take_verdict(frame, &batch->packets[i]);
		free(frame->l2hdr);
		frame->l2hdr = NULL;
	}
	memset(batch->slots, 0xee, (size_t)batch->capacity * batch->slot_size);
	return 0;
}

static int feed_commit_held(struct ipq_source *source, struct ipq_batch *batch,
			    struct ipq_packet *packet)
{
	struct feed *feed = (struct feed *)source;

	CHECK(!packet->l2hdr && !(packet->present & IPQ_HAS_L2HDR));
	CHECK(batch->held[packet->packet_id % IPQ_HELD_MAX] == (uint64_t)packet->packet_id + 1);
	take_verdict(frame_of(feed, packet), packet);
	feed->kept += source->flush != NULL;
	return 0;
}

static int feed_flush(struct ipq_source *source)
{
	struct feed *feed = (struct feed *)source;

	CHECK(feed->kept > 0 && feed->kept == feed->driver.kept_count);
	feed->kept = 0;
	return 0;
}

static struct feed *feed_of(lua_State *L)
{
	return lua_touserdata(L, lua_upvalueindex(1));
}

/* reset(first_id, batch_size, held_limit): there are no frames. With an odd id verdicts of held
 * packets are kept, to be sent together. */
static int feed_reset(lua_State *L)
{
	struct feed *feed = feed_of(L);
	struct ipq_batch *batch = feed->driver.batch;

	CHECK(batch->held_count == 0 && batch->count == 0);
	for (uint32_t i = 0; i < feed->count; i++)
		free(feed->frames[i].data);
	memset(feed->frames, 0, sizeof(feed->frames));
	feed->count = feed->next = feed->stop = 0;
	feed->first_id = (uint32_t)lua_tonumber(L, 1);
	feed->batch_size = (uint32_t)lua_tonumber(L, 2);
	feed->driver.interrupt = 0;
	feed->source.flush = feed->first_id & 1 ? feed_flush : NULL;
	CHECK(feed->batch_size >= 1 && feed->batch_size <= BATCH_SIZE);
	batch->default_verdict = IPQ_ACCEPT;
	batch->error_verdict = IPQ_DROP;
	ipq_batch_limit_held(batch, 2 * (uint32_t)lua_tonumber(L, 3));
	return 0;
}

/* give(bytes, us) */
static int feed_give(lua_State *L)
{
	struct feed *feed = feed_of(L);
	struct frame *frame = &feed->frames[feed->count];
	const char *bytes = lua_tolstring(L, 1, &frame->len);

	CHECK(feed->count < FRAMES_MAX && frame->len <= SLOT_SIZE);
	memcpy(frame->bytes, bytes, frame->len);
	frame->us = (uint64_t)lua_tonumber(L, 2);
	feed->count++;
	return 0;
}

/* stop_at(count): the segment ends behind so many frames. */
static int feed_stop_at(lua_State *L)
{
	feed_of(L)->stop = (uint32_t)lua_tonumber(L, 1);
	CHECK(feed_of(L)->stop <= feed_of(L)->count);
	return 0;
}

/* interrupt(is_on), as a signal does */
static int feed_interrupt(lua_State *L)
{
	feed_of(L)->driver.interrupt = lua_toboolean(L, 1);
	return 0;
}

/* held() → how many packets are that have no verdict */
static int feed_held(lua_State *L)
{
	const struct feed *feed = feed_of(L);

	lua_pushnumber(L, feed->driver.batch->held_count - feed->driver.kept_count);
	return 1;
}

/* outcome(index) → verdict, set, bytes; every frame has one. */
static int feed_outcome(lua_State *L)
{
	const struct frame *frame = &feed_of(L)->frames[(uint32_t)lua_tonumber(L, 1)];

	CHECK(frame->verdicts == 1);
	lua_pushnumber(L, frame->verdict);
	lua_pushnumber(L, frame->set);
	lua_pushlstring(L, (const char *)frame->data, frame->data_len);
	return 3;
}

static int feed_driver(lua_State *L)
{
	lua_pushlightuserdata(L, &feed_of(L)->driver);
	return 1;
}

static void feed_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"reset", feed_reset},	       {"give", feed_give}, {"stop_at", feed_stop_at},
		{"interrupt", feed_interrupt}, {"held", feed_held}, {"outcome", feed_outcome},
		{"driver", feed_driver},       {NULL, NULL}};
	struct feed *feed = calloc(1, sizeof(*feed));

	CHECK(feed);
	feed->source = (struct ipq_source){
		.receive = feed_receive, .commit = feed_commit, .commit_held = feed_commit_held};
	feed->driver.source = &feed->source;
	CHECK(ipq_batch_new(&feed->driver.batch, BATCH_SIZE, SLOT_SIZE) == 0);
	lua_newtable(L);
	for (const luaL_Reg *function = functions; function->name; function++) {
		lua_pushlightuserdata(L, feed);
		lua_pushcclosure(L, function->func, 1);
		lua_setfield(L, -2, function->name);
	}
	lua_setglobal(L, "feed");
}
