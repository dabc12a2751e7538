/* A capture file as a Lua object. */
#include "core_object.h"
#include "bindings/capture/capture.h"

#include <string.h>

#define CAPTURE "ipq.core.capture"

struct capture {
	struct ipq_capture *capture; /* NULL once closed */
	struct ipq_driver driver;
};

static struct capture *capture_check(lua_State *L)
{
	struct capture *capture = luaL_checkudata(L, 1, CAPTURE);

	if (!capture->capture)
		luaL_error(L, "capture is closed");
	return capture;
}

static void options_read(lua_State *L, struct ipq_capture_options *options)
{
	*options = (struct ipq_capture_options){
		.read = ipq_option_string(L, "read"),
		.write = ipq_option_string(L, "write"),
		.filter = ipq_option_string(L, "filter"),
		.is_meta = ipq_option_is_meta(L),
		.copy_range =
			(uint32_t)ipq_option_number(L, "range", IPQ_PACKET_MAX, IPQ_PACKET_MAX),
	};
	if (!options->read)
		luaL_error(L, "option read is missing: the capture's file name");
}

static int fail_open(lua_State *L, enum ipq_capture_fault fault, const char *text)
{
	static const char *const code_of[] = {
		[IPQ_CAPTURE_NO_FILE] = "ENOENT",
		[IPQ_CAPTURE_BAD_FILE] = "EBAD",
		[IPQ_CAPTURE_BAD_FILTER] = "EINVAL",
		[IPQ_CAPTURE_NO_OUTPUT] = "EIO",
	};

	return ipq_object_fail(L, text, code_of[fault]);
}

/* core.capture(options) → capture | nil, message, code. Misuse raises. Options: read, write and
 * filter (struct ipq_capture_options), copy, range, default and on_error (verdicts). */
int ipq_core_capture(lua_State *L)
{
	struct ipq_capture_options options;
	char text[IPQ_CAPTURE_TEXT];
	uint32_t default_verdict, error_verdict;
	struct capture *capture;
	enum ipq_capture_fault fault;

	luaL_checktype(L, 1, LUA_TTABLE);
	options_read(L, &options);
	default_verdict = ipq_option_verdict(L, "default", IPQ_ACCEPT);
	error_verdict = ipq_option_verdict(L, "on_error", IPQ_DROP);

	capture = lua_newuserdata(L, sizeof(*capture));
	*capture = (struct capture){.driver.source = &ipq_object_no_source};
	luaL_getmetatable(L, CAPTURE);
	lua_setmetatable(L, -2);
	fault = ipq_capture_open(&capture->capture, &options, text);
	if (fault != IPQ_CAPTURE_OK)
		return fail_open(L, fault, text);
	if (ipq_batch_new(&capture->driver.batch, IPQ_BATCH_MAX,
			  ipq_capture_slot_size(capture->capture)) < 0)
		return ipq_object_fail(L, "not enough memory for a batch", "ENOMEM");
	capture->driver.batch->default_verdict = default_verdict;
	capture->driver.batch->error_verdict = error_verdict;
	capture->driver.source = ipq_capture_source(capture->capture);
	return 1;
}

/* capture:driver() → its address, for FFI; good as long as the capture is open and referred to */
static int capture_driver(lua_State *L)
{
	lua_pushlightuserdata(L, &capture_check(L)->driver);
	return 1;
}

/* capture:counters() → { frames, unjudged, changed, written } */
static int capture_counters(lua_State *L)
{
	const struct ipq_capture_counters *counters =
		ipq_capture_counters(capture_check(L)->capture);

	lua_newtable(L);
	lua_pushnumber(L, (lua_Number)counters->frames);
	lua_setfield(L, -2, "frames");
	lua_pushnumber(L, (lua_Number)counters->unjudged);
	lua_setfield(L, -2, "unjudged");
	lua_pushnumber(L, (lua_Number)counters->changed);
	lua_setfield(L, -2, "changed");
	lua_pushnumber(L, (lua_Number)counters->written);
	lua_setfield(L, -2, "written");
	return 1;
}

/* capture:finish() → nil, or what is wrong with the files. Writes what is still in memory. */
static int capture_finish(lua_State *L)
{
	struct capture *capture = capture_check(L);

	ipq_capture_flush(capture->capture);
	lua_pushstring(L, ipq_capture_damage(capture->capture));
	return 1;
}

/* capture:close(): a second time does nothing. A filter that runs may call it, so the batch stays.
 */
static int capture_close(lua_State *L)
{
	struct capture *capture = luaL_checkudata(L, 1, CAPTURE);

	capture->driver.source = &ipq_object_no_source;
	ipq_capture_close(capture->capture);
	capture->capture = NULL;
	return 0;
}

static int capture_gc(lua_State *L)
{
	struct capture *capture = luaL_checkudata(L, 1, CAPTURE);

	capture_close(L);
	ipq_batch_free(capture->driver.batch);
	capture->driver.batch = NULL;
	return 0;
}

void ipq_core_capture_class(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"driver", capture_driver},
		{"counters", capture_counters},
		{"finish", capture_finish},
		{"close", capture_close},
		{NULL, NULL},
	};

	ipq_object_class(L, CAPTURE, methods, capture_gc);
}
