/* The rules of this network namespace that queue packets. */
#ifndef HOST_RULESET_H
#define HOST_RULESET_H

#include "command.h"
#include "rule_text.h"

/* iptables has two forms, for the kernel's two ways to keep rules. */
struct ruleset_program {
	const char *edit[RULE_FAMILIES]; /* by IP version */
	const char *list[RULE_FAMILIES];
};

enum { RULESET_PROGRAMS = 3 };

/* Those that are there, the one that the system prefers first, each form once. Gives their
 * number. */
int ruleset_programs(const struct ruleset_program *programs[RULESET_PROGRAMS]);

/* A rule, or an offload of flows around the queue. Borrowed until the function returns. */
struct ruleset_rule {
	const char *program; /* "iptables", "nft", ...: by which it is changed */
	const char *table;   /* with its family, where program is nft */
	const char *text;    /* as the program lists it */
	bool is_for[RULE_FAMILIES];
	bool is_offload;
	int first, last; /* queues */
	bool is_bypass;	 /* passes where nobody reads the queue */
	/* Of iptables' rules alone */
	const char *comment;		   /* the last; "" */
	const char *words[RULE_WORDS_MAX]; /* from "-A" on */
	int count;
};

typedef void ruleset_take(void *data, const struct ruleset_rule *rule);

/* Reads what iptables lists, by all its forms. False where one of them could not tell, which the
 * others may have: who may not read rules sees none. */
bool ruleset_iptables(ruleset_take *take, void *data, const struct command_meanwhile *meanwhile);

/* Reads what nft lists, by the words alone: "queue num 0", "queue to 0-3", "flow add @". Those
 * that iptables made are among them. False where nft is not there, or could not tell. */
bool ruleset_nft(ruleset_take *take, void *data);

#endif
