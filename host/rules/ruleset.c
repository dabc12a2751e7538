#include "ruleset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Programs */

static const struct ruleset_program all[RULESET_PROGRAMS] = {
	{{"iptables", "ip6tables"}, {"iptables-save", "ip6tables-save"}},
	{{"iptables-legacy", "ip6tables-legacy"},
	 {"iptables-legacy-save", "ip6tables-legacy-save"}},
	{{"iptables-nft", "ip6tables-nft"}, {"iptables-nft-save", "ip6tables-nft-save"}},
};

/* What its name is a link to; "" where it is not there. */
static void real_path(const char *name, char real[PATH_MAX])
{
	char path[PATH_MAX];

	if (!command_find(name, path) || !realpath(path, real))
		real[0] = '\0';
}

int ruleset_programs(const struct ruleset_program *programs[RULESET_PROGRAMS])
{
	char real[RULESET_PROGRAMS][PATH_MAX];
	int count = 0;

	for (int i = 0; i < RULESET_PROGRAMS; i++) {
		bool is_new;

		real_path(all[i].edit[RULE_IPV4], real[i]);
		is_new = real[i][0] != '\0';
		for (int j = 0; j < i; j++)
			is_new = is_new && strcmp(real[i], real[j]) != 0;
		if (is_new)
			programs[count++] = &all[i];
	}
	return count;
}

/* Lines */

/* Calls function for each line, without its end. The text is changed. */
static void each_line(char *text, void (*function)(void *, char *), void *data)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		char *next = text + len + (text[len] == '\n');

		text[len] = '\0';
		function(data, text);
		text = next;
	}
}

/* "N", "N:M", "N-M" */
static bool range_parse(const char *text, int *first, int *last)
{
	char end;
	int count = sscanf(text, "%d%*1[:-]%d%c", first, last, &end);

	if (count == 1)
		*last = *first;
	return count >= 1 && *first >= 0 && *first <= *last && *last <= 65535;
}

/* iptables-save */

struct listing {
	ruleset_take *take;
	void *data;
	const struct command_meanwhile *meanwhile;
	const char *program;
	enum rule_family family;
	char table[128];
};

/* What the words of a rule say of queues. False where they say nothing. */
static bool words_look(struct ruleset_rule *rule)
{
	bool is_queue = false;

	for (int i = 0; i < rule->count; i++) {
		const char *word = rule->words[i];
		const char *value = i + 1 < rule->count ? rule->words[i + 1] : "";

		if (strcmp(word, "-j") == 0) {
			is_queue = strcmp(value, "NFQUEUE") == 0 || strcmp(value, "QUEUE") == 0;
			rule->is_offload = strcmp(value, "FLOWOFFLOAD") == 0;
		} else if (strcmp(word, "--queue-num") == 0 ||
			   strcmp(word, "--queue-balance") == 0) {
			is_queue = is_queue && range_parse(value, &rule->first, &rule->last);
		} else if (strcmp(word, "--queue-bypass") == 0) {
			rule->is_bypass = true;
		} else if (strcmp(word, "--comment") == 0) {
			rule->comment = value;
		}
	}
	return is_queue || rule->is_offload;
}

static void iptables_line(void *data, char *line)
{
	struct listing *listing = data;
	struct ruleset_rule rule = {
		.program = listing->program,
		.table = listing->table,
		.text = line,
		.comment = "",
	};
	char *words[RULE_WORDS_MAX], *copy;

	rule.is_for[listing->family] = true;
	if (line[0] == '*')
		snprintf(listing->table, sizeof(listing->table), "%s", line + 1);
	if (strncmp(line, "-A ", 3) != 0)
		return;
	copy = strdup(line);
	rule.count = copy ? rule_words(copy, words, RULE_WORDS_MAX) : -1;
	for (int i = 0; i < rule.count; i++)
		rule.words[i] = words[i];
	if (rule.count > 0 && words_look(&rule))
		listing->take(listing->data, &rule);
	free(copy);
}

