#include "options.h"
#include "log.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <luajit.h>

struct option_rule {
	const char *name;
	char letter;	      /* 0: long only */
	const char *argument; /* NULL: none */
	const char *help;
	bool (*apply)(struct options *options, const struct option_rule *rule, const char *value);
	long min, max;
};

static void wrong_value(const struct option_rule *rule, const char *value, const char *allowed)
{
	log_write(LOG_LEVEL_ERROR, "--%s %s: must be %s", rule->name, value, allowed);
}

static bool number(const struct option_rule *rule, const char *value, uint32_t *result)
{
	char allowed[64];
	char *end;
	long n;

	errno = 0;
	n = strtol(value, &end, 10);
	if (errno || end == value || *end || n < rule->min || n > rule->max) {
		snprintf(allowed, sizeof(allowed), "a whole number from %ld to %ld", rule->min,
			 rule->max);
		wrong_value(rule, value, allowed);
		return false;
	}
	*result = (uint32_t)n;
	return true;
}

static bool verdict(const struct option_rule *rule, const char *value, uint32_t *result)
{
	if (strcmp(value, "accept") == 0)
		*result = IPQ_ACCEPT;
	else if (strcmp(value, "drop") == 0)
		*result = IPQ_DROP;
	else
		wrong_value(rule, value, "accept or drop");
	return strcmp(value, "accept") == 0 || strcmp(value, "drop") == 0;
}

/* "N", which is N to N, or "N:M" */
static bool range(const char *value, long *first, long *last)
{
	char *end;

	errno = 0;
	*first = *last = strtol(value, &end, 10);
	if (end == value)
		return false;
	if (*end == ':') {
		value = end + 1;
		*last = strtol(value, &end, 10);
	}
	return end != value && !*end && !errno && *first <= *last;
}

static bool set_queue_num(struct options *options, const struct option_rule *rule,
			  const char *value)
{
	char allowed[96];
	long first, last;

	if (!range(value, &first, &last) || first < rule->min || last > rule->max ||
	    last - first >= OPTIONS_QUEUES_MAX) {
		snprintf(allowed, sizeof(allowed),
			 "a whole number from %ld to %ld, or N:M for at most %d of them from N up",
			 rule->min, rule->max, OPTIONS_QUEUES_MAX);
		wrong_value(rule, value, allowed);
		return false;
	}
	options->queue.queue_num = (uint16_t)first;
	options->queue_count = (unsigned int)(last - first) + 1;
	return true;
}

static bool set_default(struct options *options, const struct option_rule *rule, const char *value)
{
	return verdict(rule, value, &options->default_verdict);
}

static bool set_on_error(struct options *options, const struct option_rule *rule, const char *value)
{
	return verdict(rule, value, &options->error_verdict);
}

static bool set_copy_range(struct options *options, const struct option_rule *rule,
			   const char *value)
{
	options->copy_range_given = true;
	return number(rule, value, &options->queue.copy_range);
}

static bool set_maxlen(struct options *options, const struct option_rule *rule, const char *value)
{
	return number(rule, value, &options->queue.maxlen);
}

static bool set_fail_open(struct options *options, const struct option_rule *rule,
			  const char *value)
{
	(void)rule;
	(void)value;
	options->queue.flags |= IPQ_QUEUE_FAIL_OPEN;
	return true;
}

static bool set_no_gso(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)rule;
	(void)value;
	options->queue.flags &= ~(uint32_t)IPQ_QUEUE_GSO;
	return true;
}

static bool set_rcvbuf(struct options *options, const struct option_rule *rule, const char *value)
{
	return number(rule, value, &options->queue.rcvbuf);
}

static bool set_pin(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)rule;
	(void)value;
	options->pin = true;
	return true;
}

static bool set_spin(struct options *options, const struct option_rule *rule, const char *value)
{
	return number(rule, value, &options->spin_us);
}

static bool set_check(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)rule;
	(void)value;
	options->check = true;
	return true;
}

static bool set_read(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)rule;
	options->capture.read = value;
	return true;
}

static bool set_write(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)rule;
	options->capture.write = value;
	return true;
}

