/* What a process takes of the machine's memory. */
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

/* Bytes resident that are its own: not shared with others, and not files. 0 where it is gone. */
uint64_t memory_of(pid_t pid);

#endif
