#include "rules.h"
#include "command.h"
#include "log.h"
#include "owner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* Commands */

/* Seconds for the lock that iptables' processes take in turn. */
#define LOCK_WAIT "10"

enum { EDIT_WORDS_MAX = RULE_WORDS_MAX + 32 };

/* What puts a rule in place ("-A"), or takes it away ("-D"). */
struct edit {
	struct rule_text rule;
	const char *argv[EDIT_WORDS_MAX];
	int count;
	char queues[16];
};

static void add(struct edit *edit, const char *word)
{
	edit->argv[edit->count++] = word;
	edit->argv[edit->count] = NULL;
}

#define ADD(edit, ...)                                                         \
	do {                                                                   \
		const char *const list[] = {__VA_ARGS__};                      \
		for (size_t at = 0; at < sizeof(list) / sizeof(list[0]); at++) \
			add(edit, list[at]);                                   \
	} while (0)

/* What a filter sends itself would come back to it, and so on. */
static void add_loop_guard(struct edit *edit)
{
	_Static_assert(IPQ_SENT_MARK == 0x20000000, "the text below");
	if (strcmp(edit->rule.chain, "OUTPUT") == 0 || strcmp(edit->rule.chain, "POSTROUTING") == 0)
		ADD(edit, "-m", "mark", "!", "--mark", "0x20000000/0x20000000");
}

static void add_target(struct edit *edit, const struct options *options, const char *tag,
		       bool is_bypass)
{
	unsigned int first = options->queue.queue_num, last = first + options->queue_count - 1;

	if (tag)
		ADD(edit, "-m", "comment", "--comment", tag);
	ADD(edit, "-j", "NFQUEUE");
	if (first == last)
		snprintf(edit->queues, sizeof(edit->queues), "%u", first);
	else
		snprintf(edit->queues, sizeof(edit->queues), "%u:%u", first, last);
	ADD(edit, first == last ? "--queue-num" : "--queue-balance", edit->queues);
	if (is_bypass)
		ADD(edit, "--queue-bypass");
}

/* False where rule i is not for that IP version. The options were checked. */
static bool edit_start(struct edit *edit, const struct options *options, unsigned int i,
		       enum rule_family family)
{
	char why[256];

	edit->count = 0;
	return rule_text_parse(&edit->rule, options->rules[i], why, sizeof(why)) &&
	       edit->rule.is_for[family];
}

static void edit_make(struct edit *edit, const struct rules *rules, enum rule_family family,
		      const char *command, bool is_bypass)
{
	ADD(edit, rules->program->edit[family], "-w", LOCK_WAIT, "-t", edit->rule.table, command,
	    edit->rule.chain);
	add_loop_guard(edit);
	edit->count += rule_text_matches(&edit->rule, family, edit->argv + edit->count);
	add_target(edit, rules->options, rules->tag, is_bypass);
}

/* Messages */

/* What came of a rule; status and text are command_run()'s. */
struct failure {
	unsigned int rule;
	enum rule_family family;
	int status;
	char *text;
};

/* iptables' first line, which says what is wrong. */
static void first_line(char *text)
{
	/* iptables-nft has a remark before it. */
	while (text[0] == '#' && strchr(text, '\n'))
		memmove(text, strchr(text, '\n') + 1, strlen(strchr(text, '\n')));
	text[strcspn(text, "\n")] = '\0';
}

/* xtables.h: enum xtables_exittype */
enum { OTHER_PROBLEM = 1, PARAMETER_PROBLEM = 2 };

enum { WHY_SIZE = RULE_TEXT_MAX + 1024 };

/* Of a system without iptables. */
static const struct ruleset_program none = {{"iptables", "ip6tables"}, {NULL}};

