#include "host/base/base.h"
#include "host/judge/affinity.h"
#include "host/rules/rules.h"
#include "bindings/core_calls.h"
#include "lib/send/send.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <luajit.h>

/* A value that need not be given: it is NULL then. */
enum { OPTIONAL = 2 };

/* Of what an option is. */
enum scope { EITHER, LIVE, CAPTURE };

struct option_rule;

typedef bool set_option(struct options *options, const struct option_rule *rule, const char *value);

struct option_rule {
	const char *name;
	char letter;		   /* 0: long only */
	unsigned char takes_value; /* 0 or 1, or OPTIONAL */
	set_option *set;	   /* NULL: text is asked for */
	size_t at;		   /* of what it sets in struct options */
	double min, max;
	uint32_t bits;
	enum scope scope;
};

static void *place(struct options *options, const struct option_rule *rule)
{
	return (char *)options + rule->at;
}

static bool wrong_value(const struct option_rule *rule, const char *value, const char *allowed)
{
	log_write(LOG_LEVEL_ERROR, "--%s %s: must be %s", rule->name, value, allowed);
	return false;
}

static bool set_true(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)value;
	*(bool *)place(options, rule) = true;
	return true;
}

static bool set_false(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)value;
	*(bool *)place(options, rule) = false;
	return true;
}

static bool set_bits(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)value;
	*(uint32_t *)place(options, rule) |= rule->bits;
	return true;
}

static bool clear_bits(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)value;
	*(uint32_t *)place(options, rule) &= ~rule->bits;
	return true;
}

static bool set_text(struct options *options, const struct option_rule *rule, const char *value)
{
	*(const char **)place(options, rule) = value;
	return true;
}

/* A word that is forgotten has the next one in its place. */
static bool is_file_name(const struct option_rule *rule, const char *value)
{
	size_t len = strlen(value);

	if (value[0] == '-' && value[1])
		return wrong_value(rule, value,
				   "the name of a file, and this looks like an option "
				   "(./-NAME does not)");
	if (len >= 4 && strcmp(value + len - 4, ".lua") == 0)
		return wrong_value(rule, value,
				   "the name of a file, and this looks like the script");
	return true;
}

static bool set_file(struct options *options, const struct option_rule *rule, const char *value)
{
	return is_file_name(rule, value) && set_text(options, rule, value);
}

static bool set_number(struct options *options, const struct option_rule *rule, const char *value)
{
	char allowed[64];
	char *end;
	long n;

	errno = 0;
	n = strtol(value, &end, 10);
	if (errno || end == value || *end || (double)n < rule->min || (double)n > rule->max) {
		snprintf(allowed, sizeof(allowed), "a whole number from %.0f to %.0f", rule->min,
			 rule->max);
		return wrong_value(rule, value, allowed);
	}
	*(uint32_t *)place(options, rule) = (uint32_t)n;
	return true;
}

/* Seconds, kept as milliseconds. */
static bool set_seconds(struct options *options, const struct option_rule *rule, const char *value,
			bool may_be_zero)
{
	char allowed[64];
	char *end;
	double seconds = strtod(value, &end);

	if (end == value || *end || !((may_be_zero && seconds == 0) || seconds >= rule->min) ||
	    !(seconds <= rule->max)) {
		snprintf(allowed, sizeof(allowed), "seconds from %g to %.0f%s", rule->min,
			 rule->max, may_be_zero ? ", or 0 for no limit" : "");
		return wrong_value(rule, value, allowed);
	}
	*(uint32_t *)place(options, rule) = (uint32_t)(seconds * 1000 + 0.5);
	return true;
}

static bool set_time(struct options *options, const struct option_rule *rule, const char *value)
{
	return set_seconds(options, rule, value, true);
}

static bool set_stats(struct options *options, const struct option_rule *rule, const char *value)
{
	return set_seconds(options, rule, value ? value : "10", false);
}

/* One of two words: *at is whether it is the second. */
static bool is_second(const char *value, const char *first, const char *second, bool *at)
{
	*at = strcmp(value, second) == 0;
	return *at || strcmp(value, first) == 0;
}

static bool set_verdict(struct options *options, const struct option_rule *rule, const char *value)
{
	static const struct {
		const char *word;
		uint32_t number;
	} verdicts[] = {
		{"accept", IPQ_ACCEPT},
		{"drop", IPQ_DROP},
		{"reject", IPQ_REJECT | IPQ_REJECT_DEFAULT},
	};
	uint32_t *verdict = place(options, rule);
	uint32_t *reject = verdict == &options->default_verdict ? &options->default_reject
								: &options->error_reject;

	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
		if (strcmp(value, verdicts[i].word) == 0)
			return ipq_verdict_read(verdicts[i].number, verdict, reject) == 0;
	return wrong_value(rule, value, "accept, drop or reject");
}

