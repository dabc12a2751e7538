#include "rules.h"
#include "command.h"
#include "rule_edit.h"
#include "rule_failure.h"
#include "rule_owner.h"
#include "host/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* Of a system without iptables. */
static const struct ruleset_program none = {{"iptables", "ip6tables"}, {NULL}};

/* What puts a rule in place ("-A"), or takes it away ("-D"). */
static void edit_make(struct rule_edit *edit, const struct rules *rules, enum rule_family family,
		      const char *action, bool is_bypass)
{
	rule_edit_begin(edit, rules->program->edit[family], true);
	rule_edit_complete(edit, rules->options, family, action, rules->tag, is_bypass);
}

/* One of the rules, for one IP version. */
struct one {
	unsigned int number;
	enum rule_family family;
};

static int explain(const struct rules *rules, struct one one, const struct rule_failure *failure,
		   char *why, size_t size)
{
	return rule_failure_explain(failure, rules->options->rules[one.number], one.family,
				    rules->program->edit[one.family], why, size);
}

/* In place */

static bool has_ipv6(void)
{
	return access("/proc/net/if_inet6", F_OK) == 0;
}

/* Whether it may be there: a program that was killed has not told. */
static bool may_be_put(int status)
{
	return status == 0 || status == -ETIMEDOUT || status >= 128;
}

enum need {
	RULE_WANTED,
	RULE_SPARED,	/* it is for the other IP version, or for both, and there is no IPv6 */
	RULE_IMPOSSIBLE /* it is for IPv6 alone, and there is none */
};

/* Whether the rule is to be in place for that IP version. */
static enum need need_of(const struct rules *rules, struct one one)
{
	struct rule_edit edit;

	if (!rule_edit_start(&edit, rules->options, one.number, one.family))
		return RULE_SPARED;
	if (one.family == RULE_IPV4 || has_ipv6())
		return RULE_WANTED;
	return edit.rule.is_for[RULE_IPV4] ? RULE_SPARED : RULE_IMPOSSIBLE;
}

static struct rule_failure put_one(struct rules *rules, struct one one)
{
	struct rule_failure failure = {0, NULL};
	struct rule_edit edit;

	(void)rule_edit_start(&edit, rules->options, one.number, one.family);
	edit_make(&edit, rules, one.family, "-A", rules->options->queue_bypass);
	failure.status = command_run(edit.argv, COMMAND_ALL, &failure.text, rules->meanwhile);
	rules->is_put[one.number][one.family] = may_be_put(failure.status);
	return failure;
}

/* All or none. True where they are in place; else what failed, and why. */
static bool put_all(struct rules *rules, struct one *failed, struct rule_failure *failure)
{
	for (unsigned int i = 0; i < rules->options->rule_count; i++)
		for (int family = 0; family < RULE_FAMILIES; family++) {
			enum need need;

			*failed = (struct one){i, (enum rule_family)family};
			*failure = (struct rule_failure){-EAFNOSUPPORT, NULL};
			need = need_of(rules, *failed);
			if (need == RULE_SPARED)
				continue;
			if (need == RULE_WANTED)
				*failure = put_one(rules, *failed);
			if (failure->status != 0) {
				rules_remove(rules);
				return false;
			}
			free(failure->text);
		}
	return true;
}

static void tell_put(const struct rules *rules)
{
	for (unsigned int i = 0; i < rules->options->rule_count; i++) {
		bool both = rules->is_put[i][RULE_IPV4] && rules->is_put[i][RULE_IPV6];
		int one = rules->is_put[i][RULE_IPV4] ? RULE_IPV4 : RULE_IPV6;

		log_write(LOG_LEVEL_INFO, "rule '%s' is in place (%s%s%s)",
			  rules->options->rules[i], rules->program->edit[one], both ? ", " : "",
			  both ? rules->program->edit[RULE_IPV6] : "");
	}
}

