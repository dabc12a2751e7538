/* Other programs: iptables and the like. No shell is in between. */
#ifndef HOST_COMMAND_H
#define HOST_COMMAND_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum command_streams {
	COMMAND_OUTPUT, /* what it prints */
	COMMAND_ALL	/* and what it complains of */
};

/* What is done ten times a second while one runs. */
struct command_meanwhile {
	void (*function)(void *data);
	void *data;
};

/* Where the program of that name is, by PATH and then where a person's PATH does not lead, for root
 * alone: /usr/sbin and /sbin. False: there is none. */
bool command_find(const char *name, char path[PATH_MAX]);

/* Runs a program to its end, argv[0] by command_find(), with an empty standard input, out of reach
 * of a terminal's signals. meanwhile may be NULL: nothing. *text is what it wrote, the caller's to
 * free(), never NULL where this gives no negative number. Gives its exit status, 128 + N where
 * signal N ended it; -ENOENT: there is no such program; -ETIMEDOUT: it had not ended within a
 * minute, and was killed; or another negative errno. */
int command_run(const char *const argv[], enum command_streams streams, char **text,
		const struct command_meanwhile *meanwhile);

#endif
