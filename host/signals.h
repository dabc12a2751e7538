/* TERM and INT, as the processes of this program take them. */
#ifndef HOST_SIGNALS_H
#define HOST_SIGNALS_H

#include <signal.h>

enum signals_role {
	/* TERM and INT ask to stop; a second one ends the process at once, for a filter that never
	 * returns. */
	SIGNALS_ALONE,
	/* TERM asks to stop, however often it comes. INT is for the supervisor: a terminal sends it
	 * to all. */
	SIGNALS_WORKER
};

/* From here on what asks to stop sets *flag, and interrupts a system call that waits until
 * signals_interrupt_end() has been called. 0 or a negative errno. */
int signals_init(volatile int *flag, enum signals_role role);

/* The flag has been seen: nothing is set or interrupted any more. */
void signals_interrupt_end(void);

/* A supervisor's: blocks TERM, INT and CHLD and gives a signalfd(2) of them, which does not block.
 * *before is the mask to be set again in a worker, when it has its own handlers. Or a negative
 * errno. */
int signals_open(sigset_t *before);

#endif
