#include "time_limit.h"
#include "tools.h"
#include "host/base/log.h"
#include "host/judge/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <lauxlib.h>

__asm__(".pushsection .rodata\ntest_runner: .incbin \"host/tools/test.lua\"\n.byte "
	"0\n.popsection\n");
extern const char test_runner[] __attribute__((visibility("hidden")));

struct test {
	const struct options *options;
	int code;
};

static int protected_run(lua_State *L)
{
	struct test *test = lua_touserdata(L, 1);
	const struct options *options = test->options;

	vm_describe(L, options, VM_NO_QUEUE);
	lua_createtable(L, options->argc + 1, 0);
	/* A project's .busted may name an interpreter to start, which would not be this one. */
	lua_pushliteral(L, "--ignore-lua");
	lua_rawseti(L, -2, 1);
	for (int i = 0; i < options->argc; i++) {
		lua_pushstring(L, options->argv[i]);
		lua_rawseti(L, -2, i + 2);
	}
	lua_setglobal(L, "arg");
	if (luaL_loadbuffer(L, test_runner, strlen(test_runner), "=ipq-lua --test"))
		return lua_error(L);
	lua_pushstring(L, options->argv[0]);
	lua_call(L, 1, 2);
	if (lua_isnil(L, -2))
		return 0;
	fflush(stdout);
	if (lua_toboolean(L, -1)) {
		log_write(LOG_LEVEL_ERROR,
			  "busted is not to be had: install the package lua-busted, or say "
			  "\"luarocks install busted\"\n%s",
			  lua_tostring(L, -2));
		test->code = EX_UNAVAILABLE;
	} else {
		log_write(LOG_LEVEL_ERROR, "%s", lua_tostring(L, -2));
		test->code = EX_DATAERR;
	}
	return 0;
}

int test_run(const struct options *options)
{
	struct test test = {options, EX_OK};
	const char *path = options->argv[0];
	lua_State *L;

	if (access(path, R_OK) < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot read the specs: %s: %s", path, strerror(errno));
		return EX_NOINPUT;
	}
	L = vm_state_new();
	if (!L)
		return EX_OSERR;
	if (!time_limit_set(L, options->time_limit_ms))
		test.code = EX_OSERR;
	else if (!vm_protect(L, protected_run, &test))
		test.code = EX_SOFTWARE;
	lua_close(L);
	return test.code;
}
