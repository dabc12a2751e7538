/* What a worker may take: whether it makes progress, and how soon one that died gets a successor.
 */
#ifndef HOST_LIMITS_H
#define HOST_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/ipq_abi.h"

/* Whether a worker makes progress. Zeroed memory is one that has not looked yet. */
struct watchdog {
	uint64_t batches; /* what it saw last */
	uint32_t current;
	uint32_t in_timer;
	bool is_stopped; /* by a signal, as SIGSTOP */
	bool is_ended;	 /* by the verdict before; nothing is looked at any more */
	bool is_warned;
	int64_t since_ms;  /* no progress since; 0: there was, or nothing is to be done */
	int64_t warned_ms; /* when it was warned, and what it had used by then */
	int64_t warned_used_ms;
};

/* How long a worker may take for its part of a reload, for the limit of a packet; also where that
 * has none. */
uint32_t limits_handover_ms(uint32_t limit_ms);

enum watchdog_verdict {
	WATCHDOG_FINE,
	WATCHDOG_WARN, /* for limit_ms: what is interpreted can be interrupted */
	/* A moment later, in which the worker could have been interrupted: it has had a processor
	 * for that long, or cannot have one (it is stopped), or has had none for a second. */
	WATCHDOG_END
};

/* Looks at a worker's batch, at now_ms. used_ms is the processor's time that the worker has had. */
enum watchdog_verdict watchdog_look(struct watchdog *watchdog, const struct ipq_batch *batch,
				    int64_t now_ms, int64_t used_ms, int64_t limit_ms);

/* When to look next, for a limit: often enough that it is not passed by much. */
int64_t watchdog_interval_ms(const struct watchdog *watchdog, int64_t limit_ms);

/* How soon a worker that died gets a successor. Zeroed memory is one of a worker that never died.
 */
struct backoff {
	unsigned int fruitless; /* deaths in a row of workers that judged nothing */
	unsigned int recent;	/* deaths since minute_at */
	int64_t minute_at;	/* ms */
};

/* A worker died at now_ms. Gives the milliseconds to wait: 0 after one that had judged packets, and
 * for others twice as long each time, from 10 ms to a second. -1 where more than max died within a
 * minute: it is of no use. */
int backoff_next(struct backoff *backoff, int64_t now_ms, bool is_fruitless, unsigned int max);

#endif
