/* What workers may have done to their queues, looked at from time to time. */
#include "supervisor.h"
#include "host/base/base.h"

#include <errno.h>

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

/* What is wrong with the queue, as of its worker; NULL: nothing, as far as the kernel says. */
static const char *fault_of(const struct child *child)
{
	struct ipq_procfs_queue listed;
	int ret = ipq_procfs_queue(child->queue_num, &listed);

	if (ret == -ENOENT)
		return "has unbound it";
	if (ret < 0 || ipq_queue_is(child->queue, &child->settings, &listed))
		return NULL;
	return listed.portid == ipq_queue_portid(child->queue) ? "has changed its settings"
							       : "has lost it to somebody else";
}

/* Once is no fault: a worker that takes another script changes what is copied, and tells of it a
 * moment later. */
static void look_at_queue(struct child *child)
{
	const char *fault = fault_of(child);

	if (!fault)
		(void)ipq_queue_renew(child->queue, &child->settings);
	if (!fault || !child->was_odd) {
		child->was_odd = fault != NULL;
		child->is_odd_told = child->is_odd_told && fault;
		return;
	}
	(void)child_restore_queue(child);
	if (!child->is_odd_told)
		log_queue(LOG_LEVEL_ERROR, child->queue_num, ": its worker, process %d, %s; %s",
			  child->pid, fault,
			  fault_of(child) ? "that cannot be undone, and --doctor says why"
					  : "that was undone");
	child->is_odd_told = true;
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
