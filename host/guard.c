/* What is looked at from time to time. */
#include "supervision.h"
#include "clock.h"
#include "log.h"
#include "memory.h"
#include "report.h"

#include <signal.h>

enum { OVERFLOW_INTERVAL_MS = 1000, MEMORY_INTERVAL_MS = 100 };

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

void guard_progress(struct supervisor *s)
{
	int64_t now = clock_ms(), limit = s->options->time_limit_ms, interval = NEVER;

	FOR_EACH_CHILD (s, child) {
		enum watchdog_verdict verdict = WATCHDOG_FINE;

		if (child->pid && child->stage == CHILD_RUNNING)
			verdict = watchdog_look(&child->watchdog, child->batch, now, limit);
		if (verdict != WATCHDOG_FINE)
			overtime(s, child, verdict);
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
