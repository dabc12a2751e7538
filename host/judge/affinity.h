/* Which processor core a worker runs on. */
#ifndef HOST_AFFINITY_H
#define HOST_AFFINITY_H

/* The number of cores that this process may run on, or a negative errno. */
int affinity_count(void);

/* The core for worker number index, from 0: these cores in ascending order, around and around. Or a
 * negative errno. */
int affinity_core(unsigned int index);

/* The number of processors, if this process may run on all of them and they are numbered from 0 up
 * without a gap: then a worker can be had on each that the kernel may choose a queue by. -EPERM: it
 * may not run on some; or another negative errno. */
int affinity_all(void);

/* Keeps this process on that core. 0 or a negative errno. */
int affinity_pin(int core);

#endif
