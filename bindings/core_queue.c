/* A queue as a Lua object. */
#include "core_object.h"
#include "explain.h"
#include "lib/send/send.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/netfilter/nfnetlink_queue.h>

#define QUEUE "ipq.core.queue"

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

/* What its filters send goes out by raw sockets. */
static int sender_open(struct ipq_object *object, uint32_t range)
{
	struct ipq_raw *raw;
	int ret = ipq_outbox_new(&object->driver.outbox, object->driver.batch, IPQ_SENT_MARK);

	if (ret == 0)
		ret = ipq_raw_open(&raw, object->driver.outbox);
	if (ret == 0)
		ipq_own_range(object->driver.outbox->own, range);
	return ret;
}

static int fail_send(lua_State *L, int error)
{
	char text[128];

	snprintf(text, sizeof(text), "cannot open raw sockets, to send packets: %s%s",
		 strerror(-error), error == -EPERM ? "; it needs CAP_NET_RAW" : "");
	return ipq_object_fail(L, text, error == -EPERM ? "EPERM" : "EIO");
}

/* core.open(options) → queue | nil, message, code. Misuse raises. Options: queue_num, copy, range,
 * maxlen, rcvbuf, fail_open, gso, send, default and on_error (verdicts; with send those too that reject). */
int ipq_core_open(lua_State *L)
{
	struct ipq_queue_options options;
	struct ipq_object *object;
	struct ipq_queue *queue;
	int ret;

	luaL_checktype(L, 1, LUA_TTABLE);
	options_read(L, &options);
	object = ipq_object_new(L, QUEUE, sizeof(*object));
	ret = ipq_batch_new(&object->driver.batch, IPQ_BATCH_MAX, ipq_queue_slot_size(&options));
	if (ret < 0)
		return fail_open(L, &options, ret);
	ipq_option_verdicts(L, object->driver.batch);
	/* Before the queue: packets would wait in it for nobody where this fails. */
	if (ipq_option_bool(L, "send", false))
		ret = sender_open(object, options.copy_range);
	if (ret < 0)
		return fail_send(L, ret);
	ret = ipq_queue_open(&queue, &options);
	if (ret < 0)
		return fail_open(L, &options, ret);
	object->of = queue;
	object->driver.source = ipq_queue_source(queue);
	ipq_batch_limit_held(object->driver.batch, options.maxlen);
	return 1;
}

/* queue:stop() → true | nil, message, code */
static int queue_stop(lua_State *L)
{
	struct ipq_object *object = ipq_object_check(L, QUEUE);
	int ret = object->driver.source->stop(object->driver.source);

	if (ret < 0)
		return ipq_object_fail(L, strerror(-ret), "EIO");
	lua_pushboolean(L, 1);
	return 1;
}

void ipq_core_queue_class(lua_State *L)
{
	static const luaL_Reg methods[] = {{"driver", ipq_object_driver},
					   {"stop", queue_stop},
					   {"close", ipq_object_close},
					   {NULL, NULL}};

	ipq_object_class(L, QUEUE, methods, ipq_object_gc);
}
