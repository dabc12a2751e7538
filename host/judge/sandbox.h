/* What a worker may ask of the kernel while it judges packets. */
#ifndef HOST_SANDBOX_H
#define HOST_SANDBOX_H

#include <stdbool.h>

/* From here on all other system calls fail with EPERM, in all threads, for good. may_truncate:
 * files may be cut off, where something else (landlock.h) sees to which. 0 or a negative errno:
 * nothing has changed then. */
int sandbox_enter(bool may_truncate);

#endif
