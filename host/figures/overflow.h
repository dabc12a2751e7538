/* Packets that were lost before a worker could see them. */
#ifndef HOST_OVERFLOW_H
#define HOST_OVERFLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/ipq_abi.h"

struct overflow {
	bool is_known;	     /* the kernel's counters can be read */
	uint32_t queue_full; /* since the queue was bound */
	uint32_t socket_full;
	uint64_t overruns; /* ENOBUFS */
	uint32_t waiting;  /* packets in the queue */
};

/* Brings overflow up to date: by the kernel's list of queues, which a worker must not spend its
 * time on, and by the counters that a worker writes. */
void overflow_read(struct overflow *overflow, uint16_t queue_num,
		   const struct ipq_counters *counters);

/* Warns of what is new in now, and says what to do. */
void overflow_warn(const struct overflow *before, const struct overflow *now, uint16_t queue_num);

#endif