/* The form of iptables that the system prefers may be one that its kernel cannot do. */
static int put_somehow(struct rules *rules)
{
	const struct ruleset_program *programs[RULESET_PROGRAMS];
	int count = ruleset_programs(programs), code;
	/* Of the preferred one. */
	struct rule_failure failure = {-ENOENT, NULL};
	struct one failed = {0, RULE_IPV4};
	char why[RULE_WHY_SIZE];

	for (int i = 0; i < count; i++) {
		struct rule_failure later;
		struct one later_failed;

		rules->program = programs[i];
		if (put_all(rules, i ? &later_failed : &failed, i ? &later : &failure)) {
			free(i ? failure.text : NULL);
			tell_put(rules);
			return EX_OK;
		}
		if (i)
			free(later.text);
		if (i == 0 && !rule_failure_is_of_form(&failure))
			break;
	}
	/* What the preferred one says. */
	rules->program = count ? programs[0] : &none;
	code = explain(rules, failed, &failure, why, sizeof(why));
	log_write(LOG_LEVEL_ERROR, "%s", why);
	rules->program = NULL;
	free(failure.text);
	return code;
}

/* Looks for the rule, which is not there yet: no form of iptables that understands it says more. */
static struct rule_failure try_one(struct rules *rules, struct one one)
{
	const struct ruleset_program *programs[RULESET_PROGRAMS];
	int count = ruleset_programs(programs);
	struct rule_failure failure = {-ENOENT, NULL};

	rules->program = count ? programs[0] : &none;
	for (int i = 0; i < count; i++) {
		struct rule_failure now = {0, NULL};
		struct rule_edit edit;

		rules->program = programs[i];
		(void)rule_edit_start(&edit, rules->options, one.number, one.family);
		edit_make(&edit, rules, one.family, "-C", rules->options->queue_bypass);
		now.status = command_run(edit.argv, COMMAND_ALL, &now.text, NULL);
		if (now.status != 0 && now.status != RULE_OTHER_PROBLEM && i == 0) {
			failure = now;
			if (rule_failure_is_of_form(&failure))
				continue;
			return failure;
		}
		free(now.text);
		if (now.status == 0 || now.status == RULE_OTHER_PROBLEM) {
			failure.status = 0;
			return failure;
		}
	}
	rules->program = count ? programs[0] : &none;
	return failure;
}

bool rules_try(struct rules *rules, struct findings *findings)
{
	const struct ruleset_program *programs[RULESET_PROGRAMS];
	bool is_fine = true, has_some = ruleset_programs(programs) > 0;

	for (unsigned int i = 0; i < rules->options->rule_count; i++)
		for (int family = 0; family < RULE_FAMILIES; family++) {
			struct one one = {i, (enum rule_family)family};
			enum need need = need_of(rules, one);
			struct rule_failure failure = {0, NULL};
			char why[RULE_WHY_SIZE];

			if (need == RULE_WANTED)
				failure = try_one(rules, one);
			else if (need == RULE_IMPOSSIBLE)
				failure.status = -EAFNOSUPPORT;
			if (failure.status != 0) {
				(void)explain(rules, one, &failure, why, sizeof(why));
				finding(findings, FINDING_PROBLEM, "%s", why);
				is_fine = false;
			}
			free(failure.text);
			/* It would be told of each. */
			if (!has_some)
				return false;
		}
	rules->program = NULL;
	return is_fine;
}

bool rules_check(const struct options *options)
{
	struct rule_text rule;
	char why[256];

	for (unsigned int i = 0; i < options->rule_count; i++)
		if (!rule_text_parse(&rule, options->rules[i], why, sizeof(why))) {
			log_write(LOG_LEVEL_ERROR, "--rule '%s': %s", options->rules[i], why);
			return false;
		}
	return true;
}

void rules_init(struct rules *rules, const struct options *options,
		const struct command_meanwhile *meanwhile)
{
	*rules = (struct rules){.options = options, .meanwhile = meanwhile};
	rule_owner_tag(rules->tag, sizeof(rules->tag), options->name);
}

int rules_put(struct rules *rules)
{
	int code = put_somehow(rules);

	rules_sweep(rules, RULES_LEFT_BY_ALL);
	return code;
}

