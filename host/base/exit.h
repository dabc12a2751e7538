/* A script that ends the process by os.exit(). */
#ifndef HOST_EXIT_H
#define HOST_EXIT_H

/* From here on exit() is a fault of the script of that name: it is logged, and the status is
 * EX_SOFTWARE. Processes that are forked from this one end as they like. */
void exit_guard(const char *script);

/* It is not any more. */
void exit_release(void);

#endif
