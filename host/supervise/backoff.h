/* How soon a worker that died gets a successor. */
#ifndef HOST_BACKOFF_H
#define HOST_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed memory is one of a worker that never died. */
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
