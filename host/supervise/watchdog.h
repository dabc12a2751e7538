/* Whether a worker makes progress. */
#ifndef HOST_WATCHDOG_H
#define HOST_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/ipq_abi.h"

/* Zeroed memory is one that has not looked yet. */
struct watchdog {
	uint64_t batches; /* what it saw last */
	uint32_t current;
	uint32_t in_timer;
	bool is_stopped; /* by a signal, as SIGSTOP */
	bool is_ended;	 /* by the verdict before; nothing is looked at any more */
	bool is_warned;
	int64_t since_ms; /* no progress since; 0: there was, or nothing is to be done */
};

enum watchdog_verdict {
	WATCHDOG_FINE,
	WATCHDOG_WARN, /* for limit_ms: what is interpreted can be interrupted */
	WATCHDOG_END   /* a moment later */
};

/* Looks at a worker's batch, at now_ms. */
enum watchdog_verdict watchdog_look(struct watchdog *watchdog, const struct ipq_batch *batch,
				    int64_t now_ms, int64_t limit_ms);

/* When to look next, for a limit: often enough that it is not passed by much. */
int64_t watchdog_interval_ms(const struct watchdog *watchdog, int64_t limit_ms);

#endif
