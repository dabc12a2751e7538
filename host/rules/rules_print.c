/* The rules as text: commands of iptables, or a file for nft -f. */
#include "command.h"
#include "rule_edit.h"
#include "rule_failure.h"
#include "rules.h"
#include "host/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* A chain that begins at a hook, as iptables has it. NULL in hook: the chain is a person's own. */
struct nft_chain {
	const char *hook, *type, *priority;
};

static struct nft_chain nft_chain_of(const char *table, const char *name)
{
	static const struct {
		const char *chain, *hook, *nat_priority;
	} hooks[] = {
		{"PREROUTING", "prerouting", "-100"},  {"INPUT", "input", "100"},
		{"FORWARD", "forward", NULL},	       {"OUTPUT", "output", "-100"},
		{"POSTROUTING", "postrouting", "100"},
	};
	static const struct {
		const char *table, *priority;
	} priorities[] = {{"raw", "-300"}, {"mangle", "-150"}, {"filter", "0"}, {"security", "50"}};
	struct nft_chain chain = {NULL, "filter", NULL};

	for (size_t i = 0; i < sizeof(priorities) / sizeof(priorities[0]); i++)
		if (strcmp(table, priorities[i].table) == 0)
			chain.priority = priorities[i].priority;
	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		if (strcmp(name, hooks[i].chain) == 0) {
			chain.hook = hooks[i].hook;
			if (strcmp(table, "nat") == 0)
				chain = (struct nft_chain){hooks[i].hook, "nat",
							   hooks[i].nat_priority};
			else if (strcmp(table, "mangle") == 0 && strcmp(name, "OUTPUT") == 0)
				chain.type = "route";
		}
	return chain;
}

static void print_nft(const struct rule_edit *edit, char *translation)
{
	/* nft 'add rule ip filter OUTPUT ...' */
	char *rule = strstr(translation, "add rule "), *end = rule ? strrchr(rule, '\'') : NULL;
	const char *family = rule && strncmp(rule + 9, "ip6 ", 4) == 0 ? "ip6" : "ip";
	const char *table = edit->rule.table, *name = edit->rule.chain;
	struct nft_chain chain = nft_chain_of(table, name);

	if (end)
		*end = '\0';
	printf("add table %s %s\n", family, table);
	if (chain.hook && chain.priority)
		printf("add chain %s %s %s { type %s hook %s priority %s; }\n", family, table, name,
		       chain.type, chain.hook, chain.priority);
	printf("%s\n", rule ? rule : translation);
}

static const char *const translators[] = {"iptables-translate", "ip6tables-translate"};

static int translate(const struct rule_edit *edit, unsigned int i, const struct options *options,
		     enum rule_family family)
{
	char *text;
	int status = command_run(edit->argv, COMMAND_ALL, &text, NULL), code = EX_OK;

	if (status == 0) {
		print_nft(edit, text);
	} else if (status < 0) {
		log_write(LOG_LEVEL_ERROR,
			  "--print-rules nft: cannot run %s: %s; install the package iptables",
			  translators[family], strerror(-status));
		code = EX_UNAVAILABLE;
	} else {
		rule_failure_cut(text);
		log_write(LOG_LEVEL_ERROR, "--rule '%s': %s (%s, status %d)", options->rules[i],
			  text, translators[family], status);
		code = EX_USAGE;
	}
	free(text);
	return code;
}

static int print_one(const struct options *options, unsigned int i, enum rule_family family)
{
	static const char *const programs[] = {"iptables", "ip6tables"};
	struct rule_edit edit;
	char *command;

	if (!rule_edit_start(&edit, options, i, family))
		return EX_OK;
	rule_edit_begin(&edit, options->print_nft ? translators[family] : programs[family], false);
	rule_edit_complete(&edit, options, family, "-A", NULL, options->queue_bypass);
	if (options->print_nft)
		return translate(&edit, i, options, family);
	command = rule_edit_text(&edit);
	if (!command) {
		log_write(LOG_LEVEL_ERROR, "not enough memory to print rules");
		return EX_OSERR;
	}
	puts(command);
	free(command);
	return EX_OK;
}

int rules_print(const struct options *options)
{
	int code = EX_OK;

	for (unsigned int i = 0; i < options->rule_count && code == EX_OK; i++)
		for (int family = 0; family < RULE_FAMILIES && code == EX_OK; family++)
			code = print_one(options, i, (enum rule_family)family);
	return code;
}
