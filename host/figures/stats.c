#include "stats.h"
#include "sent.h"
#include "lib/queue/histogram.h"
#include "lib/queue/queue.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* A name is there as a whole once its first byte is: ipq_counter_name(). So that byte is read first,
 * which on arm64 has to be said. */
void stats_read_script(struct stats *stats, const struct ipq_batch *made)
{
	const struct ipq_counter *from = made->script_counters;
	struct ipq_counter *to = stats->script;

	for (uint32_t i = 0; i < IPQ_SCRIPT_COUNTERS_MAX; i++) {
		if (__atomic_load_n(&from[i].name[0], __ATOMIC_ACQUIRE))
			to[i] = from[i];
		else
			to[i] = (struct ipq_counter){.value = 0};
	}
}

void stats_add_batch(struct stats *stats, const struct ipq_batch *batch,
		     const struct ipq_batch *made)
{
	/* Each is one aligned word with one writer: it is old or new, and never between. Which of
	 * them are new already is in no order. */
	ipq_counters_add(&stats->counters, &batch->counters);
	ipq_histogram_join(&stats->filter_ns, made->filter_ns);
}

static uint64_t cpu_ns(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (!pid || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

void stats_read_worker(struct stats *stats, pid_t pid)
{
	uint64_t used = cpu_ns(pid);

	if (stats->pid != pid)
		stats->cpu_before_ns = stats->cpu_ns;
	stats->pid = pid;
	if (used)
		stats->cpu_ns = stats->cpu_before_ns + used;
}

/* A worker may have written anything over it. */
static bool is_name(const char *name)
{
	size_t len = strnlen(name, IPQ_COUNTER_NAME_SIZE);

	return len > 0 && len < IPQ_COUNTER_NAME_SIZE &&
	       (name[0] == '_' || (name[0] >= 'a' && name[0] <= 'z')) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

const struct ipq_counter *stats_counter(const struct stats *stats, uint32_t number)
{
	const struct ipq_counter *counter = &stats->script[number];

	return number < IPQ_SCRIPT_COUNTERS_MAX && is_name(counter->name) ? counter : NULL;
}

const struct ipq_counter *stats_find(const struct stats *stats, const char *name)
{
	for (uint32_t i = 0; i < IPQ_SCRIPT_COUNTERS_MAX; i++) {
		const struct ipq_counter *counter = stats_counter(stats, i);

		if (counter && strcmp(counter->name, name) == 0)
			return counter;
	}
	return NULL;
}

uint64_t stats_other(const struct ipq_counters *counters)
{
	return counters->queued + counters->repeated + counters->stopped;
}

const char *stats_time(uint64_t ns, char *text, size_t size)
{
	if (ns < 1000)
		snprintf(text, size, "%" PRIu64 " ns", ns);
	else if (ns < 1000000)
		snprintf(text, size, "%.1f us", (double)ns / 1e3);
	else if (ns < 1000000000)
		snprintf(text, size, "%.1f ms", (double)ns / 1e6);
	else
		snprintf(text, size, "%.1f s", (double)ns / 1e9);
	return text;
}

static void put_times(FILE *out, const struct stats *stats, const struct stats *before)
{
	struct ipq_histogram filter = stats->filter_ns;
	uint64_t batches = stats->counters.batches - before->counters.batches;
	char p50[32], p99[32];

	ipq_histogram_subtract(&filter, &before->filter_ns);
	if (batches)
		fprintf(out, ", %.1f packets a batch",
			(double)(stats->counters.packets - before->counters.packets) /
				(double)batches);
	if (filter.count)
		fprintf(out, ", filter %s (p50), %s (p99)",
			stats_time(ipq_histogram_quantile(&filter, 0.5), p50, sizeof(p50)),
			stats_time(ipq_histogram_quantile(&filter, 0.99), p99, sizeof(p99)));
}

static void put_script(FILE *out, const struct stats *stats)
{
	const char *separator = ";";

	for (uint32_t i = 0; i < IPQ_SCRIPT_COUNTERS_MAX; i++) {
		const struct ipq_counter *counter = stats_counter(stats, i);

		if (!counter)
			continue;
		fprintf(out, "%s %s %.15g", separator, counter->name, counter->value);
		separator = ",";
	}
}

void stats_put_line(FILE *out, const struct stats *stats, const struct stats *before,
		    double seconds)
{
	const struct ipq_counters *counters = &stats->counters;
	char sent[SENT_TEXT_SIZE];

	fprintf(out, ": %" PRIu64 " packets", counters->packets);
	if (seconds > 0)
		fprintf(out, " (%.0f/s)",
			(double)(counters->packets - before->counters.packets) / seconds);
	fprintf(out,
		", %" PRIu64 " accepted, %" PRIu64 " dropped, %" PRIu64 " other verdicts, %" PRIu64
		" errors",
		counters->accepted, counters->dropped, stats_other(counters), counters->errors);
	if (sent_is_any(counters))
		fprintf(out, ", %s", sent_text(counters, sent));
	if (stats->flow_bytes)
		fprintf(out, ", %" PRIu32 " flows", stats->flows);
	if (stats->is_lost_known)
		fprintf(out, ", %" PRIu32 " lost unseen", stats->queue_full + stats->socket_full);
	fprintf(out, ", %" PRIu32 " restart%s", stats->restarts, stats->restarts == 1 ? "" : "s");
	put_times(out, stats, before);
	put_script(out, stats);
}
