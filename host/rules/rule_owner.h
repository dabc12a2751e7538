/* Whose a rule is: the comment of rules that the program put in place. */
#ifndef HOST_OWNER_H
#define HOST_OWNER_H

#include <stddef.h>

enum owner {
	OWNER_OTHER,  /* none of this program's */
	OWNER_ALIVE,  /* another process, which runs */
	OWNER_GONE,   /* a process that has ended, or that cannot be seen from here */
	OWNER_BEFORE, /* this process, before it became what it is now */
	OWNER_SELF
};

/* "ipq-lua:PID:START:RUN", START being the time at which the process began and RUN the time now,
 * which tells what a process was before it became another version of the program. */
void owner_tag(char *text, size_t size);

/* Whose comment it is; tag is this process's. */
enum owner owner_of(const char *comment, const char *tag);

#endif
