/* Memory that outlives a worker: of a queue's flows and streams, and of the tables that all workers share.
 *
 * The supervisor makes it before it forks, as the sandbox lets nobody make such memory, and looks at
 * what is in there as at what a stranger has written: a worker may have. Its size is sealed. A page of
 * it is there once somebody has touched it. */
#ifndef HOST_REGION_H
#define HOST_REGION_H

#include <stdbool.h>

#include "inherit.h"

struct region {
	int fd; /* -1 in workers, and where there is no region */
	uint8_t *memory;
	size_t size;
	bool is_inherited; /* something may be in it */
	bool has_refused;  /* one that was inherited could not be used */
};

/* Takes an inherited one of that size for which check(), unless it is NULL, gives 0; or makes one that is
 * empty. Others that were inherited by that name are closed, and the service manager is told to forget
 * them. A negative errno: there is none, and region->memory is NULL. */
int region_prepare(struct region *region, struct inheritance *inheritance, enum inherit_kind kind,
		   uint16_t queue_num, size_t size, int (*check)(const void *memory, size_t size));

/* Bytes of it that are there: that somebody has touched. */
uint64_t region_taken(const struct region *region);

/* In a worker: its descriptor is closed, and the memory stays. */
void region_leave(struct region *region);

/* Takes one without memory. */
void region_release(struct region *region);

#endif
