/* Which lines of bindings/ run: require "lines", for spec/coverage. A hook in Lua would take ten
 * times as long. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <lauxlib.h>

enum { FILES = 64, LINES = 1024 };

static struct {
	char source[128]; /* "@" and the path */
	uint8_t ran[LINES];
} files[FILES];
static int count, last;

int luaopen_lines(lua_State *L);

/* The file's place, -1 where there is no room. */
static int file_find(const char *source)
{
	if (count && strcmp(files[last].source, source) == 0)
		return last;
	for (last = 0; last < count; last++)
		if (strcmp(files[last].source, source) == 0)
			return last;
	last = 0;
	if (count == FILES || strlen(source) >= sizeof(files[0].source))
		return -1;
	strcpy(files[count].source, source);
	return count++;
}

static void line_note(lua_State *L, lua_Debug *info)
{
	int file;

	lua_getinfo(L, "S", info);
	if (strncmp(info->source, "@bindings/", 10) != 0 || info->currentline >= LINES)
		return;
	file = file_find(info->source);
	if (file >= 0)
		files[file].ran[info->currentline] = 1;
}

static int lines_start(lua_State *L)
{
	lua_sethook(L, line_note, LUA_MASKLINE, 0);
	return 0;
}

/* lines.write(path): "file line" for each that ran. */
static int lines_write(lua_State *L)
{
	FILE *out = fopen(luaL_checkstring(L, 1), "w");

	if (!out)
		return luaL_error(L, "cannot write %s", lua_tostring(L, 1));
	for (int i = 0; i < count; i++)
		for (int line = 0; line < LINES; line++)
			if (files[i].ran[line])
				fprintf(out, "%s %d\n", files[i].source + 1, line);
	fclose(out);
	return 0;
}

int luaopen_lines(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"start", lines_start}, {"write", lines_write}, {NULL, NULL}};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