static bool set_filter(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)rule;
	options->capture.filter = value;
	return true;
}

static bool set_json(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)rule;
	(void)value;
	options->json = true;
	return true;
}

static bool set_new(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)rule;
	options->new_name = value;
	return true;
}

static bool set_test(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)rule;
	(void)value;
	options->test = true;
	return true;
}

static const struct option_rule rules[] = {
	{"queue-num", 'q', "N[:M]", "queue to read, or queues, each by a process (0)",
	 set_queue_num, 0, 65535},
	{"read", 'r', "FILE", "filter a capture file (- is standard input)", set_read, 0, 0},
	{"write", 'w', "FILE", "with -r: write what is accepted, as it is then", set_write, 0, 0},
	{"filter", 'F', "EXPR", "with -r: only what this pcap-filter(7) takes", set_filter, 0, 0},
	{"json", 0, NULL, "with -r: a line of JSON for each packet", set_json, 0, 0},
	{"default", 0, "VERDICT", "accept or drop, if the filter says nothing (accept)",
	 set_default, 0, 0},
	{"on-error", 0, "VERDICT", "accept or drop, if the filter raises (drop)", set_on_error, 0,
	 0},
	{"copy-range", 0, "N", "bytes of each packet that the filter sees (65531)", set_copy_range,
	 1, 65535},
	{"queue-maxlen", 0, "N", "packets that may wait in the kernel (1024)", set_maxlen, 1,
	 INT_MAX},
	{"fail-open", 0, NULL, "accept packets that a full queue would drop", set_fail_open, 0, 0},
	{"no-gso", 0, NULL, "have the kernel cut large packets to wire size", set_no_gso, 0, 0},
	{"rcvbuf", 0, "N", "socket buffer in bytes (enough for --queue-maxlen)", set_rcvbuf, 1024,
	 INT_MAX / 2},
	{"pin", 0, NULL, "keep each queue's process on a core of its own", set_pin, 0, 0},
	{"spin", 0, "US", "poll for so many microseconds before waiting (0)", set_spin, 0, 100000},
	{"check", 0, NULL, "load the script, say what is wrong, exit", set_check, 0, 0},
	/* Told above the list. */
	{"new", 0, "NAME", NULL, set_new, 0, 0},
	{"test", 0, "DIR", NULL, set_test, 0, 0},
	{"help", 'h', NULL, "this text; -V, --version: the version", NULL, 0, 0},
	{"version", 'V', NULL, NULL, NULL, 0, 0},
};

enum { RULES = sizeof(rules) / sizeof(rules[0]), FIRST_LONG = 256 };

static void usage(FILE *out)
{
	fputs("usage: ipq-lua [options] SCRIPT [key=value ...]      judge what Netfilter queues\n"
	      "       ipq-lua -r in.pcap [-w out.pcap] SCRIPT ...   judge a capture\n"
	      "       ipq-lua --new NAME        write a filter to start from, and its spec\n"
	      "       ipq-lua --test DIR ...    run the specs there (what follows is busted's)\n",
	      out);
	for (int i = 0; i < RULES; i++) {
		char name[64];

		if (!rules[i].help)
			continue;
		snprintf(name, sizeof(name), "--%s%s%s", rules[i].name,
			 rules[i].argument ? " " : "", rules[i].argument ? rules[i].argument : "");
		if (rules[i].letter)
			fprintf(out, "  -%c, %-20s  %s\n", rules[i].letter, name, rules[i].help);
		else
			fprintf(out, "      %-20s  %s\n", name, rules[i].help);
	}
	fputs("\nGive it packets:  iptables -A OUTPUT -p icmp -j NFQUEUE --queue-num 0\n"
	      "Exit status: 64 usage, 65 bad script, 66 no file, 69 no queue, 77 not permitted\n",
	      out);
}

/* getopt's own tables, made from the rules. */
static void getopt_tables(char *letters, struct option *longs)
{
	/* + keeps the script's arguments the script's. */
	*letters++ = '+';
	*letters++ = ':';
	for (int i = 0; i < RULES; i++) {
		longs[i] = (struct option){
			.name = rules[i].name,
			.has_arg = rules[i].argument ? required_argument : no_argument,
			.val = FIRST_LONG + i,
		};
		if (rules[i].letter) {
			*letters++ = rules[i].letter;
			if (rules[i].argument)
				*letters++ = ':';
		}
	}
	*letters = '\0';
	longs[RULES] = (struct option){.name = NULL};
}

