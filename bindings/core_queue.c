/* A queue as a Lua object. */
#include "core_object.h"
#include "explain.h"

#include <string.h>
#include <linux/netfilter/nfnetlink_queue.h>

#define QUEUE "ipq.core.queue"

struct queue {
	struct ipq_queue *queue; /* NULL once closed */
	struct ipq_driver driver;
};

static struct queue *queue_check(lua_State *L)
{
	struct queue *queue = luaL_checkudata(L, 1, QUEUE);

	if (!queue->queue)
		luaL_error(L, "queue is closed");
	return queue;
}

static void options_read(lua_State *L, struct ipq_queue_options *options)
{
	ipq_queue_defaults(options);
	options->queue_num = (uint16_t)ipq_option_number(L, "queue_num", 0, UINT16_MAX);
	options->copy_mode = ipq_option_is_meta(L) ? NFQNL_COPY_META : NFQNL_COPY_PACKET;
	options->copy_range =
		(uint32_t)ipq_option_number(L, "range", options->copy_range, UINT32_MAX);
	options->maxlen = (uint32_t)ipq_option_number(L, "maxlen", options->maxlen, UINT32_MAX);
	options->rcvbuf = (uint32_t)ipq_option_number(L, "rcvbuf", 0, UINT32_MAX);
	if (ipq_option_bool(L, "fail_open", false))
		options->flags |= IPQ_QUEUE_FAIL_OPEN;
	if (!ipq_option_bool(L, "gso", true))
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

	return ipq_object_fail(L, text, code_of[cause]);
}

/* core.open(options) → queue | nil, message, code. Misuse raises. Options: queue_num, copy, range,
 * maxlen, rcvbuf, fail_open, gso, default and on_error (verdicts). */
int ipq_core_open(lua_State *L)
{
	struct ipq_queue_options options;
	uint32_t default_verdict, error_verdict;
	struct queue *queue;
	int ret;

	luaL_checktype(L, 1, LUA_TTABLE);
	options_read(L, &options);
	default_verdict = ipq_option_verdict(L, "default", IPQ_ACCEPT);
	error_verdict = ipq_option_verdict(L, "on_error", IPQ_DROP);

	queue = lua_newuserdata(L, sizeof(*queue));
	*queue = (struct queue){.driver.source = &ipq_object_no_source};
	luaL_getmetatable(L, QUEUE);
	lua_setmetatable(L, -2);
	ret = ipq_batch_new(&queue->driver.batch, IPQ_BATCH_MAX, ipq_queue_slot_size(&options));
	if (ret == 0)
		ret = ipq_queue_open(&queue->queue, &options);
	if (ret < 0)
		return fail_open(L, &options, ret);
	queue->driver.batch->default_verdict = default_verdict;
	queue->driver.batch->error_verdict = error_verdict;
	ipq_batch_limit_held(queue->driver.batch, options.maxlen);
	queue->driver.source = ipq_queue_source(queue->queue);
	return 1;
}

/* queue:driver() → its address, for FFI; good as long as the queue is open and referred to */
static int queue_driver(lua_State *L)
{
	lua_pushlightuserdata(L, &queue_check(L)->driver);
	return 1;
}

/* queue:stop() → true | nil, message, code */
static int queue_stop(lua_State *L)
{
	struct queue *queue = queue_check(L);
	struct ipq_source *source = ipq_queue_source(queue->queue);
	int ret = source->stop(source);

	if (ret < 0)
		return ipq_object_fail(L, strerror(-ret), "EIO");
	lua_pushboolean(L, 1);
	return 1;
}

/* queue:close(): a second time does nothing. A filter that runs may call it, so the batch stays. */
static int queue_close(lua_State *L)
{
	struct queue *queue = luaL_checkudata(L, 1, QUEUE);

	queue->driver.source = &ipq_object_no_source;
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

void ipq_core_queue_class(lua_State *L)
{
	static const luaL_Reg methods[] = {{"driver", queue_driver},
					   {"stop", queue_stop},
					   {"close", queue_close},
					   {NULL, NULL}};

	ipq_object_class(L, QUEUE, methods, queue_gc);
}
