#include "overflow.h"
#include "host/base/log.h"
#include "lib/queue/queue.h"

#include <inttypes.h>

void overflow_read(struct overflow *overflow, uint16_t queue_num,
		   const struct ipq_counters *counters)
{
	struct ipq_procfs_queue status;

	overflow->overruns = __atomic_load_n(&counters->overruns, __ATOMIC_RELAXED);
	if (ipq_procfs_queue(queue_num, &status) < 0)
		return;
	overflow->is_known = true;
	overflow->queue_full = status.dropped;
	overflow->socket_full = status.user_dropped;
	overflow->waiting = status.waiting;
}

void overflow_warn(const struct overflow *before, const struct overflow *now, uint16_t queue_num)
{
	uint32_t queue_full = now->queue_full - before->queue_full;
	uint32_t socket_full = now->socket_full - before->socket_full;
	uint64_t overruns = now->overruns - before->overruns;

	if (queue_full)
		log_queue(LOG_LEVEL_WARN, queue_num,
			  " was full: %" PRIu32 " packets were dropped; more queues "
			  "(-q N:M) judge faster, --queue-maxlen lets more wait, --fail-open "
			  "accepts them unseen",
			  queue_full);
	if (socket_full)
		log_queue(LOG_LEVEL_WARN, queue_num,
			  ": its socket had no room for %" PRIu32
			  " packets, which were dropped; give it more with --rcvbuf",
			  socket_full);
	if (overruns)
		log_queue(LOG_LEVEL_WARN, queue_num,
			  ": the socket's buffer overran %" PRIu64
			  " times; give it more with --rcvbuf",
			  overruns);
}