static bool set_give_up(struct options *options, const struct option_rule *rule, const char *value)
{
	if (is_second(value, "verdict", "exit", place(options, rule)))
		return true;
	return wrong_value(rule, value, "verdict or exit");
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

static bool set_queues(struct options *options, const struct option_rule *rule, const char *value)
{
	char allowed[96];
	unsigned int from, to;
	long first, last;
	char end;

	/* As nft has it. */
	if (isdigit((unsigned char)value[0]) && sscanf(value, "%u-%u%c", &from, &to, &end) == 2) {
		snprintf(allowed, sizeof(allowed), "N or N:M: write %u:%u", from, to);
		return wrong_value(rule, value, allowed);
	}
	if (!range(value, &first, &last) || (double)first < rule->min || (double)last > rule->max ||
	    last - first >= OPTIONS_QUEUES_MAX) {
		snprintf(
			allowed, sizeof(allowed),
			"a whole number from %.0f to %.0f, or N:M for at most %d of them from N up",
			rule->min, rule->max, OPTIONS_QUEUES_MAX);
		return wrong_value(rule, value, allowed);
	}
	options->queue.queue_num = (uint16_t)first;
	options->queue_count = (unsigned int)(last - first) + 1;
	return true;
}

static bool set_log_level(struct options *options, const struct option_rule *rule,
			  const char *value)
{
	if (log_level_find(value, &options->log_level))
		return true;
	return wrong_value(rule, value, "debug, info, warn or error");
}

static bool set_top(struct options *options, const struct option_rule *rule, const char *value)
{
	(void)rule;
	options->top = true;
	options->top_pid = value;
	return true;
}

static bool set_name(struct options *options, const struct option_rule *rule, const char *value)
{
	if (!control_is_name(value))
		return wrong_value(rule, value,
				   "a name of up to 64 letters, digits, \"_\", \"-\", \".\", "
				   "\"@\" and \"\\\"");
	return set_text(options, rule, value);
}

static bool set_ctl(struct options *options, const struct option_rule *rule, const char *value)
{
	options->ctl = true;
	return !value || set_name(options, rule, value);
}

static bool set_copy_range(struct options *options, const struct option_rule *rule,
			   const char *value)
{
	options->copy_range_given = true;
	return set_number(options, rule, value);
}

/* One of an option that may be there several times. */
static bool add(const char **list, unsigned int *count, unsigned int most,
		const struct option_rule *rule, const char *value)
{
	if (*count == most) {
		log_write(LOG_LEVEL_ERROR, "--%s: %u of them are the most", rule->name, most);
		return false;
	}
	list[(*count)++] = value;
	return true;
}

static bool set_rule(struct options *options, const struct option_rule *rule, const char *value)
{
	return add(options->rules, &options->rule_count, OPTIONS_RULES_MAX, rule, value);
}

static bool set_writable(struct options *options, const struct option_rule *rule, const char *value)
{
	return add(options->writable, &options->writable_count, OPTIONS_WRITABLE_MAX, rule, value);
}

/* One file after the other. */
static bool set_read(struct options *options, const struct option_rule *rule, const char *value)
{
	struct ipq_capture_options *capture = &options->capture;

	if (!is_file_name(rule, value))
		return false;
	for (unsigned int i = 0; i < capture->read_count; i++)
		if (strcmp(value, "-") == 0 && strcmp(options->captures[i], "-") == 0)
			return wrong_value(rule, value,
					   "given once: standard input has one capture");
	capture->read = options->captures;
	return add(options->captures, &capture->read_count, OPTIONS_READ_MAX, rule, value);
}

static bool set_other(struct options *options, const struct option_rule *rule, const char *value)
{
	if (is_second(value, "accept", "drop", place(options, rule)))
		return true;
	return wrong_value(rule, value, "accept or drop");
}

static bool set_print_rules(struct options *options, const struct option_rule *rule,
			    const char *value)
{
	options->print_rules = true;
	if (is_second(value, "iptables", "nft", &options->print_nft))
		return true;
	return wrong_value(rule, value, "iptables or nft");
}

/* A number of a single bit, to its end or to the comma. NULL where it is none. */
static const char *single_bit(const char *text, uint32_t *bit)
{
	bool is_hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	char *end;
	unsigned long n;

	/* strtoul() takes blanks and signs, too. */
	if (!isxdigit((unsigned char)text[is_hex ? 2 : 0]))
		return NULL;
	errno = 0;
	n = strtoul(text, &end, is_hex ? 16 : 10);
	if (errno || end == text || n == 0 || n & (n - 1) || n > UINT32_MAX)
		return NULL;
	*bit = (uint32_t)n;
	return end;
}

static bool set_mark_bits(struct options *options, const struct option_rule *rule,
			  const char *value)
{
	uint32_t bypass = 0, sent = 0;
	const char *rest = single_bit(value, &bypass);

	rest = rest && *rest == ',' ? single_bit(rest + 1, &sent) : NULL;
	if (!rest || *rest || bypass == sent)
		return wrong_value(rule, value,
				   "two numbers with a comma between them, decimal or 0x, each a "
				   "single bit of 32 and not the same one: 0x40000000,0x20000000");
	options->bypass_mark = bypass;
	options->sent_mark = sent;
	return true;
}

#define AT(member) offsetof(struct options, member)

static const struct option_rule rules[] = {
	{"queue-num", 'q', true, set_queues, 0, 0, 65535, 0, LIVE},
	{"read", 'r', true, set_read, 0, 0, 0, 0, EITHER},
	{"write", 'w', true, set_file, AT(capture.write), 0, 0, 0, CAPTURE},
	{"write-dropped", 0, true, set_file, AT(capture.write_dropped), 0, 0, 0, CAPTURE},
	{"filter", 'F', true, set_text, AT(capture.filter), 0, 0, 0, CAPTURE},
	{"count", 'c', true, set_number, AT(capture.limit), 1, INT_MAX, 0, CAPTURE},
	{"other", 0, true, set_other, AT(capture.drops_other), 0, 0, 0, CAPTURE},
	{"fix-checksums", 0, false, set_true, AT(capture.mends), 0, 0, 0, CAPTURE},
	{"json", 0, false, set_true, AT(json), 0, 0, 0, EITHER},
	{"print", 0, false, set_true, AT(print), 0, 0, 0, CAPTURE},
	{"log-level", 0, true, set_log_level, 0, 0, 0, 0, EITHER},
	{"stats", 0, OPTIONAL, set_stats, AT(stats_ms), 0.1, 86400, 0, LIVE},
	{"metrics", 0, true, set_file, AT(metrics), 0, 0, 0, LIVE},
	{"default", 0, true, set_verdict, AT(default_verdict), 0, 0, 0, EITHER},
	{"on-error", 0, true, set_verdict, AT(error_verdict), 0, 0, 0, EITHER},
	{"copy-range", 0, true, set_copy_range, AT(queue.copy_range), 1, 65535, 0, EITHER},
	{"queue-maxlen", 0, true, set_number, AT(queue.maxlen), 1, INT_MAX, 0, EITHER},
	{"fail-open", 0, false, set_bits, AT(queue.flags), 0, 0, IPQ_QUEUE_FAIL_OPEN, LIVE},
	{"no-gso", 0, false, clear_bits, AT(queue.flags), 0, 0, IPQ_QUEUE_GSO, LIVE},
	{"rcvbuf", 0, true, set_number, AT(queue.rcvbuf), 1024, INT_MAX / 2, 0, LIVE},
	{"per-cpu", 0, false, set_true, AT(per_cpu), 0, 0, 0, LIVE},
	{"pin", 0, false, set_true, AT(pin), 0, 0, 0, LIVE},
	{"spin", 0, true, set_number, AT(spin_us), 0, 100000, 0, LIVE},
	{"time-limit", 0, true, set_time, AT(time_limit_ms), 0.01, 86400, 0, EITHER},
	{"memory-limit", 0, true, set_number, AT(memory_limit_mb), 8, 1 << 20, 0, LIVE},
	{"flow-memory", 0, true, set_number, AT(flow_memory_mb), 1, 1 << 20, 0, EITHER},
	{"stream-memory", 0, true, set_number, AT(stream_memory_mb), 1, 1 << 20, 0, EITHER},
	{"shared-memory", 0, true, set_number, AT(shared_memory_mb), 1, 1 << 20, 0, EITHER},
	{"max-restarts", 0, true, set_number, AT(max_restarts), 0, 1000000, 0, LIVE},
	{"on-give-up", 0, true, set_give_up, AT(exit_on_give_up), 0, 0, 0, LIVE},
	{"user", 0, true, set_text, AT(user), 0, 0, 0, LIVE},
	{"no-send", 0, false, set_true, AT(is_sending_forbidden), 0, 0, 0, EITHER},
	{"reject-rate", 0, true, set_number, AT(reject_rate), 0, 10000000, 0, EITHER},
	{"no-sandbox", 0, false, set_false, AT(is_sandboxed), 0, 0, 0, LIVE},
	{"writable", 0, true, set_writable, 0, 0, 0, 0, LIVE},
	{"watch", 0, false, set_true, AT(watch), 0, 0, 0, LIVE},
	{"rule", 0, true, set_rule, 0, 0, 0, 0, LIVE},
	{"queue-bypass", 0, false, set_true, AT(queue_bypass), 0, 0, 0, LIVE},
	{"mark-bits", 0, true, set_mark_bits, 0, 0, 0, 0, EITHER},
	{"print-rules", 0, true, set_print_rules, 0, 0, 0, 0, LIVE},
	{"remove-rules", 0, false, set_true, AT(remove_rules), 0, 0, 0, LIVE},
	{"doctor", 0, false, set_true, AT(doctor), 0, 0, 0, LIVE},
	{"check", 0, false, set_true, AT(check), 0, 0, 0, LIVE},
	{"new", 0, true, set_text, AT(new_name), 0, 0, 0, EITHER},
	{"top", 0, OPTIONAL, set_top, 0, 0, 0, 0, EITHER},
	{"name", 0, true, set_name, AT(name), 0, 0, 0, LIVE},
	{"ctl", 0, OPTIONAL, set_ctl, AT(ctl_name), 0, 0, 0, EITHER},
	/* What follows its value is for others to read. */
	{"test", 0, true, set_true, AT(test), 0, 0, 0, EITHER},
	{"help", 'h', false, NULL, 0, 0, 0, 0, EITHER},
	{"version", 'V', false, NULL, 0, 0, 0, 0, EITHER},
};

enum { RULES = sizeof(rules) / sizeof(rules[0]), FIRST_LONG = 256 };

/* On one screen. */
static const char usage_text[] =
	"usage: ipq-lua [options] SCRIPT [key=value ...]      judge what Netfilter queues\n"
	"       ipq-lua -r in.pcap [-w out.pcap] SCRIPT ...   judge a capture\n"
	"       ipq-lua --new NAME | --test DIR ... | --top [PID] | --ctl[=NAME] help\n\n"
	"  -q, --queue-num N[:M]     queue to read, or queues, each by a process (0)\n"
	"  -r, --read FILE           filter a capture file (- is standard input)\n"
	"  -w, --write FILE, --write-dropped FILE  with -r: what is accepted; dropped\n"
	"  -F, --filter EXPR, -c, --count N, --other VERDICT, --fix-checksums  with -r\n"
	"      --json, --print       log in JSON; with -r a line a packet, or as tcpdump\n"
	"      --log-level LEVEL, --stats[=S], --metrics FILE  how much it says (info)\n"
	"      --default, --on-error accept|drop|reject  where it says nothing, or raises\n"
	"      --copy-range, --queue-maxlen, --rcvbuf N  bytes of a packet; what may wait\n"
	"      --flow-memory, --stream-memory, --shared-memory MB  for each (64)\n"
	"      --fail-open, --no-gso accept what a full queue drops; cut large packets\n"
	"      --per-cpu, --pin, --spin US  a queue, a core for each; poll first\n"
	"      --time-limit S, --memory-limit MB  replace a process beyond them (1 s)\n"
	"      --max-restarts N, --on-give-up verdict|exit  when so many in a minute did\n"
	"      --user NAME, --writable DIR, --no-sandbox, --no-send, --reject-rate N\n"
	"                            as NAME; may write DIR; open all; send nothing, N\n"
	"      --rule RULE, --queue-bypass  put this iptables rule in place while running\n"
	"      --print-rules iptables|nft, --remove-rules, --mark-bits BYPASS,SENT\n"
	"      --check, --watch, --doctor, --name NAME  try, reload, look; for --ctl\n"
	"  -h, --help, -V, --version this text; the version\n"
	"Exit status: 2 filter raised, 64 usage, 65 script, 66 file, 69 queue, 77 rights\n";

/* getopt's own tables, made from the rules. */
static void getopt_tables(char *letters, struct option *longs)
{
	static const int has_arg[] = {no_argument, required_argument, optional_argument};

	/* + keeps the script's arguments the script's. */
	*letters++ = '+';
	*letters++ = ':';
	for (int i = 0; i < RULES; i++) {
		longs[i] = (struct option){
			.name = rules[i].name,
			.has_arg = has_arg[rules[i].takes_value],
			.val = FIRST_LONG + i,
		};
		if (rules[i].letter) {
			*letters++ = rules[i].letter;
			if (rules[i].takes_value)
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

/* "--default" of "--default=drop". */
static size_t name_length(const char *word)
{
	return strcspn(word, "=");
}

/* The option that a word was meant to be: one that begins with it, or is written much like it. NULL:
 * none is. */
static const char *meant(const char *word)
{
	const char *names[RULES];
	char name[64];
	int nearest;

	if (strncmp(word, "--", 2) != 0 || name_length(word) < 5)
		return NULL;
	snprintf(name, sizeof(name), "%.*s", (int)name_length(word) - 2, word + 2);
	for (int i = 0; i < RULES; i++) {
		names[i] = rules[i].name;
		if (strncmp(names[i], name, strlen(name)) == 0)
			return names[i];
	}
	nearest = ipq_nearest(name, names, RULES);
	return nearest < 0 ? NULL : names[nearest];
}

static void complain_unknown(const char *word)
{
	const char *name = meant(word);

	if (name)
		log_write(LOG_LEVEL_ERROR,
			  "unknown option %.*s; did you mean --%s? See ipq-lua --help",
			  (int)name_length(word), word, name);
	else
		log_write(LOG_LEVEL_ERROR, "unknown option %s; see ipq-lua --help", word);
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
		complain_unknown(word);
	return OPTIONS_WRONG;
}

static enum options_result complain_no_script(void)
{
	log_write(LOG_LEVEL_ERROR, "a script is missing: ipq-lua [options] SCRIPT [key=value ...]");
	fputs(usage_text, stderr);
	return OPTIONS_WRONG;
}

static enum options_result apply(struct options *options, const struct option_rule *rule)
{
	if (rule->set)
		return rule->set(options, rule, optarg) ? OPTIONS_RUN : OPTIONS_WRONG;
	if (rule->letter == 'h')
		fputs(usage_text, stdout);
	else
		printf("ipq-lua %s (%s)\n", IPQ_VERSION, LUAJIT_VERSION);
	return OPTIONS_DONE;
}

static bool is_stdout(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

/* There is one standard output. */
static bool output_check(const struct options *options)
{
	const char *write = options->capture.write, *dropped = options->capture.write_dropped;

	if (options->print && options->json) {
		log_write(LOG_LEVEL_ERROR, "--json and --print are two forms of the same lines; "
					   "choose one of them");
		return false;
	}
	if ((options->json || options->print) + is_stdout(write) + is_stdout(dropped) > 1) {
		log_write(LOG_LEVEL_ERROR,
			  "--json, --print, --write - and --write-dropped - all want standard "
			  "output, which one can have");
		return false;
	}
	if (write && dropped && strcmp(write, dropped) == 0) {
		log_write(LOG_LEVEL_ERROR, "--write and --write-dropped name the same file");
		return false;
	}
	return true;
}

/* live and capture are options that are of live queues alone, or of captures, if one was given. */
static bool combination_check(const struct options *options, const struct option_rule *live,
			      const struct option_rule *capture)
{
	if (capture && !options->capture.read) {
		log_write(LOG_LEVEL_ERROR, "--%s goes with --read; see ipq-lua --help",
			  capture->name);
		return false;
	}
	if (options->capture.read && live) {
		log_write(LOG_LEVEL_ERROR,
			  "--%s is of live packets, and does not go with --read; see ipq-lua "
			  "--help",
			  live->name);
		return false;
	}
	if ((options->queue_bypass || options->print_rules) && !options->rule_count) {
		log_write(LOG_LEVEL_ERROR, "--queue-bypass and --print-rules go with --rule");
		return false;
	}
	if (options->new_name) {
		log_write(LOG_LEVEL_ERROR, "--new takes a name alone; see ipq-lua --help");
		return false;
	}
	if (options->remove_rules) {
		log_write(LOG_LEVEL_ERROR,
			  "--remove-rules goes with --name alone; see ipq-lua --help");
		return false;
	}
	if (options->top) {
		log_write(LOG_LEVEL_ERROR,
			  "--top takes a process number alone; see ipq-lua --help");
		return false;
	}
	return output_check(options);
}

/* The queues of --per-cpu: from the first on one for each processor. */
static bool queues_per_cpu(struct options *options)
{
	int count = affinity_all();

	if (options->queue_count > 1) {
		log_write(LOG_LEVEL_ERROR,
			  "--per-cpu: how many queues there are is up to the processors; give the "
			  "first one, -q %u",
			  options->queue.queue_num);
		return false;
	}
	if (count == -EPERM) {
		log_write(LOG_LEVEL_ERROR,
			  "--per-cpu: this process may not run on all processors, on which packets "
			  "come (see taskset(1), and systemd's CPUAffinity=); go without");
		return false;
	}
	if (count <= 0 || count > OPTIONS_QUEUES_MAX ||
	    options->queue.queue_num + count - 1 > UINT16_MAX) {
		log_write(LOG_LEVEL_ERROR,
			  "--per-cpu: there is no queue for each of %d processors from %u up, and "
			  "for at most %d",
			  count, options->queue.queue_num, OPTIONS_QUEUES_MAX);
		return false;
	}
	options->queue_count = (unsigned int)count;
	options->pin = true;
	return true;
}

static bool is_option(const char *word, const struct option_rule *rule)
{
	if (strncmp(word, "--", 2) == 0)
		return strcmp(word + 2, rule->name) == 0;
	return rule->letter && word[0] == '-' && word[1] == rule->letter && word[2] == '\0';
}

/* They are the script's there, which is hardly what was meant. */
static void warn_misplaced(const struct options *options)
{
	for (int i = 0; i < options->argc; i++)
		for (int j = 0; j < RULES; j++)
			if (is_option(options->argv[i], &rules[j]))
				log_write(LOG_LEVEL_WARN,
					  "%s behind the script is an argument of the script; "
					  "options come before it",
					  options->argv[i]);
}

enum options_result options_parse(struct options *options, int argc, char **argv)
{
	struct option longs[RULES + 1];
	char letters[2 * RULES + 3];
	const struct option_rule *live = NULL, *capture = NULL;
	enum options_result result;
	int code;

	*options = (struct options){
		.queue_count = 1,
		.is_sandboxed = true,
		.default_verdict = IPQ_ACCEPT,
		.error_verdict = IPQ_DROP,
		.bypass_mark = IPQ_BYPASS_MARK,
		.sent_mark = IPQ_SENT_MARK,
		.log_level = LOG_LEVEL_INFO,
		.time_limit_ms = 1000,
		.max_restarts = 100,
		.flow_memory_mb = 64,
		.stream_memory_mb = 64,
		.shared_memory_mb = 64,
		.reject_rate = IPQ_REJECT_RATE,
	};
	ipq_queue_defaults(&options->queue);
	getopt_tables(letters, longs);
	/* What follows --test DIR is busted's. */
	while (!options->test && (code = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct option_rule *rule = rule_of(code);

		if (!rule)
			return complain(code, argv);
		live = rule->scope == LIVE ? rule : live;
		capture = rule->scope == CAPTURE ? rule : capture;
		result = apply(options, rule);
		if (result != OPTIONS_RUN)
			return result;
	}
	if (options->test) {
		options->argc = argc - optind + 1;
		options->argv = argv + optind - 1;
		options->argv[0] = optarg; /* without the "--test=" that may be before it */
		return OPTIONS_RUN;
	}
	if (options->new_name && optind == argc)
		return OPTIONS_RUN;
	if (options->top && !options->top_pid && optind < argc)
		options->top_pid = argv[optind++];
	if (options->top && optind == argc)
		return OPTIONS_RUN;
	if (options->ctl) {
		options->argc = argc - optind;
		options->argv = argv + optind;
		if (options->argc)
			return OPTIONS_RUN;
		log_write(LOG_LEVEL_ERROR, "--ctl takes a command; --ctl help lists them");
		return OPTIONS_WRONG;
	}
	if (options->remove_rules && optind == argc)
		return OPTIONS_RUN;
	if (optind >= argc && !options->doctor && !options->print_rules)
		return complain_no_script();
	if (!combination_check(options, live, capture) || !rules_check(options) ||
	    (options->per_cpu && !queues_per_cpu(options)))
		return OPTIONS_WRONG;
	if (optind >= argc)
		return OPTIONS_RUN;
	options->script = argv[optind];
	options->argc = argc - optind - 1;
	options->argv = argv + optind + 1;
	warn_misplaced(options);
	return OPTIONS_RUN;
}
