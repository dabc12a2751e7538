/* What workers may have done to their queues, looked at from time to time. */
#include "supervisor.h"
#include "host/base/base.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { INTERVAL_MS = 1000, INTERVAL_UNKNOWN_MS = 50 };

/* A queue in which no packet waits has none that nobody knows of, whatever a dead worker left
 * untold. */
static void look_for_unknown(struct child *child)
{
	uint32_t unknown = __atomic_load_n(&child->batch->unknown, __ATOMIC_RELAXED);
	struct ipq_procfs_queue listed;

	if (unknown && ipq_procfs_queue(child->queue_num, &listed) == 0 && listed.waiting == 0)
		(void)__atomic_compare_exchange_n(&child->batch->unknown, &unknown, 0, false,
						  __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static void tell_lost(struct child *child, const struct ipq_procfs_queue *listed)
{
	if (child->is_told)
		return;
	child->is_told = true;
	log_queue(LOG_LEVEL_ERROR, child->queue_num,
		  ": it belongs to netlink port %" PRIu32
		  " now, and no packet comes here; --doctor says who that is",
		  listed->portid);
}

/* Once is no fault: a worker that takes another script changes what is copied, and tells of it a
 * moment later. */
static void look_at_queue(struct child *child)
{
	struct ipq_procfs_queue listed = {.portid = 0};
	int ret = ipq_procfs_queue(child->queue_num, &listed);
	bool is_odd = ret == -ENOENT ||
		      (ret == 0 && !ipq_queue_is(child->queue, &child->settings, &listed));
	const char *what = ret == -ENOENT ? "unbound it" : "changed its settings";

	if (!is_odd || !child->is_odd) {
		child->is_odd = is_odd;
		child->is_told = child->is_told && is_odd;
		return;
	}
	if (ret == 0 && listed.portid != ipq_queue_portid(child->queue)) {
		tell_lost(child, &listed);
		return;
	}
	ret = child_restore_queue(child);
	log_queue(LOG_LEVEL_ERROR, child->queue_num, ": its worker, process %d, has %s; %s%s",
		  child->pid, what, ret < 0 ? "that cannot be undone: " : "that was undone",
		  ret < 0 ? strerror(-ret) : "");
}

void survey_look(struct supervisor *s)
{
	int64_t interval = INTERVAL_MS;

	FOR_EACH_CHILD (s, child) {
		look_for_unknown(child);
		if (__atomic_load_n(&child->batch->unknown, __ATOMIC_RELAXED))
			interval = INTERVAL_UNKNOWN_MS;
	}
	s->survey_at = clock_ms() + interval;
	if (clock_ms() < s->surveyed_at + INTERVAL_MS)
		return;
	s->surveyed_at = clock_ms();
	FOR_EACH_CHILD (s, child)
		if (child->has_run)
			look_at_queue(child);
}
