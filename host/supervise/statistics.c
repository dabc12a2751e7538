/* Statistics: in the page that others read, in the log, and in the file of metrics. */
#include "notify.h"
#include "supervisor.h"
#include "host/base/base.h"
#include "host/figures/metrics.h"
#include "host/figures/sent.h"
#include "lib/flow/flow.h"
#include "lib/flow/shared.h"
#include "lib/send/send.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	OVERFLOW_INTERVAL_MS = 1000,
	HINT_AFTER_S = 5,
	LOOK_INTERVAL_MS = 1000,
	METRICS_INTERVAL_MS = 15000,
	STATUS_INTERVAL_MS = 5000,
	UNSENT_INTERVAL_MS = 60000
};

static const struct stats nothing;

/* What is nobody's yet has a page at most, by which the program has looked at it. */
static void count_memory(const struct queue *queue, const struct region *shared,
			 struct stats *stats)
{
	struct ipq_shared_figures tables = {0};

	stats->flow_bytes = region_taken(&queue->flows);
	stats->flows =
		stats->flow_bytes ? ipq_flows_seen(queue->flows.memory, queue->flows.size) : 0;
	if (shared->memory)
		ipq_shared_figures(shared->memory, shared->size, &tables);
	stats->shared_bytes = tables.tables ? region_taken(shared) : 0;
}

void statistics_count(struct supervisor *s)
{
	struct stats *stats = s->statistics.now;

	FOR_EACH_QUEUE (s, queue) {
		queue_count(queue, stats);
		stats_read_worker(stats, queue->child[QUEUE_OWNER].pid);
		count_memory(queue, &s->queues.shared, stats);
		stats->queue_num = queue->num;
		stats->restarts = queue->restarts;
		stats->is_given_up = queue->is_given_up;
		stats->is_lost_known = queue->overflow.is_known;
		stats->queue_full = queue->overflow.queue_full;
		stats->socket_full = queue->overflow.socket_full;
		stats->waiting = queue->overflow.waiting;
		stats++;
	}
	if (s->statistics.page)
		stats_page_write(s->statistics.page, s->statistics.now);
}

static void tell_one(const struct stats *stats, const struct stats *before, double seconds)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	stats_put_line(out, stats, before, seconds);
	if (fclose(out) == 0)
		log_queue(LOG_LEVEL_INFO, (int)stats->queue_num, "%s", text);
	free(text);
}

static void tell_since(struct supervisor *s, int64_t now)
{
	struct statistics *statistics = &s->statistics;
	double seconds = (double)(now - statistics->told_at) / 1000;

	for (unsigned int i = 0; i < s->queues.count; i++) {
		tell_one(&statistics->now[i], &statistics->told[i], seconds);
		statistics->told[i] = statistics->now[i];
	}
	statistics->told_at = now;
}

static const char *reason(int error)
{
	return error == -EEXIST ? "there is something that is no plain file" : strerror(-error);
}

/* Complains once, until it could be written again. */
static void write_metrics(struct supervisor *s)
{
	int ret = metrics_write(s->options->metrics, s->statistics.now, s->queues.count);

	if (ret < 0 && !s->statistics.is_warned)
		log_write(LOG_LEVEL_WARN, "cannot write the metrics %s: %s", s->options->metrics,
			  reason(ret));
	s->statistics.is_warned = ret < 0;
}

/* The program before this one on the same queues has told whoever reads the log. */
void statistics_ready(struct supervisor *s)
{
	if (!s->is_successor)
		s->hint_at = clock_ms() + HINT_AFTER_S * 1000;
}

/* Whether a packet has come to the queue, whatever became of it. */
static bool has_come(const struct ipq_counters *counters, const struct overflow *overflow)
{
	return counters->packets || overflow->waiting || overflow->queue_full ||
	       overflow->socket_full;
}

/* Once, and of all queues: where one has packets there are rules, and another may be without for
 * long. */
static void hint(struct supervisor *s, bool is_quiet)
{
	unsigned int first = s->queues.of[0].num, count = s->queues.count;
	char option[32] = "";

	if (s->hint_at > clock_ms() || is_ending(s))
		return;
	s->hint_at = NEVER;
	if (!is_quiet)
		return;
	if (count > 1)
		snprintf(option, sizeof(option), " -q %u:%u", first, first + count - 1);
	else if (first)
		snprintf(option, sizeof(option), " -q %u", first);
	log_queue(LOG_LEVEL_INFO, count > 1 ? LOG_NO_QUEUE : (int)first,
		  ": no packet has come within %d s: ipq-lua --doctor%s looks whether a rule "
		  "queues any",
		  HINT_AFTER_S, option);
}

/* Once: it is the script's way. */
static void warn_oversized(struct queue *queue, const struct ipq_counters *counters)
{
	if (!counters->oversized || queue->is_oversized_told)
		return;
	queue->is_oversized_told = true;
	log_queue(
		LOG_LEVEL_WARN, queue->num,
		": the script has made a packet larger than the MTU of its way out, and it must "
		"not be cut (IPv6, or DF): the kernel drops those. What helps: pkt.ip.df = false; "
		"for TCP smaller segments, by scripts/clamp_mss.lua; or a larger MTU");
}