static const char *remedy(int status, const char *text, enum rule_family family)
{
	if (strstr(text, "Permission denied") || strstr(text, "must be root"))
		return "run it as root";
	if (strstr(text, "lock file"))
		return "iptables must be able to write that file, as root, and in a sandbox too "
		       "(systemd: ReadWritePaths=-/run/xtables.lock)";
	if (strstr(text, "xtables lock"))
		return "another program changes rules and does not end: find it by \"fuser "
		       "/run/xtables.lock\"";
	if (family == RULE_IPV6)
		return "see ip6tables(8), or say -4 in the rule, which is for IPv4 alone then";
	if (status == PARAMETER_PROBLEM)
		return "see iptables(8) and iptables-extensions(8)";
	return "the chain, the matches and NFQUEUE must be there: see \"iptables -S\", and "
	       "\"modprobe "
	       "xt_NFQUEUE\"";
}

static int exit_code(int status, const char *text)
{
	if (status == PARAMETER_PROBLEM)
		return EX_USAGE;
	return strstr(text, "Permission denied") || strstr(text, "must be root") ? EX_NOPERM
										 : EX_UNAVAILABLE;
}

/* Why a rule is not in place. An exit code. */
static int explain(const struct rules *rules, const struct failure *failure, char *why, size_t size)
{
	const char *rule = rules->options->rules[failure->rule];
	const char *name = rules->program->edit[failure->family];
	int status = failure->status;

	if (status == -ENOENT)
		snprintf(why, size, "--rule '%s': %s is not there; apt-get install iptables%s",
			 rule, name, failure->family == RULE_IPV6 ? ", or say -4 in the rule" : "");
	else if (status == -EAFNOSUPPORT)
		snprintf(why, size,
			 "--rule '%s': it is for IPv6 alone, which this system has not; leave it "
			 "out",
			 rule);
	else if (status < 0)
		snprintf(why, size, "--rule '%s': cannot run %s: %s; it has to end by itself", rule,
			 name, strerror(-status));
	if (status < 0)
		return EX_UNAVAILABLE;
	first_line(failure->text);
	snprintf(why, size, "--rule '%s': %s (%s, status %d); %s", rule, failure->text, name,
		 status, remedy(status, failure->text, failure->family));
	return exit_code(status, failure->text);
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

/* Whether the rule is to be in place for that IP version. It can be neither wanted nor spared:
 * status says so then. */
static bool is_wanted(const struct rules *rules, struct failure *failure)
{
	struct edit edit;

	failure->status = 0;
	if (!edit_start(&edit, rules->options, failure->rule, failure->family))
		return false;
	if (failure->family == RULE_IPV4 || has_ipv6())
		return true;
	if (!edit.rule.is_for[RULE_IPV4])
		failure->status = -EAFNOSUPPORT;
	return false;
}

static bool put_one(struct rules *rules, struct failure *failure)
{
	struct edit edit;

	if (!is_wanted(rules, failure))
		return failure->status == 0;
	(void)edit_start(&edit, rules->options, failure->rule, failure->family);
	edit_make(&edit, rules, failure->family, "-A", rules->options->queue_bypass);
	failure->status = command_run(edit.argv, COMMAND_ALL, &failure->text, rules->meanwhile);
	rules->is_put[failure->rule][failure->family] = may_be_put(failure->status);
	if (failure->status != 0)
		return false;
	free(failure->text);
	return true;
}

/* All or none. */
static bool put_all(struct rules *rules, struct failure *failure)
{
	for (unsigned int i = 0; i < rules->options->rule_count; i++)
		for (int family = 0; family < RULE_FAMILIES; family++) {
			*failure = (struct failure){i, (enum rule_family)family, 0, NULL};
			if (!put_one(rules, failure)) {
				rules_remove(rules);
				return false;
			}
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

/* Whether another form of iptables may do what this one could not. */
static bool is_of_form(const struct failure *failure)
{
	return failure->status > 0 && failure->status != PARAMETER_PROBLEM &&
	       !strstr(failure->text, "xtables lock");
}

/* The form of iptables that the system prefers may be one that its kernel cannot do. */
static int put_somehow(struct rules *rules)
{
	const struct ruleset_program *programs[RULESET_PROGRAMS];
	int count = ruleset_programs(programs), code = EX_OK;
	struct failure failure = {0, RULE_IPV4, -ENOENT, NULL};
	char why[WHY_SIZE];

	for (int i = 0; i < count; i++) {
		struct failure later;

		rules->program = programs[i];
		if (put_all(rules, i ? &later : &failure)) {
			free(i ? failure.text : NULL);
			return EX_OK;
		}
		if (i)
			free(later.text);
		if (i == 0 && !is_of_form(&failure))
			break;
	}
	/* What the preferred one says. */
	rules->program = count ? programs[0] : &none;
	code = explain(rules, &failure, why, sizeof(why));
	log_write(LOG_LEVEL_ERROR, "%s", why);
	rules->program = NULL;
	free(failure.text);
	return code;
}

/* Looks for the rule, which is not there yet: no form of iptables that understands it says more. */
static void try_one(struct rules *rules, struct failure *failure)
{
	const struct ruleset_program *programs[RULESET_PROGRAMS];
	int count = ruleset_programs(programs);

	rules->program = count ? programs[0] : &none;
	failure->status = -ENOENT;
	for (int i = 0; i < count; i++) {
		struct failure now = *failure;
		struct edit edit;

		rules->program = programs[i];
		(void)edit_start(&edit, rules->options, failure->rule, failure->family);
		edit_make(&edit, rules, failure->family, "-C", rules->options->queue_bypass);
		now.status = command_run(edit.argv, COMMAND_ALL, &now.text, NULL);
		if (now.status != 0 && now.status != OTHER_PROBLEM && i == 0) {
			*failure = now;
			if (is_of_form(failure))
				continue;
			return;
		}
		free(now.text);
		if (now.status == 0 || now.status == OTHER_PROBLEM) {
			failure->status = 0;
			return;
		}
	}
	rules->program = count ? programs[0] : &none;
}

bool rules_try(struct rules *rules, struct findings *findings)
{
	const struct ruleset_program *programs[RULESET_PROGRAMS];
	bool is_fine = true, has_some = ruleset_programs(programs) > 0;

	for (unsigned int i = 0; i < rules->options->rule_count; i++)
		for (int family = 0; family < RULE_FAMILIES; family++) {
			struct failure failure = {i, (enum rule_family)family, 0, NULL};
			char why[WHY_SIZE];

			if (is_wanted(rules, &failure))
				try_one(rules, &failure);
			if (failure.status != 0) {
				(void)explain(rules, &failure, why, sizeof(why));
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
	owner_tag(rules->tag, sizeof(rules->tag));
}

int rules_put(struct rules *rules)
{
	int code = put_somehow(rules);

	rules_sweep(rules, RULES_LEFT_BY_ALL);
	if (code == EX_OK)
		tell_put(rules);
	return code;
}

/* A word as a shell takes it. */
static void put_word(FILE *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_./:,=+@%";

	if (word[0] && !word[strspn(word, plain)]) {
		fputs(word, out);
		return;
	}
	putc('\'', out);
	for (; *word; word++)
		if (*word == '\'')
			fputs("'\\''", out);
		else
			putc(*word, out);
	putc('\'', out);
}

/* The command as one types it, the caller's to free(). NULL: there is no memory. */
static char *join(const char *const argv[])
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (int i = 0; out && argv[i]; i++) {
		if (i)
			putc(' ', out);
		put_word(out, argv[i]);
	}
	if (out && fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/* Whether it did what it should. */
static bool run_or_warn(const struct rules *rules, const char *const argv[])
{
	char *text, *command;
	int status = command_run(argv, COMMAND_ALL, &text, rules->meanwhile);
	/* Somebody else was faster. */
	bool is_gone = status > 0 && strstr(text, "does a matching rule exist");

	if (status != 0 && !is_gone) {
		command = join(argv);
		if (text)
			first_line(text);
		log_write(LOG_LEVEL_ERROR, "a rule could not be changed: %s; say \"%s\"",
			  text ? text : strerror(-status), command ? command : argv[0]);
		free(command);
	}
	free(text);
	return status == 0;
}

/* Those in place, the last first. */
static void each_put(struct rules *rules,
		     void (*function)(struct rules *, struct edit *, enum rule_family))
{
	for (unsigned int i = rules->options->rule_count; i-- > 0;)
		for (int family = RULE_FAMILIES; family-- > 0;) {
			struct edit edit;

			if (!rules->is_put[i][family])
				continue;
			rules->is_put[i][family] = false;
			if (edit_start(&edit, rules->options, i, (enum rule_family)family))
				function(rules, &edit, (enum rule_family)family);
		}
}

static void remove_one(struct rules *rules, struct edit *edit, enum rule_family family)
{
	edit_make(edit, rules, family, "-D", rules->options->queue_bypass);
	(void)run_or_warn(rules, edit->argv);
}

void rules_remove(struct rules *rules)
{
	each_put(rules, remove_one);
}

/* With the bypass first, without it no more then: packets that come between them meet one. */
static void leave_one(struct rules *rules, struct edit *edit, enum rule_family family)
{
	if (rules->options->queue_bypass)
		return;
	edit_make(edit, rules, family, "-A", true);
	(void)run_or_warn(rules, edit->argv);
	edit->count = 0;
	remove_one(rules, edit, family);
}

void rules_leave(struct rules *rules)
{
	each_put(rules, leave_one);
}

/* Left by others */

static bool is_read_by_others(const struct options *options, const struct ruleset_rule *rule)
{
	int first = options->queue.queue_num, last = first + (int)options->queue_count - 1;
	struct ipq_queue_status status;

	for (int i = rule->first; i <= rule->last && i < rule->first + OPTIONS_QUEUES_MAX; i++)
		if ((i < first || i > last) && ipq_queue_status((uint16_t)i, &status) == 0)
			return true;
	return false;
}

bool rules_is_left_over(const struct rules *rules, const struct ruleset_rule *rule,
			enum rules_left by)
{
	switch (owner_of(rule->comment, rules->tag)) {
	case OWNER_BEFORE: return true;
	/* Of a process in another PID namespace nothing is seen but that its queue is read. */
	case OWNER_GONE: return by == RULES_LEFT_BY_ALL && !is_read_by_others(rules->options, rule);
	default: return false;
	}
}

struct sweep {
	const struct rules *rules;
	enum rules_left by;
};

static void sweep_one(void *data, const struct ruleset_rule *rule)
{
	const struct sweep *sweep = data;
	struct edit edit = {.count = 0};

	if (rule->is_offload || !rules_is_left_over(sweep->rules, rule, sweep->by))
		return;
	ADD(&edit, rule->program, "-w", LOCK_WAIT, "-t", rule->table, "-D");
	for (int i = 1; i < rule->count; i++)
		add(&edit, rule->words[i]);
	if (run_or_warn(sweep->rules, edit.argv))
		log_write(LOG_LEVEL_INFO, "a rule that an earlier run left is taken away: %s %s",
			  rule->program, rule->text);
}

void rules_sweep(struct rules *rules, enum rules_left by)
{
	struct sweep sweep = {rules, by};

	(void)ruleset_iptables(sweep_one, &sweep, rules->meanwhile);
}

/* As text */

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

static void print_nft(const struct edit *edit, char *translation)
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

static int translate(const struct edit *edit, unsigned int i, const struct options *options,
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
		first_line(text);
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
	struct edit edit;
	char *command;

	if (!edit_start(&edit, options, i, family))
		return EX_OK;
	ADD(&edit, options->print_nft ? translators[family] : programs[family], "-t",
	    edit.rule.table, "-A", edit.rule.chain);
	add_loop_guard(&edit);
	edit.count += rule_text_matches(&edit.rule, family, edit.argv + edit.count);
	add_target(&edit, options, NULL, options->queue_bypass);
	if (options->print_nft)
		return translate(&edit, i, options, family);
	command = join(edit.argv);
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
