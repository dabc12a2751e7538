/*
 * The room of rules: those of --rule, which are in place while the program runs, and what looks at
 * others.
 *
 * Called by   host/supervise, which puts them in place when all workers run, and takes them away
 *             before it ends; host/options.c, which checks them; host/main.c, which has them
 *             printed; host/tools/doctor.c (rule_findings.h).
 *
 * How         rule_text.c takes apart what a person wrote, rule_edit.c makes a command of it,
 *             command.c runs that command, rule_failure.c says why iptables refused, rules_print.c
 *             prints instead. ruleset.c lists what is there, rule_owner.c tells whose it is,
 *             rule_findings.c what --doctor has to say of it.
 *
 * States      of struct rules: none is in place; some are (is_put, by rule and IP version), by one
 *             form of iptables (program).
 *
 * Always      All are in place or none. Rules are changed by "-A" of a rule and "-D" of that very
 *             rule alone ("-C" asks), and no shell is asked. A rule's comment tells whose it is:
 *             what a killed run left, a later one can find and take away.
 */
#ifndef HOST_RULES_H
#define HOST_RULES_H

#include <stdint.h>

#include "host/base/finding.h"
#include "host/base/options.h"
#include "ruleset.h"

struct rules {
	const struct options *options;
	const struct command_meanwhile *meanwhile;
	const struct ruleset_program *program; /* that put them in place */
	char tag[160];			       /* their comment: whose they are */
	bool is_put[OPTIONS_RULES_MAX][RULE_FAMILIES];
};

/* Whether these are rules, before anything is done. False with a message. */
bool rules_check(const struct options *options);

/* None is in place yet. meanwhile, or NULL, is what goes on while programs run that change rules:
 * they may wait for each other for seconds. */
void rules_init(struct rules *rules, const struct options *options,
		const struct command_meanwhile *meanwhile);

/* Puts them in place, behind what is in their chains, and then takes away what earlier runs left:
 * those of this process before it became another version of the program, those of processes that
 * are gone, whose queues nobody else reads, and all of gone ones of the same --name. Packets meet the old rule or the new one
 * meanwhile. An exit code, with a message and nothing left in place where it is not EX_OK. */
int rules_put(struct rules *rules);

/* Takes away those that are in place, and nothing else. With a message where that fails. */
void rules_remove(struct rules *rules);

/* Leaves them in place for another process on the same queues. */
void rules_leave(struct rules *rules);

enum rules_left {
	RULES_LEFT_BY_ALL,  /* see rules_put() */
	RULES_LEFT_BY_NAME, /* by processes of the same --name that are gone */
	RULES_LEFT_BY_SELF  /* before this process became what it is */
};

/* Takes away what earlier runs left. */
void rules_sweep(struct rules *rules, enum rules_left by);

/* The same for nobody in particular, with --name for runs of that name alone. An exit code. */
int rules_remove_left(const struct options *options);

/* Whether a rule was left by a run of the program that is over. */
bool rules_is_left_over(const struct rules *rules, const struct ruleset_rule *rule,
			enum rules_left by);

/* Has iptables look at them, and tells what it finds wrong. False where that is anything. Nothing
 * is put in place. */
bool rules_try(struct rules *rules, struct findings *findings);

/* Writes them to standard output, as commands of iptables or as a file for nft -f. An exit code. */
int rules_print(const struct options *options);

#endif
