/* Signals, as the processes of this program take them. */
#ifndef HOST_SIGNALS_H
#define HOST_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/* What a signal asks for, as bits. */
enum signals_request {
	SIGNALS_STOP = 1,   /* take no more packets, judge those that wait */
	SIGNALS_LEAVE = 2,  /* end with the packets in hand; others wait for a successor */
	SIGNALS_RELOAD = 4, /* take the script anew */
};

enum signals_role {
	/* TERM and INT ask to stop; a second one ends the process at once. Where a filter does not
	 * return within a second of the first, that does. */
	SIGNALS_ALONE,
	/* TERM asks to stop, USR2 to leave, HUP to reload, however often they come. INT, QUIT and
	 * USR1 are for the supervisor: a terminal, or pkill, sends them to all. XCPU says that a
	 * packet takes too long. PIPE does nothing: what writes sees the error. */
	SIGNALS_WORKER
};

/* From here on what asks for something sets *flag. 0 or a negative errno. */
int signals_init(volatile int *flag, enum signals_role role);

/* The flag is about to go: nobody looks at it any more. Signals go on to be taken. */
void signals_forget(void);

/* Whether it interrupts a system call that waits, too, until signals_take() has been called: not
 * those of a script that is being loaded. */
void signals_interrupt(bool on);

/* What was asked for since the last time, as bits; *flag is 0 again. */
int signals_take(void);

/* What XCPU calls, in the handler; NULL: nothing. */
void signals_on_overtime(void (*function)(void *), void *data);

/* A supervisor's: blocks TERM, INT, QUIT, HUP, USR1, USR2, CHLD and PIPE and gives a signalfd(2) of
 * them, which does not block. *before is the mask to be set again in a worker, when it has its own
 * handlers. Or a negative errno. */
int signals_open(sigset_t *before);

#endif
