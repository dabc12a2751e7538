#include "time_limit.h"
#include "host/base/log.h"
#include "host/figures/report.h"
#include "host/judge/overtime.h"
#include "host/judge/vm.h"
#include "host/supervise/limits.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

/* Handlers have no argument of their own, hence a global. */
static struct {
	lua_State *L;
	int64_t limit_ms;
	timer_t timer;
	struct overtime overtime;
	struct watchdog watchdog;
	const struct ipq_driver *volatile driver; /* whose packets are judged; NULL: none are */
	char caller[160];			  /* of specs: "x_spec.lua:7: ", or "" */
} limit;

static int64_t processor_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void give_up(const struct ipq_batch *batch)
{
	char work[160], text[512];

	report_work(batch, batch, *limit.caller ? "packet" : "frame", work, sizeof(work));
	snprintf(text, sizeof(text),
		 "%sno progress in %lld ms of the processor's time%s. What LuaJIT has compiled "
		 "cannot be interrupted: the program ends (--time-limit)",
		 limit.caller, (long long)limit.limit_ms, work);
	log_last(text);
	_exit(EX_SOFTWARE);
}

static void on_tick(int number)
{
	const struct ipq_driver *driver = limit.driver;
	int saved = errno;
	int64_t used_ms;

	(void)number;
	if (!driver)
		return;
	used_ms = processor_ms();
	switch (watchdog_look(&limit.watchdog, driver->batch, used_ms, used_ms, limit.limit_ms)) {
	case WATCHDOG_WARN: overtime_interrupt(limit.L, &limit.overtime, driver->batch); break;
	case WATCHDOG_END: give_up(driver->batch);
	case WATCHDOG_FINE: break;
	}
	errno = saved;
}

/* The line of a spec, or of what it has loaded, that has a packet judged. luassert is in between.
 */
static void find_caller(lua_State *L)
{
	lua_Debug info;

	*limit.caller = '\0';
	for (int level = 1; lua_getstack(L, level, &info); level++) {
		lua_getinfo(L, "Sl", &info);
		if (info.source[0] != '@' || strstr(info.source, "/luassert/"))
			continue;
		snprintf(limit.caller, sizeof(limit.caller), "%s:%d: ", info.short_src,
			 info.currentline);
		return;
	}
}

/* guard(driver) → the one before: its packets are judged from here on; nil: none are. */
static int guard(lua_State *L)
{
	void *before = (void *)limit.driver;

	limit.driver = NULL;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	limit.watchdog = (struct watchdog){0};
	find_caller(L);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	limit.driver = lua_touserdata(L, 1);
	if (!before)
		return 0;
	lua_pushlightuserdata(L, before);
	return 1;
}

static int protected_set(lua_State *L)
{
	overtime_init(L, &limit.overtime);
	vm_push_module(L, "ipq.engine.live");
	lua_pushcfunction(L, guard);
	lua_setfield(L, -2, "guard");
	return 0;
}

/* Ticks of the day's clock, at which the processor's is read: with a timer on the processor's own
 * the kernel would tell that to everybody in steps of its tick alone, os.clock() in a filter too.
 */
static bool timer_start(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGXCPU};
	struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
	int64_t ms = watchdog_interval_ms(&limit.watchdog, limit.limit_ms);
	struct itimerspec interval = {
		.it_interval = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000},
	};

	interval.it_value = interval.it_interval;
	if (sigaction(SIGXCPU, &action, NULL) == 0 &&
	    timer_create(CLOCK_MONOTONIC, &event, &limit.timer) == 0 &&
	    timer_settime(limit.timer, 0, &interval, NULL) == 0)
		return true;
	log_write(LOG_LEVEL_ERROR, "cannot watch the time: %s", strerror(errno));
	return false;
}

bool time_limit_set(lua_State *L, uint32_t limit_ms)
{
	if (limit_ms == 0)
		return true;
	limit.L = L;
	limit.limit_ms = limit_ms;
	return vm_protect(L, protected_set, NULL) && timer_start();
}
