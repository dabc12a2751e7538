#include "rule_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Seconds. */
#define LOCK_WAIT "10"

bool rule_edit_start(struct rule_edit *edit, const struct options *options, unsigned int i,
		     enum rule_family family)
{
	char why[256];

	edit->count = 0;
	return rule_text_parse(&edit->rule, options->rules[i], why, sizeof(why)) &&
	       edit->rule.is_for[family];
}

void rule_edit_add(struct rule_edit *edit, const char *word)
{
	edit->argv[edit->count++] = word;
	edit->argv[edit->count] = NULL;
}

#define ADD(edit, ...)                                                         \
	do {                                                                   \
		const char *const list[] = {__VA_ARGS__};                      \
		for (size_t at = 0; at < sizeof(list) / sizeof(list[0]); at++) \
			rule_edit_add(edit, list[at]);                         \
	} while (0)

void rule_edit_begin(struct rule_edit *edit, const char *program, bool is_locking)
{
	edit->count = 0;
	rule_edit_add(edit, program);
	if (is_locking)
		ADD(edit, "-w", LOCK_WAIT);
}

/* What a filter sends itself would come back to it, and so on. */
static void add_loop_guard(struct rule_edit *edit, const struct options *options)
{
	if (strcmp(edit->rule.chain, "OUTPUT") != 0 && strcmp(edit->rule.chain, "POSTROUTING") != 0)
		return;
	snprintf(edit->guard, sizeof(edit->guard), "0x%x/0x%x", options->sent_mark,
		 options->sent_mark);
	ADD(edit, "-m", "mark", "!", "--mark", edit->guard);
}

static void add_target(struct rule_edit *edit, const struct options *options, bool is_bypass)
{
	unsigned int first = options->queue.queue_num, last = first + options->queue_count - 1;

	ADD(edit, "-j", "NFQUEUE");
	if (first == last)
		snprintf(edit->queues, sizeof(edit->queues), "%u", first);
	else
		snprintf(edit->queues, sizeof(edit->queues), "%u:%u", first, last);
	ADD(edit, first == last ? "--queue-num" : "--queue-balance", edit->queues);
	if (options->per_cpu && first != last)
		rule_edit_add(edit, "--queue-cpu-fanout");
	if (is_bypass)
		rule_edit_add(edit, "--queue-bypass");
}

void rule_edit_complete(struct rule_edit *edit, const struct options *options,
			enum rule_family family, const char *action, const char *comment,
			bool is_bypass)
{
	ADD(edit, "-t", edit->rule.table, action, edit->rule.chain);
	add_loop_guard(edit, options);
	edit->count += rule_text_matches(&edit->rule, family, edit->argv + edit->count);
	if (comment)
		ADD(edit, "-m", "comment", "--comment", comment);
	add_target(edit, options, is_bypass);
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

char *rule_edit_text(const struct rule_edit *edit)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (int i = 0; out && i < edit->count; i++) {
		if (i)
			putc(' ', out);
		put_word(out, edit->argv[i]);
	}
	if (out && fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}
