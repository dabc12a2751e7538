/* What a worker may ask of the kernel while it judges packets. */
#ifndef HOST_SANDBOX_H
#define HOST_SANDBOX_H

#include <stdbool.h>

enum { SANDBOX_PROBES = 2 };

/* From here on all other system calls fail with EPERM, in all threads, for good. may_truncate:
 * files may be cut off, where something else (landlock.h) sees to which. probes: descriptors that
 * may be connected, SANDBOX_PROBES of them, -1 where there is none; NULL: none may. 0 or a negative
 * errno: nothing has changed then. */
int sandbox_enter(bool may_truncate, const int *probes);

#endif
