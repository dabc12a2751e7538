/* The command line: any words, and what is asked for is within what the options say. */
#include "fuzz.h"
#include "host/base/log.h"
#include "host/base/options.h"
#include "host/rules/rule_text.h"

#include <getopt.h>
#include <stdarg.h>

enum { WORDS_MAX = 32 };

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The program's help goes nowhere. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	stdout = stderr = fopen("/dev/null", "w");
	return 0;
}

/* In the place of host/log.c. */
void log_write(enum log_level level, const char *format, ...)
{
	char text[256];
	va_list args;

	CHECK(level <= LOG_LEVEL_ERROR);
	va_start(args, format);
	CHECK(vsnprintf(text, sizeof(text), format, args) > 0);
	va_end(args);
}

bool log_level_find(const char *name, enum log_level *level)
{
	*level = LOG_LEVEL_WARN;
	return strcmp(name, "warn") == 0;
}

/* What would have iptables do anything but match packets. */
static bool is_command(const char *word)
{
	static const char *const commands[] = {"-A",	  "-D",	   "-F",    "-I", "-X",
					       "-P",	  "-j",	   "-g",    "-t", "--append",
					       "--flush", "--del", "--jump"};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(word, commands[i]) == 0)
			return true;
	return false;
}

static void rule_check(const char *text)
{
	const char *words[RULE_WORDS_MAX];
	struct rule_text rule;
	char why[256];

	CHECK(rule_text_parse(&rule, text, why, sizeof(why)));
	CHECK(rule.chain[0] && rule.chain[0] != '-' && rule.table[0] != '-');
	CHECK(rule.is_for[RULE_IPV4] || rule.is_for[RULE_IPV6]);
	for (int family = 0; family < RULE_FAMILIES; family++) {
		int count = rule_text_matches(&rule, (enum rule_family)family, words);

		CHECK(count >= 0 && count <= RULE_WORDS_MAX / 2);
		for (int i = 0; i < count; i++)
			CHECK(!is_command(words[i]));
	}
}

static bool is_one_bit(uint32_t n)
{
	return n && !(n & (n - 1));
}

static void run_check(const struct options *o, int argc, char **argv)
{
	CHECK(o->argc >= 0 && o->argc <= argc);
	CHECK(o->argv == NULL || (o->argv > argv && o->argv + o->argc == argv + argc));
	CHECK(o->default_verdict == IPQ_ACCEPT || o->default_verdict == IPQ_DROP);
	CHECK(o->error_verdict == IPQ_ACCEPT || o->error_verdict == IPQ_DROP);
	CHECK(o->queue_count >= 1 && o->queue_count <= OPTIONS_QUEUES_MAX);
	CHECK(o->queue.queue_num + o->queue_count - 1 <= UINT16_MAX && o->spin_us <= 1000000);
	CHECK(o->queue.maxlen >= 1 && o->queue.copy_range >= 1);
	CHECK(o->queue.copy_range <= IPQ_PACKET_MAX);
	CHECK(o->rule_count <= OPTIONS_RULES_MAX);
	CHECK(is_one_bit(o->bypass_mark) && is_one_bit(o->sent_mark));
	CHECK(o->bypass_mark != o->sent_mark);
	if (o->test) {
		/* The folder of the specs comes first, however it was given. */
		CHECK(o->argc >= 1 && strcmp(o->argv[0], optarg) == 0);
		return;
	}
	if (o->new_name) {
		CHECK(o->script == NULL);
		return;
	}
	if (o->top || o->ctl || (o->remove_rules && !o->script))
		return;
	for (unsigned int i = 0; i < o->rule_count; i++)
		rule_check(o->rules[i]);
	CHECK(o->script ? o->argv[-1] == o->script : o->doctor || o->print_rules);
	CHECK(o->capture.read ? !o->rule_count && !o->doctor
			      : !o->capture.write && !o->capture.filter);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = malloc(len + 1);
	char program[] = "ipq-lua";
	char *argv[WORDS_MAX + 1] = {program};
	struct options options;
	int argc = 1;
	enum options_result result;

	CHECK(text);
	memcpy(text, bytes, len);
	text[len] = 0;
	for (size_t at = 0; at < len && argc < WORDS_MAX; at += strlen(text + at) + 1)
		argv[argc++] = text + at;
	optind = 0; /* getopt begins anew */
	result = options_parse(&options, argc, argv);
	CHECK(result == OPTIONS_RUN || result == OPTIONS_DONE || result == OPTIONS_WRONG);
	if (result == OPTIONS_RUN)
		run_check(&options, argc, argv);
	free(text);
	return 0;
}
