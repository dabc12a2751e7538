/* A capture file as a Lua object. */
#include "core_object.h"
#include "bindings/capture/capture.h"

#define CAPTURE "ipq.core.capture"

struct capture_object {
	struct ipq_object object;
	const char *read; /* the name of the one file */
};

static void options_read(lua_State *L, struct ipq_capture_options *options,
			 struct capture_object *object)
{
	object->read = ipq_option_string(L, "read");
	*options = (struct ipq_capture_options){
		.read = &object->read,
		.read_count = 1,
		.write = ipq_option_string(L, "write"),
		.write_dropped = ipq_option_string(L, "write_dropped"),
		.filter = ipq_option_string(L, "filter"),
		.is_meta = ipq_option_is_meta(L),
		.copy_range =
			(uint32_t)ipq_option_number(L, "range", IPQ_PACKET_MAX, IPQ_PACKET_MAX),
		.takes_arp = ipq_option_bool(L, "arp", false),
		.drops_other = ipq_option_bool(L, "drop_other", false),
		.mends = ipq_option_bool(L, "fix_checksums", false),
	};
	if (!object->read)
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

/* core.capture(options) → capture | nil, message, code. Misuse raises. Options: read, write,
 * write_dropped and filter (struct ipq_capture_options), arp, drop_other, fix_checksums and send
 * (booleans; send: whether filters may, into what is accepted), copy, range, default and on_error (verdicts; with
 * send those too that reject). */
int ipq_core_capture(lua_State *L)
{
	struct ipq_capture_options options;
	char text[IPQ_CAPTURE_TEXT];
	struct capture_object *capture_object;
	struct ipq_object *object;
	struct ipq_capture *capture;
	enum ipq_capture_fault fault;

	luaL_checktype(L, 1, LUA_TTABLE);
	capture_object = ipq_object_new(L, CAPTURE, sizeof(*capture_object));
	object = &capture_object->object;
	/* Names and the expression are the options table's, which is kept. */
	lua_pushvalue(L, 1);
	lua_setfenv(L, -2);
	options_read(L, &options, capture_object);
	if (ipq_batch_new(&object->driver.batch, IPQ_BATCH_MAX, IPQ_CAPTURE_SLOT_SIZE) < 0)
		return ipq_object_fail(L, "not enough memory for a batch", "ENOMEM");
	ipq_option_verdicts(L, object->driver.batch);

	fault = ipq_capture_open(&capture, &options, text);
	if (fault != IPQ_CAPTURE_OK)
		return fail_open(L, fault, text);
	object->of = capture;
	object->driver.source = ipq_capture_source(capture);
	if (ipq_option_bool(L, "send", false)) {
		if (ipq_outbox_new(&object->driver.outbox, object->driver.batch, IPQ_SENT_MARK) < 0)
			return ipq_object_fail(L, "not enough memory to send packets", "ENOMEM");
		ipq_capture_send(capture, object->driver.outbox, NULL);
	}
	return 1;
}

static struct ipq_capture *capture_check(lua_State *L)
{
	return ((struct ipq_object *)ipq_object_check(L, CAPTURE))->of;
}

/* capture:counters() → struct ipq_capture_counters as a table */
static int capture_counters(lua_State *L)
{
	const struct ipq_capture_counters *counters = ipq_capture_counters(capture_check(L));
	const struct {
		const char *name;
		uint64_t count;
	} rows[] = {
		{"frames", counters->frames},
		{"other", counters->other},
		{"cut_off", counters->cut_off},
		{"too_long", counters->too_long},
		{"hidden", counters->hidden},
		{"unknown_link", counters->unknown_link},
		{"changed", counters->changed},
		{"wrong_sums", counters->wrong_sums},
		{"mended", counters->mended},
		{"written", counters->written},
		{"written_dropped", counters->written_dropped},
	};

	lua_newtable(L);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		lua_pushnumber(L, (lua_Number)rows[i].count);
		lua_setfield(L, -2, rows[i].name);
	}
	return 1;
}

/* capture:flush() → nil, or what is wrong with the files. Writes what is still in memory. */
static int capture_flush(lua_State *L)
{
	struct ipq_capture *capture = capture_check(L);
	const char *damage = ipq_capture_damage(capture);

	ipq_capture_flush(capture);
	lua_pushstring(L, damage ? damage : ipq_capture_failure(capture));
	return 1;
}

void ipq_core_capture_class(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"driver", ipq_object_driver},
		{"counters", capture_counters},
		{"flush", capture_flush},
		{"close", ipq_object_close},
		{NULL, NULL},
	};

	ipq_object_class(L, CAPTURE, methods, ipq_object_gc);
}
