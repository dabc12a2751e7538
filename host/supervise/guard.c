/* What is looked at from time to time. */
#include "supervision.h"
#include "host/base/clock.h"
#include "host/base/log.h"
#include "memory.h"
#include "host/figures/report.h"

#include <signal.h>

enum {
	OVERFLOW_INTERVAL_MS = 1000,
	MEMORY_INTERVAL_MS = 100,
	/* A script that is loaded while packets wait for it may take so many times --time-limit,
	 * and twice what the first one took; and from its interruption on so long. */
	LOAD_TIMES = 10,
	LOAD_GRACE_MS = 1000
};

void guard_overflow(struct supervisor *s)
{
	FOR_EACH_CHILD (s, child) {
		struct overflow before = child->overflow;

		overflow_read(&child->overflow, child->queue_num, &child->batch->counters);
		overflow_warn(&before, &child->overflow, child->queue_num);
	}
	s->overflow_at = clock_ms() + OVERFLOW_INTERVAL_MS;
}

static void overtime(struct supervisor *s, struct child *child, enum watchdog_verdict verdict)
{
	char work[160];

	if (verdict == WATCHDOG_WARN) {
		kill(child->pid, SIGXCPU);
		return;
	}
	report_work(child->batch, &child->made, "packet", work, sizeof(work));
	log_queue(LOG_LEVEL_ERROR, child->queue_num,
		  ": no progress for %u ms%s; its worker is ended (--time-limit)",
		  s->options->time_limit_ms, work);
	kill(child->pid, SIGKILL);
}

/* The first load is nobody's but its user's: no packet waits for it. */
static void overtime_loading(struct supervisor *s, struct child *child, int64_t now)
{
	int64_t limit = (int64_t)s->options->time_limit_ms * LOAD_TIMES + 2 * child->load_ms;
	int64_t over = now - child->loading_since - limit;

	if (!child->pid || !child->has_run || !child->loading_since || over < 0)
		return;
	if (!child->is_interrupted) {
		child->is_interrupted = true;
		kill(child->pid, SIGXCPU);
	} else if (over >= LOAD_GRACE_MS) {
		log_queue(LOG_LEVEL_ERROR, child->queue_num,
			  ": %s has been loading for %.1f s; its worker is ended (--time-limit)",
			  s->options->script, (double)(now - child->loading_since) / 1000);
		child->loading_since = 0;
		kill(child->pid, SIGKILL);
	}
}

void guard_progress(struct supervisor *s)
{
	int64_t now = clock_ms(), limit = s->options->time_limit_ms, interval = NEVER;

	FOR_EACH_CHILD (s, child) {
		enum watchdog_verdict verdict = WATCHDOG_FINE;

		if (child->pid && child->stage == CHILD_RUNNING)
			verdict = watchdog_look(&child->watchdog, child->batch, now, limit);
		if (verdict != WATCHDOG_FINE)
			overtime(s, child, verdict);
		overtime_loading(s, child, now);
		if (watchdog_interval_ms(&child->watchdog, limit) < interval)
			interval = watchdog_interval_ms(&child->watchdog, limit);
	}
	s->look_at = now + interval;
}

void guard_memory(struct supervisor *s)
{
	uint64_t limit = (uint64_t)s->options->memory_limit_mb << 20;

	FOR_EACH_CHILD (s, child) {
		uint64_t used = child->pid ? memory_of(child->pid) : 0;

		if (used <= limit)
			continue;
		log_queue(LOG_LEVEL_ERROR, child->queue_num,
			  ": its worker takes %u MB; it is ended (--memory-limit)",
			  (unsigned int)(used >> 20));
		kill(child->pid, SIGKILL);
	}
	s->memory_at = clock_ms() + MEMORY_INTERVAL_MS;
}
