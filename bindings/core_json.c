/* JSON (RFC 8259) that every parser reads, of what a script has: keys in order, numbers with as
 * many digits as they need, and bytes that are no UTF-8 as text. */
#include "core_object.h"
#include "lib/json.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <lauxlib.h>

enum {
	DEPTH_MOST = 100,
	KEYS_AT_ONCE = 32, /* on the stack; of a larger table they take memory of Lua's */
	NUMBER_SIZE = 32,
	LUA_TCDATA = 10 /* LuaJIT's own type; lua_typename() has it */
};

/* 2^53: beyond it not all integers are doubles. */
#define EXACT_MOST 9007199254740992.0

/* What is written grows in here, for all that is ever written by a Lua state. */
struct text {
	char *bytes;
	size_t len, room;
};

/* A key as text; number is what it is in the table where that is not the text. */
struct key {
	const char *text;
	size_t len;
	double number;
	bool is_number;
	char digits[NUMBER_SIZE];
};

/* Of one call. convert is where on Lua's stack the function is that knows what C does not: how to
 * write a number of many digits, and 64-bit integers. */
struct writer {
	lua_State *L;
	struct text *text;
	int convert;
	const char *field; /* of the outermost table, for messages */
};

static void put(struct writer *w, const char *bytes, size_t len)
{
	struct text *text = w->text;

	if (text->room - text->len < len) {
		size_t room = text->room * 2 > text->len + len ? text->room * 2 : text->len + len;
		char *grown = realloc(text->bytes, room);

		if (!grown)
			luaL_error(w->L, "not enough memory");
		text->bytes = grown;
		text->room = room;
	}
	memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
}

/* Without a position: that is the caller's. */
static void refuse(struct writer *w, const char *what)
{
	if (w->field)
		lua_pushfstring(w->L, "field '%s': JSON has no %s", w->field, what);
	else
		lua_pushfstring(w->L, "JSON has no %s", what);
	lua_error(w->L);
}

static void put_literal(struct writer *w, const char *literal)
{
	put(w, literal, strlen(literal));
}

static void put_string(struct writer *w, const char *string, size_t len)
{
	const uint8_t *bytes = (const uint8_t *)string;
	char escape[IPQ_JSON_ESCAPE_SIZE];
	size_t size;

	put(w, "\"", 1);
	for (;;) {
		size = ipq_json_plain(bytes, len);
		put(w, (const char *)bytes, size);
		bytes += size;
		len -= size;
		if (!len)
			break;
		size = ipq_json_escape(escape, bytes, len);
		put_literal(w, escape);
		bytes += size;
		len -= size;
	}
	put(w, "\"", 1);
}

static bool is_whole(double number)
{
	return number < EXACT_MOST && number > -EXACT_MOST && number == (double)(int64_t)number;
}

/* A whole number's digits. Gives how many bytes that is. */
static int format_whole(char *text, int64_t number)
{
	uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
	char digits[NUMBER_SIZE];
	int len = 0, at = NUMBER_SIZE;

	do
		digits[--at] = (char)('0' + rest % 10);
	while (rest /= 10);
	if (number < 0)
		text[len++] = '-';
	memcpy(text + len, digits + at, (size_t)(NUMBER_SIZE - at));
	len += NUMBER_SIZE - at;
	text[len] = '\0';
	return len;
}

/* Seconds with microseconds, and what else has six digits behind the point: no rounding is in
 * between, as both numbers of the quotient are exact. 0: it is none. */
static int format_micro(char text[NUMBER_SIZE], double number)
{
	int64_t whole = (int64_t)number, scaled, part;
	int len;

	if (number < 0 || number * 1e6 >= EXACT_MOST)
		return 0;
	scaled = (int64_t)(number * 1e6 + 0.5);
	if ((double)scaled / 1e6 != number)
		return 0;
	part = scaled - whole * 1000000;
	len = format_whole(text, whole);
	text[len] = '.';
	for (int digit = 6; digit > 0; digit--) {
		text[len + digit] = (char)('0' + part % 10);
		part /= 10;
	}
	len += 7;
	while (text[len - 1] == '0')
		len--;
	text[len] = '\0';
	return len;
}

/* What the function at convert makes of the value on top of the stack, in its place. */
static void convert(struct writer *w)
{
	lua_pushvalue(w->L, w->convert);
	lua_insert(w->L, -2);
	lua_call(w->L, 1, 1);
}

/* As few digits as give the same number again. Lua's own formatting is for those that are left: the
 * C library's has the decimal point of a locale. */
static int format_number(struct writer *w, char text[NUMBER_SIZE], double number)
{
	int len =
		is_whole(number) ? format_whole(text, (int64_t)number) : format_micro(text, number);

	if (len)
		return len;
	lua_pushnumber(w->L, number);
	convert(w);
	len = snprintf(text, NUMBER_SIZE, "%s", luaL_checkstring(w->L, -1));
	lua_pop(w->L, 1);
	return len;
}

static void put_number(struct writer *w, double number)
{
	char text[NUMBER_SIZE] = "";

	if (!isfinite(number))
		refuse(w, isnan(number) ? "NaN" : "infinity");
	put(w, text, (size_t)format_number(w, text, number));
}

/* Of the table on top of the stack. Gives how many there are, of which room are kept; is_list: they
 * are 1 to that. */
