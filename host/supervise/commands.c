/* What may be asked on the control socket. */
#include "supervisor.h"
#include "host/base/base.h"
#include "host/figures/streams.h"
#include "lib/send/send.h"
#include "lib/stream/stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Writes "text", made by a function. */
static void put_text(FILE *out, const struct supervisor *s,
		     void (*put)(FILE *text, const struct supervisor *s))
{
	char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);

	if (memory)
		put(memory, s);
	control_put_text(out, memory && fclose(memory) == 0 ? text : "not enough memory");
	free(text);
}

static const char *state_of(const struct queue *queue)
{
	static const char *const names[] = {
		[CHILD_LOADING] = "loading",	 [CHILD_LOADED] = "starting",
		[CHILD_READY] = "ready",	 [CHILD_RESTORING] = "restoring",
		[CHILD_RUNNING] = "judging",	 [CHILD_SAVING] = "saving",
		[CHILD_HANDED] = "handing over", [CHILD_RETIRING] = "retiring",
	};
	const struct child *owner = &queue->child[QUEUE_OWNER];

	if (queue->is_given_up)
		return "given up";
	return owner->pid ? names[owner->stage] : "without a worker";
}

static void put_queue_lines(FILE *text, const struct supervisor *s)
{
	for (unsigned int i = 0; i < s->queues.count; i++) {
		const struct queue *queue = &s->queues.of[i];

		fprintf(text, "%squeue %u: %s, process %d, %" PRIu32 " packets wait, %u restarts",
			i ? "\n" : "", queue->num, state_of(queue), queue->child[QUEUE_OWNER].pid,
			queue->overflow.waiting, queue->restarts);
	}
}

static int answer_queues(struct supervisor *s, FILE *out)
{
	statistics_overflow(s);
	put_text(out, s, put_queue_lines);
	fputs(",\"result\":[", out);
	for (unsigned int i = 0; i < s->queues.count; i++) {
		const struct queue *queue = &s->queues.of[i];

		fprintf(out,
			"%s{\"queue\":%u,\"state\":\"%s\",\"pid\":%d,\"waiting\":%" PRIu32
			",\"restarts\":%u}",
			i ? "," : "", queue->num, state_of(queue), queue->child[QUEUE_OWNER].pid,
			queue->overflow.waiting, queue->restarts);
	}
	fputs("]", out);
	return 0;
}

static void put_stats_lines(FILE *text, const struct supervisor *s)
{
	static const struct stats nothing;

	for (unsigned int i = 0; i < s->queues.count; i++) {
		fprintf(text, "%squeue %u", i ? "\n" : "", s->queues.of[i].num);
		stats_put_line(text, &s->statistics.now[i], &nothing, 0);
	}
}

static void put_not_sent(FILE *out, const struct ipq_counters *counters)
{
	fputs(",\"not_sent\":{", out);
	for (int reason = 1; reason < IPQ_UNSENT_REASONS; reason++)
		fprintf(out, "%s\"%s\":%" PRIu64, reason > 1 ? "," : "", ipq_unsent_word(reason),
			counters->unsent[reason]);
	fputs("}", out);
}

static void put_streams(FILE *out, const struct ipq_counters *counters)
{
	fputs(",\"streams\":{", out);
	for (uint32_t i = 0; i < IPQ_STREAMS_COUNTS; i++)
		fprintf(out, "%s\"%s\":%" PRIu64, i ? "," : "", ipq_streams_word(i),
			counters->streams[i]);
	fputs("}", out);
}

static void put_stats_object(FILE *out, const struct stats *stats)
{
	const struct ipq_counters *c = &stats->counters;

	fprintf(out,
		"{\"queue\":%" PRIu32 ",\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64
		",\"accepted\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"queued\":%" PRIu64
		",\"repeated\":%" PRIu64 ",\"stopped\":%" PRIu64 ",\"errors\":%" PRIu64
		",\"oversized\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"malformed\":%" PRIu64
		",\"sent\":%" PRIu64 ",\"rejected\":%" PRIu64 ",\"own\":%" PRIu64
		",\"restarts\":%" PRIu32,
		stats->queue_num, c->packets, c->bytes, c->accepted, c->dropped, c->queued,
		c->repeated, c->stopped, c->errors, c->oversized, c->refused, c->malformed, c->sent,
		c->rejected, c->own, stats->restarts);
	put_not_sent(out, c);
	if (streams_is_any(c))
		put_streams(out, c);
	if (stats->flow_bytes)
		fprintf(out, ",\"flows\":%" PRIu32, stats->flows);
	if (stats->is_lost_known)
		fprintf(out, ",\"lost\":%" PRIu32, stats->queue_full + stats->socket_full);
	fputs(",\"script\":{", out);
	for (uint32_t i = 0, put = 0; i < IPQ_SCRIPT_COUNTERS_MAX; i++) {
		const struct ipq_counter *counter = stats_counter(stats, i);

		/* NaN and infinity are no numbers in JSON. */
		if (counter && counter->value - counter->value == 0)
			fprintf(out, "%s\"%s\":%.17g", put++ ? "," : "", counter->name,
				counter->value);
	}
	fputs("}}", out);
}

static int answer_stats(struct supervisor *s, FILE *out)
{
	statistics_overflow(s);
	statistics_count(s);
	put_text(out, s, put_stats_lines);
	fputs(",\"result\":[", out);
	for (unsigned int i = 0; i < s->queues.count; i++) {
		fputs(i ? "," : "", out);
		put_stats_object(out, &s->statistics.now[i]);
	}
	fputs("]", out);
	return 0;
}

static int answer_reload(struct supervisor *s, FILE *out)
{
	if (is_ending(s)) {
		control_put_text(out, "the program is about to end");
		return 1;
	}
	reload_begin(s);
	return CONTROL_LATER;
}

static int answer_version(struct supervisor *s, FILE *out)
{
	(void)s;
	control_put_text(out, IPQ_VERSION);
	fputs(",\"result\":\"" IPQ_VERSION "\"", out);
	return 0;
}

static int answer_help(struct supervisor *s, FILE *out);

static const struct {
	const char *name, *help;
	int (*answer)(struct supervisor *s, FILE *out);
} commands[] = {
	{"help", "this text", answer_help},
	{"version", "of the program that runs", answer_version},
	{"queues", "who judges which, and what waits", answer_queues},
	{"stats", "what was counted since the start", answer_stats},
	{"reload", "takes the script anew, and says what came of it", answer_reload},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void put_help_lines(FILE *text, const struct supervisor *s)
{
	(void)s;
	for (int i = 0; i < COMMANDS; i++)
		fprintf(text, "%s%-8s  %s", i ? "\n" : "", commands[i].name, commands[i].help);
}

static int answer_help(struct supervisor *s, FILE *out)
{
	put_text(out, s, put_help_lines);
	return 0;
}

int commands_answer(void *data, const char *line, FILE *out)
{
	for (int i = 0; i < COMMANDS; i++)
		if (strcmp(line, commands[i].name) == 0)
			return commands[i].answer(data, out);
	control_put_text(out, "there is no such command; help lists them");
	return 1;
}
