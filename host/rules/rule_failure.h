/* Why iptables did not do what it was asked for, in words. */
#ifndef HOST_RULE_FAILURE_H
#define HOST_RULE_FAILURE_H

#include <stddef.h>

#include "rule_text.h"

enum { RULE_WHY_SIZE = RULE_TEXT_MAX + 1024 };

/* xtables.h: enum xtables_exittype */
enum { RULE_OTHER_PROBLEM = 1, RULE_PARAMETER_PROBLEM = 2 };

/* What came of a rule that was not put in place. */
struct rule_failure {
	int status; /* command_run()'s; -EAFNOSUPPORT: the system has no such IP version */
	char *text; /* what iptables wrote, the owner's to free(); NULL: nothing */
};

/* Why the rule, as it was given, is not in place for that IP version; program is iptables' name.
 * Cuts the text to the line that matters. An exit code. */
int rule_failure_explain(const struct rule_failure *failure, const char *rule,
			 enum rule_family family, const char *program, char *why, size_t size);

/* Whether another form of iptables may do what this one could not. */
bool rule_failure_is_of_form(const struct rule_failure *failure);

/* Leaves of what iptables wrote the line that says what is wrong. */
void rule_failure_cut(char *text);

#endif
