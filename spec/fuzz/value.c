/* What another process has saved: any bytes are a value, or an error. What is read can be written,
 * and is the same bytes then, where the order of a table's keys does not matter. */
#include "fuzz.h"
#include "bindings/value.h"

#include <lauxlib.h>

struct bytes {
	const uint8_t *at;
	size_t len;
};

static int read_bytes(lua_State *L)
{
	const struct bytes *bytes = lua_touserdata(L, 1);

	value_read(L, bytes->at, bytes->len);
	return 1;
}

static int write_bytes(lua_State *L)
{
	struct bytes *bytes = lua_touserdata(L, 2);

	lua_settop(L, 1);
	bytes->len = value_write(L, (uint8_t *)bytes->at, bytes->len);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	static lua_State *L;
	struct bytes in = {own(input, len), len};
	struct bytes out = {malloc(2 * len + 64), 2 * len + 64};

	if (!L)
		L = luaL_newstate();
	CHECK(L && out.at);
	lua_settop(L, 0);
	lua_pushcfunction(L, read_bytes);
	lua_pushlightuserdata(L, &in);
	if (lua_pcall(L, 1, 1, 0) == 0) {
		lua_pushcfunction(L, write_bytes);
		lua_insert(L, -2);
		lua_pushlightuserdata(L, &out);
		CHECK(lua_pcall(L, 2, 0, 0) == 0);
		/* Keys that came twice are one. */
		CHECK(out.len <= len);
	}
	lua_settop(L, 0);
	free((void *)in.at);
	free((void *)out.at);
	return 0;
}
