#include "watchdog.h"

enum { GRACE_MS = 20, INTERVAL_LEAST_MS = 10, INTERVAL_MOST_MS = 250 };

static bool is_idle(const struct watchdog *watchdog, const struct ipq_batch *batch)
{
	return !watchdog->is_stopped && __atomic_load_n(&batch->count, __ATOMIC_RELAXED) == 0 &&
	       watchdog->in_timer % 2 == 0;
}

static bool has_moved(struct watchdog *watchdog, const struct ipq_batch *batch)
{
	uint64_t batches = __atomic_load_n(&batch->counters.batches, __ATOMIC_RELAXED);
	uint32_t current = __atomic_load_n(&batch->current, __ATOMIC_RELAXED);
	uint32_t in_timer = __atomic_load_n(&batch->in_timer, __ATOMIC_RELAXED);
	bool moved = batches != watchdog->batches || current != watchdog->current ||
		     in_timer != watchdog->in_timer;

	watchdog->in_timer = in_timer;
	watchdog->batches = batches;
	watchdog->current = current;
	return moved;
}

enum watchdog_verdict watchdog_look(struct watchdog *watchdog, const struct ipq_batch *batch,
				    int64_t now_ms, int64_t limit_ms)
{
	if (watchdog->is_ended)
		return WATCHDOG_FINE;
	if (has_moved(watchdog, batch) || is_idle(watchdog, batch)) {
		watchdog->since_ms = 0;
		watchdog->is_warned = false;
		return WATCHDOG_FINE;
	}
	if (watchdog->since_ms == 0)
		watchdog->since_ms = now_ms;
	if (now_ms - watchdog->since_ms < limit_ms)
		return WATCHDOG_FINE;
	if (!watchdog->is_warned) {
		watchdog->is_warned = true;
		return WATCHDOG_WARN;
	}
	watchdog->is_ended = now_ms - watchdog->since_ms >= limit_ms + GRACE_MS;
	return watchdog->is_ended ? WATCHDOG_END : WATCHDOG_FINE;
}

int64_t watchdog_interval_ms(const struct watchdog *watchdog, int64_t limit_ms)
{
	int64_t interval = limit_ms / 8;

	if (watchdog->is_warned || interval < INTERVAL_LEAST_MS)
		return INTERVAL_LEAST_MS;
	return interval < INTERVAL_MOST_MS ? interval : INTERVAL_MOST_MS;
}
