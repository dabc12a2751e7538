/* What workers may have done to their queues, looked at from time to time. */
#include "supervisor.h"
#include "host/base/base.h"

#include <errno.h>

enum { INTERVAL_MS = 1000 };

/* What is wrong with the queue, as of its worker; NULL: nothing, as far as the kernel says. */
static const char *fault_of(const struct queue *queue)
{
	struct ipq_procfs_queue listed;
	int ret = ipq_procfs_queue(queue->num, &listed);

	if (ret == -ENOENT)
		return "has unbound it";
	if (ret < 0 || ipq_queue_is(queue->socket, &queue->settings, &listed))
		return NULL;
	return listed.portid == ipq_queue_portid(queue->socket) ? "has changed its settings"
								: "has lost it to somebody else";
}

/* Once is no fault: the kernel may not have taken yet what the supervisor has just told it. */
static void look_at_queue(struct queue *queue)
{
	const char *fault = fault_of(queue);

	if (!fault)
		(void)ipq_queue_renew(queue->socket, &queue->settings);
	if (!fault || !queue->was_odd) {
		queue->was_odd = fault != NULL;
		queue->is_odd_told = queue->is_odd_told && fault;
		return;
	}
	(void)queue_restore(queue);
	if (!queue->is_odd_told)
		log_queue(LOG_LEVEL_ERROR, queue->num, ": its worker, process %d, %s; %s",
			  queue->child[QUEUE_OWNER].pid, fault,
			  fault_of(queue) ? "that cannot be undone, and --doctor says why"
					  : "that was undone");
	queue->is_odd_told = true;
}

/* A queue that is bound to one of the program's sockets, and is none of the program's. */
static void unbind_other(void *data, uint16_t num, const struct ipq_procfs_queue *listed)
{
	struct supervisor *s = data;
	int first = s->options->queue.queue_num;

	if (num >= first && num < first + (int)s->queues.count)
		return;
	FOR_EACH_QUEUE (s, queue) {
		if (listed->portid != ipq_queue_portid(queue->socket))
			continue;
		(void)ipq_queue_unbind(queue->socket, num);
		if (!queue->has_bound_others)
			log_queue(
				LOG_LEVEL_ERROR, queue->num,
				": its worker, process %d, has bound queue %u to its socket; that "
				"was undone",
				queue->child[QUEUE_OWNER].pid, num);
		queue->has_bound_others = true;
	}
}

void survey_look(struct supervisor *s)
{
	(void)ipq_procfs_each(unbind_other, s);
	FOR_EACH_QUEUE (s, queue)
		if (queue->has_run)
			look_at_queue(queue);
	s->survey_at = clock_ms() + INTERVAL_MS;
}
