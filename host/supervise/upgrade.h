/* The program that is installed now, in the place of the one that runs. */
#ifndef HOST_UPGRADE_H
#define HOST_UPGRADE_H

#include <sys/types.h>

/* Starts the installed program with --check, to see whether it would run with this command line: it
 * must not take over if it cannot. Gives its process, or a negative errno. */
pid_t upgrade_check(void);

/* The file, and the command line. */
const char *upgrade_path(void);
char **upgrade_argv(void);

#endif
