/* TERM and INT, turned into a flag. */
#ifndef HOST_SIGNALS_H
#define HOST_SIGNALS_H

#include <stdbool.h>

/* From here on TERM and INT ask to stop, and interrupt a waiting system call until
 * signals_stopping() has been seen. A second one ends the process at once, for a filter that never
 * returns. 0 or a negative errno. */
int signals_init(void);

bool signals_stopping(void);

#endif
