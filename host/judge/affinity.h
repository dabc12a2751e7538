/* Which processor core a worker runs on. */
#ifndef HOST_AFFINITY_H
#define HOST_AFFINITY_H

/* The number of cores that this process may run on, or a negative errno. */
int affinity_count(void);

/* The core for worker number index, from 0: these cores in ascending order, around and around. Or a
 * negative errno. */
int affinity_core(unsigned int index);

/* Keeps this process on that core. 0 or a negative errno. */
int affinity_pin(int core);

#endif