static size_t read_keys(struct writer *w, struct key *keys, size_t room, bool *is_list)
{
	lua_State *L = w->L;
	size_t count = 0;
	double most = 0;

	*is_list = true;
	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		struct key *key = &keys[count < room ? count : room - 1];

		key->is_number = lua_type(L, -2) == LUA_TNUMBER;
		if (key->is_number) {
			key->number = lua_tonumber(L, -2);
			most = key->number > most ? key->number : most;
			*is_list = *is_list && is_whole(key->number) && key->number >= 1;
		} else if (lua_type(L, -2) == LUA_TSTRING) {
			/* The table keeps it. */
			key->text = lua_tolstring(L, -2, &key->len);
			*is_list = false;
		} else {
			refuse(w, "keys that are neither text nor numbers");
		}
		count++;
	}
	*is_list = *is_list && count > 0 && most == (double)count;
	return count;
}

static const char *text_of(const struct key *key)
{
	return key->is_number ? key->digits : key->text;
}

static int compare(const void *a, const void *b)
{
	const struct key *one = a, *two = b;
	size_t len = one->len < two->len ? one->len : two->len;
	int order = memcmp(text_of(one), text_of(two), len);

	if (order)
		return order;
	return one->len < two->len ? -1 : one->len > two->len;
}

static void put_value(struct writer *w, unsigned int depth);

static void put_list(struct writer *w, size_t count, unsigned int depth)
{
	put(w, "[", 1);
	for (size_t i = 1; i <= count; i++) {
		if (i > 1)
			put(w, ",", 1);
		lua_rawgeti(w->L, -1, (int)i);
		put_value(w, depth);
		lua_pop(w->L, 1);
	}
	put(w, "]", 1);
}

static void put_member(struct writer *w, const struct key *key, unsigned int depth)
{
	lua_State *L = w->L;

	if (depth == 1)
		w->field = text_of(key);
	put_string(w, text_of(key), key->len);
	put(w, ":", 1);
	if (key->is_number)
		lua_pushnumber(L, key->number);
	else
		lua_pushlstring(L, key->text, key->len);
	lua_rawget(L, -2);
	put_value(w, depth);
	lua_pop(L, 1);
}

static void put_object(struct writer *w, struct key *keys, size_t count, unsigned int depth)
{
	for (size_t i = 0; i < count; i++)
		if (keys[i].is_number)
			keys[i].len = (size_t)format_number(w, keys[i].digits, keys[i].number);
	qsort(keys, count, sizeof(*keys), compare);
	put(w, "{", 1);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			put(w, ",", 1);
		put_member(w, &keys[i], depth);
	}
	put(w, "}", 1);
}

static void put_table(struct writer *w, unsigned int depth)
{
	struct key few[KEYS_AT_ONCE], *keys = few;
	bool is_list;
	size_t count;

	if (depth > DEPTH_MOST)
		refuse(w, "tables in tables, more than 100 deep");
	if (!lua_checkstack(w->L, 8))
		luaL_error(w->L, "not enough memory");
	count = read_keys(w, few, KEYS_AT_ONCE, &is_list);
	if (is_list) {
		put_list(w, count, depth);
		return;
	}
	if (count > KEYS_AT_ONCE) {
		/* Below the table, which those that read it expect on top. */
		keys = lua_newuserdata(w->L, count * sizeof(*keys));
		lua_insert(w->L, -2);
		(void)read_keys(w, keys, count, &is_list);
	}
	put_object(w, keys, count, depth);
	if (count > KEYS_AT_ONCE)
		lua_remove(w->L, -2);
}

/* A 64-bit integer, as a number where that is exact, else as text. */
static void put_cdata(struct writer *w)
{
	lua_State *L = w->L;

	lua_pushvalue(L, -1);
	convert(w);
	if (lua_type(L, -1) == LUA_TNUMBER)
		put_number(w, lua_tonumber(L, -1));
	else if (lua_type(L, -1) == LUA_TSTRING)
		put_string(w, lua_tostring(L, -1), lua_objlen(L, -1));
	else
		refuse(w, "Buffers and other values of C's");
	lua_pop(L, 1);
}

/* The value on top of the stack, which stays there. */
static void put_value(struct writer *w, unsigned int depth)
{
	lua_State *L = w->L;
	const char *string;
	size_t len;

	switch (lua_type(L, -1)) {
	case LUA_TNIL: put_literal(w, "null"); break;
	case LUA_TBOOLEAN: put_literal(w, lua_toboolean(L, -1) ? "true" : "false"); break;
	case LUA_TNUMBER: put_number(w, lua_tonumber(L, -1)); break;
	case LUA_TSTRING:
		string = lua_tolstring(L, -1, &len);
		put_string(w, string, len);
		break;
	case LUA_TTABLE: put_table(w, depth + 1); break;
	case LUA_TCDATA: put_cdata(w); break;
	default:
		/* cjson.null is such. */
		if (lua_islightuserdata(L, -1) && !lua_touserdata(L, -1))
			put_literal(w, "null");
		else
			refuse(w, luaL_typename(L, -1));
	}
}

static int text_free(lua_State *L)
{
	struct text *text = lua_touserdata(L, 1);

	free(text->bytes);
	text->bytes = NULL;
	return 0;
}

/* json(value, convert, ending) → text. convert(number) gives its text, at most 31 bytes;
 * convert(cdata) a number or text for a 64-bit integer, and nil for what is none. Raises for what
 * JSON has not. */
static int json(lua_State *L)
{
	struct writer writer = {
		.L = L,
		.text = lua_touserdata(L, lua_upvalueindex(1)),
		.convert = 2,
	};

	lua_settop(L, 3);
	writer.text->len = 0;
	lua_pushvalue(L, 1);
	put_value(&writer, 0);
	put_literal(&writer, luaL_optstring(L, 3, ""));
	lua_pushlstring(L, writer.text->bytes, writer.text->len);
	return 1;
}

void ipq_core_json_push(lua_State *L)
{
	struct text *text = lua_newuserdata(L, sizeof(*text));

	*text = (struct text){NULL, 0, 0};
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, text_free);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_pushcclosure(L, json, 1);
}