static const struct option_rule *rule_of(int code)
{
	for (int i = 0; i < RULES; i++)
		if (code == FIRST_LONG + i || (rules[i].letter && code == rules[i].letter))
			return &rules[i];
	return NULL;
}

static enum options_result complain(int code, char **argv)
{
	const char *word = argv[optind - 1];
	const struct option_rule *rule = rule_of(optopt);

	if (code == ':')
		log_write(LOG_LEVEL_ERROR, "%s needs a value; see ipq-lua --help", word);
	else if (rule && optopt >= FIRST_LONG)
		log_write(LOG_LEVEL_ERROR, "--%s takes no value; see ipq-lua --help", rule->name);
	else if (optopt)
		log_write(LOG_LEVEL_ERROR, "unknown option -%c; see ipq-lua --help", optopt);
	else
		log_write(LOG_LEVEL_ERROR, "unknown option %s; see ipq-lua --help", word);
	return OPTIONS_WRONG;
}

static enum options_result apply(struct options *options, const struct option_rule *rule)
{
	if (rule->apply)
		return rule->apply(options, rule, optarg) ? OPTIONS_RUN : OPTIONS_WRONG;
	if (rule->letter == 'h')
		usage(stdout);
	else
		printf("ipq-lua %s (%s)\n", IPQ_VERSION, LUAJIT_VERSION);
	return OPTIONS_DONE;
}

static bool combination_check(const struct options *options)
{
	const struct ipq_capture_options *capture = &options->capture;

	if (!capture->read && (capture->write || capture->filter || options->json)) {
		log_write(LOG_LEVEL_ERROR,
			  "--write, --filter and --json go with --read; see ipq-lua --help");
		return false;
	}
	if (options->new_name) {
		log_write(LOG_LEVEL_ERROR, "--new takes a name alone; see ipq-lua --help");
		return false;
	}
	if (options->json && capture->write && strcmp(capture->write, "-") == 0) {
		log_write(LOG_LEVEL_ERROR, "--json and --write - both want standard output");
		return false;
	}
	return true;
}

/* They are the script's there, which is hardly what was meant. */
static void warn_misplaced(const struct options *options)
{
	for (int i = 0; i < options->argc; i++)
		for (int j = 0; j < RULES; j++)
			if (strncmp(options->argv[i], "--", 2) == 0 &&
			    strcmp(options->argv[i] + 2, rules[j].name) == 0)
				log_write(LOG_LEVEL_WARN,
					  "%s behind the script is an argument of the script; "
					  "options come before it",
					  options->argv[i]);
}

enum options_result options_parse(struct options *options, int argc, char **argv)
{
	struct option longs[RULES + 1];
	char letters[2 * RULES + 3];
	enum options_result result;
	int code;

	*options = (struct options){
		.queue_count = 1,
		.default_verdict = IPQ_ACCEPT,
		.error_verdict = IPQ_DROP,
	};
	ipq_queue_defaults(&options->queue);
	getopt_tables(letters, longs);
	/* What follows --test DIR is busted's. */
	while (!options->test && (code = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct option_rule *rule = rule_of(code);

		if (!rule)
			return complain(code, argv);
		result = apply(options, rule);
		if (result != OPTIONS_RUN)
			return result;
	}
	if (options->test) {
		options->argc = argc - optind + 1;
		options->argv = argv + optind - 1;
		return OPTIONS_RUN;
	}
	if (options->new_name && optind == argc)
		return OPTIONS_RUN;
	if (optind >= argc) {
		usage(stderr);
		return OPTIONS_WRONG;
	}
	if (!combination_check(options))
		return OPTIONS_WRONG;
	options->script = argv[optind];
	options->argc = argc - optind - 1;
	options->argv = argv + optind + 1;
	warn_misplaced(options);
	return OPTIONS_RUN;
}
