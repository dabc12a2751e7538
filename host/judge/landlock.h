/* What a worker may write to: landlock(7), of Linux 5.13 and later. */
#ifndef HOST_LANDLOCK_H
#define HOST_LANDLOCK_H

#include "host/base/options.h"

enum {
	LANDLOCK_NONE,	       /* this kernel has none, or it is turned off */
	LANDLOCK_TRUNCATES = 3 /* from this version on it covers O_TRUNC and truncate(2) */
};

/* The version of it that the kernel has (its ABI); LANDLOCK_NONE: none. */
int landlock_version(void);

/* Has the process write, make, remove and rename nothing any more, but below the folders of
 * --writable, and to /dev/null, full, zero and tty. What is open already stays so, and what may be
 * read. Takes no_new_privs, and binds the calling thread alone: there must be no others. 0, also
 * where the kernel has none; or a negative errno, with *culprit as the folder that it is about, or
 * NULL. */
int landlock_enter(const struct options *options, const char **culprit);

#endif
