/* Whose a rule is: the comment of rules that the program put in place. */
#ifndef HOST_RULE_OWNER_H
#define HOST_RULE_OWNER_H

#include <stdbool.h>
#include <stddef.h>

enum rule_owner {
	RULE_OWNER_OTHER,  /* none of this program's */
	RULE_OWNER_ALIVE,  /* another process, which runs */
	RULE_OWNER_GONE,   /* a process that has ended, or that cannot be seen from here */
	RULE_OWNER_BEFORE, /* this process, before it became what it is now */
	RULE_OWNER_SELF
};

/* "ipq-lua:PID:START:RUN" and ":NAME" where there is one (--name), START being the time at which the
 * process began and RUN the time now, which tells what a process was before it became another
 * version of the program. */
void rule_owner_tag(char *text, size_t size, const char *name);

/* Whether a comment of the program's has that name. */
bool rule_owner_has_name(const char *comment, const char *name);

/* Whose comment it is; tag is this process's. */
enum rule_owner rule_owner_of(const char *comment, const char *tag);

#endif
