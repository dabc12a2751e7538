#include "value.h"

#include <string.h>

#include <lauxlib.h>

enum { DEPTH_MAX = 100, STACK = 4 };

enum tag { TAG_NIL, TAG_FALSE, TAG_TRUE, TAG_NUMBER, TAG_STRING, TAG_TABLE, TAG_END };

struct writer {
	lua_State *L;
	uint8_t *at, *end;
};

static void check_depth(lua_State *L, int depth)
{
	if (depth > DEPTH_MAX)
		luaL_error(L,
			   "tables are more than %d deep in each other, or one contains itself, "
			   "which cannot be saved",
			   DEPTH_MAX);
	luaL_checkstack(L, STACK, "a value to be saved");
}

static void put(struct writer *writer, const void *bytes, size_t len)
{
	if (len > (size_t)(writer->end - writer->at))
		luaL_error(writer->L, "it is larger than the %d MB that can be saved",
			   VALUE_SIZE_MAX >> 20);
	memcpy(writer->at, bytes, len);
	writer->at += len;
}

static void put_tag(struct writer *writer, enum tag tag)
{
	uint8_t byte = (uint8_t)tag;

	put(writer, &byte, 1);
}

static void write_value(struct writer *writer, int depth);

static void write_table(struct writer *writer, int depth)
{
	lua_State *L = writer->L;

	put_tag(writer, TAG_TABLE);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		lua_pushvalue(L, -2);
		write_value(writer, depth + 1);
		lua_pop(L, 1);
		write_value(writer, depth + 1);
		lua_pop(L, 1);
	}
	put_tag(writer, TAG_END);
}

static void write_value(struct writer *writer, int depth)
{
	lua_State *L = writer->L;
	const char *text;
	lua_Number number;
	uint32_t size;
	size_t len;

	check_depth(L, depth);
	switch (lua_type(L, -1)) {
	case LUA_TNIL: put_tag(writer, TAG_NIL); break;
	case LUA_TBOOLEAN: put_tag(writer, lua_toboolean(L, -1) ? TAG_TRUE : TAG_FALSE); break;
	case LUA_TNUMBER:
		number = lua_tonumber(L, -1);
		put_tag(writer, TAG_NUMBER);
		put(writer, &number, sizeof(number));
		break;
	case LUA_TSTRING:
		text = lua_tolstring(L, -1, &len);
		size = (uint32_t)len;
		put_tag(writer, TAG_STRING);
		put(writer, &size, sizeof(size));
		put(writer, text, len);
		break;
	case LUA_TTABLE: write_table(writer, depth); break;
	default:
		luaL_error(L, "a %s cannot be saved; booleans, numbers, strings and tables can",
			   luaL_typename(L, -1));
	}
}

size_t value_write(lua_State *L, uint8_t *to, size_t size)
{
	struct writer writer = {L, to, to + size};

	write_value(&writer, 0);
	return (size_t)(writer.at - to);
}

struct reader {
	lua_State *L;
	const uint8_t *at;
	size_t left;
};

static const uint8_t *take(struct reader *reader, size_t len)
{
	const uint8_t *at = reader->at;

	if (len > reader->left)
		luaL_error(reader->L, "what was saved is cut off");
	reader->at += len;
	reader->left -= len;
	return at;
}

static void read_value(struct reader *reader, enum tag tag, int depth);

static void read_table(struct reader *reader, int depth)
{
	lua_State *L = reader->L;
	enum tag tag;

	lua_newtable(L);
	while ((tag = (enum tag) * take(reader, 1)) != TAG_END) {
		read_value(reader, tag, depth + 1);
		read_value(reader, (enum tag) * take(reader, 1), depth + 1);
		/* nil and NaN are no keys, which raises. */
		lua_rawset(L, -3);
	}
}

static void read_value(struct reader *reader, enum tag tag, int depth)
{
	lua_State *L = reader->L;
	lua_Number number;
	uint32_t size;

	check_depth(L, depth);
	switch (tag) {
	case TAG_NIL: lua_pushnil(L); break;
	case TAG_FALSE:
	case TAG_TRUE: lua_pushboolean(L, tag == TAG_TRUE); break;
	case TAG_NUMBER:
		memcpy(&number, take(reader, sizeof(number)), sizeof(number));
		lua_pushnumber(L, number);
		break;
	case TAG_STRING:
		memcpy(&size, take(reader, sizeof(size)), sizeof(size));
		lua_pushlstring(L, (const char *)take(reader, size), size);
		break;
	case TAG_TABLE: read_table(reader, depth); break;
	default: luaL_error(L, "what was saved is damaged");
	}
}

void value_read(lua_State *L, const uint8_t *from, size_t len)
{
	struct reader reader = {L, from, len};

	read_value(&reader, (enum tag) * take(&reader, 1), 0);
	if (reader.left)
		luaL_error(L, "what was saved has bytes behind its end");
}

int value_copy(lua_State *L)
{
	uint8_t *bytes;

	luaL_checkany(L, 1);
	lua_settop(L, 1);
	bytes = lua_newuserdata(L, VALUE_SIZE_MAX);
	lua_insert(L, 1);
	value_read(L, bytes, value_write(L, bytes, VALUE_SIZE_MAX));
	return 1;
}
