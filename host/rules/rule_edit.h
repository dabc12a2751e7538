/* A rule of --rule as a command that changes iptables' rules. */
#ifndef HOST_RULE_EDIT_H
#define HOST_RULE_EDIT_H

#include "host/base/options.h"
#include "rule_text.h"

enum { RULE_EDIT_WORDS_MAX = RULE_WORDS_MAX + 32 };

struct rule_edit {
	struct rule_text rule;
	const char *argv[RULE_EDIT_WORDS_MAX + 1]; /* of the command, ends with NULL */
	int count;
	char queues[16];
	char guard[32]; /* a bit of a mark, as value and mask */
};

/* The rule with number i of the options, which were checked, and no command yet. False where it is
 * not for that IP version. */
bool rule_edit_start(struct rule_edit *edit, const struct options *options, unsigned int i,
		     enum rule_family family);

/* The command's beginning; is_locking: with the patience for the lock that iptables' processes take
 * in turn. */
void rule_edit_begin(struct rule_edit *edit, const char *program, bool is_locking);
void rule_edit_add(struct rule_edit *edit, const char *word);

/* Its rest, for rule_edit_start()'s rule: what is done to it ("-A", "-D", "-C"), the rule, and the
 * comment, unless it is NULL. */
void rule_edit_complete(struct rule_edit *edit, const struct options *options,
			enum rule_family family, const char *action, const char *comment,
			bool is_bypass);

/* The command as one types it into a shell, the caller's to free(). NULL: there is no memory. */
char *rule_edit_text(const struct rule_edit *edit);

#endif