/* That rules forbid some answers is as it should be. */
static void warn_unsent(struct queue *queue, const struct ipq_counters *counters)
{
	int64_t now = clock_ms();

	for (int reason = 1; reason < IPQ_UNSENT_REASONS; reason++) {
		struct queue_unsent *told = &queue->unsent[reason];
		uint64_t count = counters->unsent[reason] - told->count;

		if (counters->unsent[reason] <= told->count || now < told->again_at)
			continue;
		told->count = counters->unsent[reason];
		told->again_at = now + UNSENT_INTERVAL_MS;
		log_queue(reason == IPQ_UNSENT_RULE ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, queue->num,
			  ": %" PRIu64 " packets that the filter sent did not leave: %s", count,
			  sent_why_not(reason));
	}
}

void statistics_overflow(struct supervisor *s)
{
	static struct stats stats;
	bool is_quiet = true;

	FOR_EACH_QUEUE (s, queue) {
		struct overflow before = queue->overflow;

		queue_count(queue, &stats);
		overflow_read(&queue->overflow, queue->num, &stats.counters);
		overflow_warn(&before, &queue->overflow, queue->num);
		warn_oversized(queue, &stats.counters);
		warn_unsent(queue, &stats.counters);
		is_quiet = is_quiet && !has_come(&stats.counters, &queue->overflow);
	}
	hint(s, is_quiet);
	s->overflow_at = clock_ms() + OVERFLOW_INTERVAL_MS;
}

static void tell_status(const struct supervisor *s)
{
	struct ipq_counters all = {0};
	unsigned int given_up = 0;

	for (unsigned int i = 0; i < s->queues.count; i++) {
		ipq_counters_add(&all, &s->statistics.now[i].counters);
		given_up += s->queues.of[i].is_given_up;
	}
	notify_status("%s: %" PRIu64 " packets, %" PRIu64 " errors%s", s->options->script,
		      all.packets, all.errors,
		      given_up ? "; the script is given up, and packets get the error verdict"
			       : "");
}

void statistics_look(struct supervisor *s)
{
	struct statistics *statistics = &s->statistics;
	int64_t now = clock_ms();

	statistics_count(s);
	if (statistics->tell_at <= now) {
		tell_since(s, now);
		statistics->tell_at = now + s->options->stats_ms;
	}
	if (statistics->status_at <= now && s->phase == PHASE_READY) {
		tell_status(s);
		statistics->status_at = now + STATUS_INTERVAL_MS;
	}
	if (statistics->metrics_at <= now) {
		write_metrics(s);
		statistics->metrics_at = now + METRICS_INTERVAL_MS;
	}
	statistics->look_at = now + LOOK_INTERVAL_MS;
	if (statistics->tell_at < statistics->look_at)
		statistics->look_at = statistics->tell_at;
}

void statistics_tell(struct supervisor *s)
{
	statistics_count(s);
	for (unsigned int i = 0; i < s->queues.count; i++)
		tell_one(&s->statistics.now[i], &nothing, 0);
	if (s->options->metrics)
		write_metrics(s);
}

void statistics_end(struct supervisor *s)
{
	int ret;

	statistics_count(s);
	if (!s->options->metrics)
		return;
	ret = metrics_write(s->options->metrics, s->statistics.now, s->queues.count);
	if (ret == 0)
		return;
	log_write(LOG_LEVEL_ERROR, "cannot write the metrics %s for the last time: %s",
		  s->options->metrics, reason(ret));
	if (s->code == EX_OK)
		s->code = EX_IOERR;
}

/* The first time, so that what is wrong is told before a packet comes. */
static int open_metrics(struct supervisor *s)
{
	int ret = metrics_write(s->options->metrics, s->statistics.now, s->queues.count);

	if (ret == 0)
		return EX_OK;
	log_write(LOG_LEVEL_ERROR,
		  "cannot write the metrics %s: %s; --metrics takes a file in a folder that is "
		  "there and can be written to, node_exporter's --collector.textfile.directory",
		  s->options->metrics, reason(ret));
	return EX_CANTCREAT;
}

int statistics_open(struct supervisor *s)
{
	struct statistics *statistics = &s->statistics;
	int64_t now = clock_ms();
	int ret;

	statistics->now = calloc(s->queues.count, sizeof(*statistics->now));
	statistics->told = calloc(s->queues.count, sizeof(*statistics->told));
	if (!statistics->now || !statistics->told) {
		log_write(LOG_LEVEL_ERROR, "not enough memory for statistics");
		return EX_OSERR;
	}
	ret = stats_page_new(&statistics->page, &s->queues.page, s->queues.count,
			     s->options->script);
	if (ret < 0)
		log_write(LOG_LEVEL_DEBUG, "--top will not find this process: %s", strerror(-ret));
	statistics->told_at = now;
	statistics->tell_at = s->options->stats_ms ? now + s->options->stats_ms : NEVER;
	statistics->metrics_at = s->options->metrics ? now + METRICS_INTERVAL_MS : NEVER;
	statistics_count(s);
	return s->options->metrics ? open_metrics(s) : EX_OK;
}

void statistics_close(struct supervisor *s)
{
	stats_page_free(s->statistics.page);
	if (s->queues.page >= 0)
		close(s->queues.page);
	free(s->statistics.now);
	free(s->statistics.told);
}
