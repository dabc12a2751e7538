#include "test.h"
#include "limit.h"
#include "log.h"
#include "state.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <lauxlib.h>

/* busted asks who called it for its name, hence a function of Lua around it. It ends the process
 * where a spec fails. */
static const char runner[] = "local found, run = pcall(require, 'busted.runner')\n"
			     "if not found then return run end\n"
			     "run { standalone = false }\n";

struct test {
	int argc;
	char **argv;
	int code;
};

static int protected_run(lua_State *L)
{
	struct test *test = lua_touserdata(L, 1);

	lua_createtable(L, test->argc + 1, 0);
	/* A project's .busted may name an interpreter to start, which would not be this one. */
	lua_pushliteral(L, "--ignore-lua");
	lua_rawseti(L, -2, 1);
	for (int i = 0; i < test->argc; i++) {
		lua_pushstring(L, test->argv[i]);
		lua_rawseti(L, -2, i + 2);
	}
	lua_setglobal(L, "arg");
	if (luaL_loadbuffer(L, runner, sizeof(runner) - 1, "=ipq-lua --test"))
		return lua_error(L);
	lua_call(L, 0, 1);
	if (lua_isnil(L, -1))
		return 0;
	log_write(LOG_LEVEL_ERROR,
		  "busted is not to be had: install the package lua-busted, or say "
		  "\"luarocks install busted\"\n%s",
		  lua_tostring(L, -1));
	test->code = EX_UNAVAILABLE;
	return 0;
}

int test_run(const struct options *options)
{
	struct test test = {options->argc, options->argv, EX_OK};
	const char *path = options->argv[0];
	lua_State *L;

	if (access(path, R_OK) < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot read the specs: %s: %s", path, strerror(errno));
		return EX_NOINPUT;
	}
	L = state_new();
	if (!L)
		return EX_OSERR;
	if (!limit_set(L, options->time_limit_ms))
		test.code = EX_OSERR;
	else if (!state_protect(L, protected_run, &test))
		test.code = EX_SOFTWARE;
	lua_close(L);
	return test.code;
}
