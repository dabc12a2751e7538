/* TERM and INT, turned into a flag. */
#ifndef HOST_SIGNALS_H
#define HOST_SIGNALS_H

/* From here on TERM and INT ask to stop: they set *flag, and interrupt a system call that waits
 * until signals_interrupt_end() has been called. A second one ends the process at once, for a
 * filter that never returns. 0 or a negative errno. */
int signals_init(volatile int *flag);

/* The flag has been seen: nothing is set or interrupted any more. */
void signals_interrupt_end(void);

#endif