static bool list_one(const struct ruleset_program *program, enum rule_family family,
		     struct listing *listing)
{
	const char *const argv[] = {program->list[family], NULL};
	char *text, path[PATH_MAX];
	int ret;

	if (!command_find(argv[0], path))
		return family == RULE_IPV6;
	ret = command_run(argv, COMMAND_OUTPUT, &text, listing->meanwhile);
	if (ret < 0)
		return false;
	listing->program = program->edit[family];
	listing->family = family;
	each_line(text, iptables_line, listing);
	free(text);
	return ret == 0;
}

bool ruleset_iptables(ruleset_take *take, void *data, const struct command_meanwhile *meanwhile)
{
	const struct ruleset_program *programs[RULESET_PROGRAMS];
	int count = ruleset_programs(programs);
	bool is_known = count > 0;

	for (int i = 0; i < count; i++)
		for (int family = 0; family < RULE_FAMILIES; family++) {
			struct listing listing = {
				.take = take, .data = data, .meanwhile = meanwhile};

			if (!list_one(programs[i], (enum rule_family)family, &listing))
				is_known = false;
		}
	return is_known;
}

/* nft list ruleset */

/* What may follow the word, so that it is not the name of something. */
static bool is_queue_statement(const char *queue)
{
	static const char *const next[] = {"num ", "to ", "flags ", "bypass", "fanout", "comment "};
	const char *rest = queue + strlen("queue");

	if (*rest == '\0')
		return true;
	if (*rest++ != ' ')
		return false;
	for (size_t i = 0; i < sizeof(next) / sizeof(next[0]); i++)
		if (strncmp(rest, next[i], strlen(next[i])) == 0)
			return true;
	return *rest >= '0' && *rest <= '9';
}

/* "queue num 0", "queue to 0-3", "queue flags bypass,fanout num 0-3", "queue 3", "queue" */
static bool queue_look(const char *line, struct ruleset_rule *rule)
{
	const char *queue = strncmp(line, "queue", 5) == 0 ? line : strstr(line, " queue");
	const char *comment = strstr(line, " comment \"");
	const char *number;

	if (!queue || (comment && comment < queue) || !is_queue_statement(queue + (*queue == ' ')))
		return false;
	number = strstr(queue, " num ");
	if (!number)
		number = strstr(queue, " to ");
	number = number ? strchr(number + 1, ' ') : queue + (*queue == ' ') + strlen("queue");
	if (!range_parse(number, &rule->first, &rule->last))
		rule->first = rule->last = 0;
	rule->is_bypass = strstr(queue, "bypass") != NULL;
	return true;
}

static void families_of(const char *table, bool is_for[RULE_FAMILIES])
{
	is_for[RULE_IPV4] = strncmp(table, "ip ", 3) == 0 || strncmp(table, "inet ", 5) == 0;
	is_for[RULE_IPV6] = strncmp(table, "ip6 ", 4) == 0 || strncmp(table, "inet ", 5) == 0;
}

static void nft_line(void *data, char *line)
{
	struct listing *listing = data;
	struct ruleset_rule rule = {
		.program = "nft",
		.table = listing->table,
		.comment = "",
	};

	line += strspn(line, " \t");
	rule.text = line;
	if (strncmp(line, "table ", 6) == 0) {
		snprintf(listing->table, sizeof(listing->table), "%.*s",
			 (int)strcspn(line + 6, "{") - 1, line + 6);
		return;
	}
	families_of(listing->table, rule.is_for);
	rule.is_offload = strstr(line, "flow add @") || strstr(line, "flow offload @");
	if (rule.is_offload || queue_look(line, &rule))
		listing->take(listing->data, &rule);
}

bool ruleset_nft(ruleset_take *take, void *data)
{
	static const char *const argv[] = {"nft", "list", "ruleset", NULL};
	struct listing listing = {.take = take, .data = data};
	char *text;
	int ret = command_run(argv, COMMAND_OUTPUT, &text, NULL);

	if (ret < 0)
		return false;
	each_line(text, nft_line, &listing);
	free(text);
	return ret == 0;
}
