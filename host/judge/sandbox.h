/* What a worker may ask of the kernel while it judges packets. */
#ifndef HOST_SANDBOX_H
#define HOST_SANDBOX_H

/* From here on all other system calls fail with EPERM, in all threads, for good. 0 or a negative
 * errno: nothing has changed then. */
int sandbox_enter(void);

#endif
