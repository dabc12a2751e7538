#include "stats_table.h"
#include "sent.h"
#include "streams.h"
#include "lib/queue/histogram.h"

#include <inttypes.h>
#include <string.h>

enum { CELL = 16 };

static const int64_t second_ns = 1000000000;

/* A number in at most 6 characters. */
static const char *number(double value, char text[CELL])
{
	if (value < 99999.5)
		snprintf(text, CELL, "%.0f", value);
	else if (value < 9999500)
		snprintf(text, CELL, "%.0fk", value / 1e3);
	else if (value < 999.5e6)
		snprintf(text, CELL, "%.1fM", value / 1e6);
	else
		snprintf(text, CELL, "%.4gG", value / 1e9);
	return text;
}

/* A time in at most 6 characters: three digits of it, and the unit. */
static const char *time_short(uint64_t ns, char text[CELL])
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	double value = (double)ns;
	int unit = 0;

	if (ns == 0)
		return "-";
	for (; value >= 999.5 && unit < 3; unit++)
		value /= 1000;
	snprintf(text, CELL, "%.3g%s", value, units[unit]);
	return text;
}

static void put_head(FILE *out, pid_t pid, const struct stats_page_head *head, int64_t age_ns)
{
	int64_t up = (head->time_ns - head->since_ns) / second_ns;

	fprintf(out, "ipq-lua %s, process %d, up %" PRId64 ":%02d:%02d", head->version, (int)pid,
		up / 3600, (int)(up / 60 % 60), (int)(up % 60));
	if (age_ns > 3 * second_ns)
		fprintf(out, ", not heard of for %" PRId64 " s", age_ns / second_ns);
	fprintf(out, "\nscript %s", head->script);
	fprintf(out, "\n\n%5s%8s%9s%7s%8s%7s%6s%6s%7s%7s%5s%5s\n", "queue", "pkts/s", "accept/s",
		"drop/s", "other/s", "errors", "lost", "batch", "p50", "p99", "cpu", "died");
}

static const char *batch_size(const struct ipq_counters *now, const struct ipq_counters *before,
			      char text[CELL])
{
	uint64_t batches = now->batches - before->batches;

	if (!batches)
		return "-";
	snprintf(text, CELL, "%.1f", (double)(now->packets - before->packets) / (double)batches);
	return text;
}

static void put_queue(FILE *out, const struct stats *now, const struct stats *before,
		      double seconds)
{
	const struct ipq_counters *c = &now->counters, *b = &before->counters;
	struct ipq_histogram filter = now->filter_ns;
	char text[11][CELL];
	double cpu = 0;

	ipq_histogram_subtract(&filter, &before->filter_ns);
	if (seconds > 0 && now->cpu_ns > before->cpu_ns)
		cpu = (double)(now->cpu_ns - before->cpu_ns) / seconds / 1e7;
	seconds = seconds > 0 ? seconds : 1;
	snprintf(text[9], CELL, "%.0f%%", cpu);
	fprintf(out, "%5u%8s%9s%7s%8s%7s%6s%6s%7s%7s%5s%5s%s\n", now->queue_num,
		number((double)(c->packets - b->packets) / seconds, text[0]),
		number((double)(c->accepted - b->accepted) / seconds, text[1]),
		number((double)(c->dropped - b->dropped) / seconds, text[2]),
		number((double)(stats_other(c) - stats_other(b)) / seconds, text[3]),
		number((double)c->errors, text[4]),
		now->is_lost_known ? number((double)now->queue_full + now->socket_full, text[5])
				   : "-",
		batch_size(c, b, text[6]),
		time_short(ipq_histogram_quantile(&filter, 0.5), text[7]),
		time_short(ipq_histogram_quantile(&filter, 0.99), text[8]), text[9],
		number(now->restarts, text[10]), now->is_given_up ? " given up" : "");
}

static void put_sent(FILE *out, const struct stats *now, const struct stats *before, double seconds)
{
	const struct ipq_counters *c = &now->counters;
	char text[SENT_TEXT_SIZE], rate[CELL];

	if (!sent_is_any(c))
		return;
	fprintf(out, "%5u  ", now->queue_num);
	if (seconds > 0)
		fprintf(out, "sends %s/s: ",
			number((double)(c->sent - before->counters.sent) / seconds, rate));
	fprintf(out, "%s\n", sent_text(c, text));
}

/* "16 KB", and from a megabyte on "13.0 MB". */
static const char *memory(uint64_t bytes, char text[CELL])
{
	if (bytes < 1 << 20)
		snprintf(text, CELL, "%.0f KB", (double)bytes / (1 << 10));
	else
		snprintf(text, CELL, "%.1f MB", (double)bytes / (1 << 20));
	return text;
}

static void put_flows(FILE *out, const struct stats *now)
{
	char text[CELL];

	if (now->flow_bytes)
		fprintf(out, "%5u  follows %" PRIu32 " flows, in %s\n", now->queue_num, now->flows,
			memory(now->flow_bytes, text));
}

static void put_streams(FILE *out, const struct stats *now)
{
	char text[STREAMS_TEXT_SIZE];

	if (streams_is_any(&now->counters))
		fprintf(out, "%5u  %s\n", now->queue_num, streams_text(&now->counters, text));
}

static void put_script(FILE *out, const struct stats *now, const struct stats *before,
		       double seconds)
{
	for (uint32_t i = 0; i < IPQ_SCRIPT_COUNTERS_MAX; i++) {
		const struct ipq_counter *counter = stats_counter(now, i);
		const struct ipq_counter *was = counter ? stats_find(before, counter->name) : NULL;

		if (!counter)
			continue;
		fprintf(out, "%5u  %-40s%16.15g", now->queue_num, counter->name, counter->value);
		if (was && seconds > 0)
			fprintf(out, "%12.5g/s", (counter->value - was->value) / seconds);
		putc('\n', out);
	}
}

void stats_table_put(FILE *out, pid_t pid, const struct stats_snapshot *now,
		     const struct stats_snapshot *before, int64_t age_ns)
{
	double seconds = (double)(now->head.time_ns - before->head.time_ns) * 1e-9;
	char text[CELL];

	put_head(out, pid, &now->head, age_ns);
	for (uint32_t i = 0; i < now->head.count; i++)
		put_queue(out, &now->stats[i], &before->stats[i], seconds);
	putc('\n', out);
	for (uint32_t i = 0; i < now->head.count; i++)
		put_sent(out, &now->stats[i], &before->stats[i], seconds);
	for (uint32_t i = 0; i < now->head.count; i++)
		put_flows(out, &now->stats[i]);
	for (uint32_t i = 0; i < now->head.count; i++)
		put_streams(out, &now->stats[i]);
	if (now->stats[0].shared_bytes)
		fprintf(out, "  all  share tables, in %s\n",
			memory(now->stats[0].shared_bytes, text));
	for (uint32_t i = 0; i < now->head.count; i++)
		put_script(out, &now->stats[i], &before->stats[i], seconds);
}