/* Whether the rule is as it should be: gone, or there. */
static bool run_or_warn(const struct rules *rules, const struct rule_edit *edit)
{
	char *text, *command;
	int status = command_run(edit->argv, COMMAND_ALL, &text, rules->meanwhile);
	/* Somebody else was faster. */
	bool is_gone = status > 0 && strstr(text, "does a matching rule exist");

	if (status != 0 && !is_gone) {
		command = rule_edit_text(edit);
		if (text)
			rule_failure_cut(text);
		log_write(LOG_LEVEL_ERROR, "a rule could not be changed: %s; say \"%s\"",
			  text ? text : strerror(-status), command ? command : edit->argv[0]);
		free(command);
	}
	free(text);
	return status == 0 || is_gone;
}

/* The last first. One that could not be taken away is still in place, for another try. */
void rules_remove(struct rules *rules)
{
	for (unsigned int i = rules->options->rule_count; i-- > 0;)
		for (int family = RULE_FAMILIES; family-- > 0;) {
			struct rule_edit edit;

			if (!rules->is_put[i][family] ||
			    !rule_edit_start(&edit, rules->options, i, (enum rule_family)family))
				continue;
			edit_make(&edit, rules, (enum rule_family)family, "-D",
				  rules->options->queue_bypass);
			rules->is_put[i][family] = !run_or_warn(rules, &edit);
		}
}

void rules_leave(struct rules *rules)
{
	memset(rules->is_put, 0, sizeof(rules->is_put));
}

/* Left by others */

static bool is_read_by_others(const struct options *options, const struct ruleset_rule *rule)
{
	int first = options->queue.queue_num, last = first + (int)options->queue_count - 1;
	struct ipq_procfs_queue status;

	for (int i = rule->first; i <= rule->last && i < rule->first + OPTIONS_QUEUES_MAX; i++)
		if ((i < first || i > last) && ipq_procfs_queue((uint16_t)i, &status) == 0)
			return true;
	return false;
}

bool rules_is_left_over(const struct rules *rules, const struct ruleset_rule *rule,
			enum rules_left by)
{
	switch (rule_owner_of(rule->comment, rules->tag)) {
	case RULE_OWNER_BEFORE: return true;
	/* Of a process in another PID namespace nothing is seen but that its queue is read. */
	case RULE_OWNER_GONE:
		if (rules->options->name &&
		    rule_owner_has_name(rule->comment, rules->options->name))
			return by != RULES_LEFT_BY_SELF;
		return by == RULES_LEFT_BY_ALL && !is_read_by_others(rules->options, rule);
	default: return false;
	}
}

struct sweep {
	const struct rules *rules;
	enum rules_left by;
};

static void tell_swept(const struct rules *rules, const struct ruleset_rule *rule)
{
	bool is_own = rule_owner_of(rule->comment, rules->tag) == RULE_OWNER_BEFORE;

	log_write(LOG_LEVEL_INFO, "%s is taken away: %s %s",
		  is_own ? "the rule of the program before the upgrade"
			 : "a rule that an earlier run left",
		  rule->program, rule->text);
}

static void sweep_one(void *data, const struct ruleset_rule *rule)
{
	const struct sweep *sweep = data;
	struct rule_edit edit;

	if (rule->is_offload || !rules_is_left_over(sweep->rules, rule, sweep->by))
		return;
	rule_edit_begin(&edit, rule->program, true);
	rule_edit_add(&edit, "-t");
	rule_edit_add(&edit, rule->table);
	rule_edit_add(&edit, "-D");
	for (int i = 1; i < rule->count; i++)
		rule_edit_add(&edit, rule->words[i]);
	if (run_or_warn(sweep->rules, &edit))
		tell_swept(sweep->rules, rule);
}

int rules_remove_left(const struct options *options)
{
	struct options no_queues = *options;
	struct rules rules;

	/* It reads no queue, so that all that are read are others'. */
	no_queues.queue_count = 0;
	rules_init(&rules, &no_queues, NULL);
	rules_sweep(&rules, options->name ? RULES_LEFT_BY_NAME : RULES_LEFT_BY_ALL);
	return EX_OK;
}

void rules_sweep(struct rules *rules, enum rules_left by)
{
	struct sweep sweep = {rules, by};

	(void)ruleset_iptables(sweep_one, &sweep, rules->meanwhile);
}
