#include "metrics.h"
#include "streams.h"
#include "lib/queue/histogram.h"
#include "lib/send/send.h"
#include "lib/stream/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

struct queues {
	const struct stats *of;
	unsigned int count;
};

#define FOR_EACH_QUEUE(queues, stats)                                                          \
	for (const struct stats *stats = (queues)->of; stats < (queues)->of + (queues)->count; \
	     stats++)

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* One number of each queue. */

static const struct {
	const char *name, *help;
	size_t at; /* of a uint64_t in struct stats */
} counters[] = {
	{"ipq_errors_total", "Packets that got the error verdict.",
	 offsetof(struct stats, counters.errors)},
	{"ipq_batches_total", "Times that packets were received.",
	 offsetof(struct stats, counters.batches)},
	{"ipq_bytes_total", "Bytes of packets that were copied to the filter.",
	 offsetof(struct stats, counters.bytes)},
	{"ipq_oversized_total", "Packets that a filter made too large for their way out.",
	 offsetof(struct stats, counters.oversized)},
	{"ipq_refused_total", "Verdicts that the kernel answered with an error.",
	 offsetof(struct stats, counters.refused)},
	{"ipq_sent_total", "Packets that the filter sent.", offsetof(struct stats, counters.sent)},
	{"ipq_rejected_total", "Packets that were dropped, and whose senders were told.",
	 offsetof(struct stats, counters.rejected)},
	{"ipq_own_total", "Packets that the filter had sent, and that came back and were passed.",
	 offsetof(struct stats, counters.own)},
};

static void put_counters(FILE *out, const struct queues *queues)
{
	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		put_head(out, counters[i].name, "counter", counters[i].help);
		FOR_EACH_QUEUE (queues, stats) {
			uint64_t value;

			memcpy(&value, (const char *)stats + counters[i].at, sizeof(value));
			fprintf(out, "%s{queue=\"%u\"} %" PRIu64 "\n", counters[i].name,
				stats->queue_num, value);
		}
	}
}

static void put_packets(FILE *out, const struct queues *queues)
{
	put_head(out, "ipq_packets_total", "counter", "Packets judged, by verdict.");
	FOR_EACH_QUEUE (queues, stats) {
		const struct {
			const char *verdict;
			uint64_t count;
		} rows[] = {
			{"accept", stats->counters.accepted}, {"drop", stats->counters.dropped},
			{"queue", stats->counters.queued},    {"repeat", stats->counters.repeated},
			{"stop", stats->counters.stopped},
		};

		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			fprintf(out, "ipq_packets_total{queue=\"%u\",verdict=\"%s\"} %" PRIu64 "\n",
				stats->queue_num, rows[i].verdict, rows[i].count);
	}
}

static void put_not_sent(FILE *out, const struct queues *queues)
{
	put_head(out, "ipq_not_sent_total", "counter",
		 "Packets that the filter wanted to send, by what was in the way.");
	FOR_EACH_QUEUE (queues, stats)
		for (int reason = 1; reason < IPQ_UNSENT_REASONS; reason++)
			fprintf(out, "ipq_not_sent_total{queue=\"%u\",reason=\"%s\"} %" PRIu64 "\n",
				stats->queue_num, ipq_unsent_word(reason),
				stats->counters.unsent[reason]);
}

/* Of scripts that read connections. */
static void put_streams(FILE *out, const struct queues *queues)
{
	put_head(out, "ipq_streams_total", "counter",
		 "Connections that the filter reads, edits, or leaves alone, by what was done.");
	FOR_EACH_QUEUE (queues, stats)
		for (uint32_t i = 0; i < IPQ_STREAMS_COUNTS && streams_is_any(&stats->counters);
		     i++)
			fprintf(out, "ipq_streams_total{queue=\"%u\",what=\"%s\"} %" PRIu64 "\n",
				stats->queue_num, ipq_streams_word(i), stats->counters.streams[i]);
}

/* Of queues whose numbers this process may not read there are none. */
static void put_lost(FILE *out, const struct queues *queues)
{
	put_head(out, "ipq_kernel_dropped_total", "counter",
		 "Packets that the kernel dropped before the filter could see them.");
	FOR_EACH_QUEUE (queues, stats)
		if (stats->is_lost_known)
			fprintf(out,
				"ipq_kernel_dropped_total{queue=\"%u\",reason=\"queue_full\"} "
				"%" PRIu32 "\n"
				"ipq_kernel_dropped_total{queue=\"%u\",reason=\"socket_full\"} "
				"%" PRIu32 "\n",
				stats->queue_num, stats->queue_full, stats->queue_num,
				stats->socket_full);
	put_head(out, "ipq_waiting_packets", "gauge", "Packets in the kernel's queue.");
	FOR_EACH_QUEUE (queues, stats)
		if (stats->is_lost_known)
			fprintf(out, "ipq_waiting_packets{queue=\"%u\"} %" PRIu32 "\n",
				stats->queue_num, stats->waiting);
}

/* Of scripts that follow any. */
static void put_flows(FILE *out, const struct queues *queues)
{
	put_head(out, "ipq_flows", "gauge", "Flows that the filter follows.");
	FOR_EACH_QUEUE (queues, stats)
		if (stats->flow_bytes)
			fprintf(out, "ipq_flows{queue=\"%u\"} %" PRIu32 "\n", stats->queue_num,
				stats->flows);
	put_head(out, "ipq_flow_memory_bytes", "gauge", "Memory that flows take.");
	FOR_EACH_QUEUE (queues, stats)
		if (stats->flow_bytes)
			fprintf(out, "ipq_flow_memory_bytes{queue=\"%u\"} %" PRIu64 "\n",
				stats->queue_num, stats->flow_bytes);
	put_head(out, "ipq_shared_memory_bytes", "gauge",
		 "Memory that the tables of all queues take.");
	fprintf(out, "ipq_shared_memory_bytes %" PRIu64 "\n", queues->of[0].shared_bytes);
}

static void put_workers(FILE *out, const struct queues *queues)
{
	put_head(out, "ipq_restarts_total", "counter", "Workers that died and were replaced.");
	FOR_EACH_QUEUE (queues, stats)
		fprintf(out, "ipq_restarts_total{queue=\"%u\"} %u\n", stats->queue_num,
			stats->restarts);
	put_head(out, "ipq_worker_cpu_seconds_total", "counter",
		 "Processor time of the queue's workers.");
	FOR_EACH_QUEUE (queues, stats)
		fprintf(out, "ipq_worker_cpu_seconds_total{queue=\"%u\"} %.6f\n", stats->queue_num,
			(double)stats->cpu_ns * 1e-9);
}

enum {
	LEAST_POWER = 5, /* 32 ns */
	MOST_POWER = 33, /* 8.6 s */
	POWERS_A_STEP = 2
};

static void put_filter(FILE *out, const struct stats *stats)
{
	const struct ipq_histogram *filter = &stats->filter_ns;
	uint64_t seen = 0;
	uint32_t bucket = 0;

	for (int power = LEAST_POWER; power <= MOST_POWER; power += POWERS_A_STEP) {
		uint64_t bound = (uint64_t)1 << power;

		/* A power of two is where a bucket begins: those before it hold what is less. */
		while (bucket < IPQ_HISTOGRAM_BUCKETS && ipq_histogram_least(bucket) < bound)
			seen += filter->buckets[bucket++];
		fprintf(out, "ipq_filter_seconds_bucket{queue=\"%u\",le=\"%.9g\"} %" PRIu64 "\n",
			stats->queue_num, (double)bound * 1e-9, seen);
	}
	while (bucket < IPQ_HISTOGRAM_BUCKETS)
		seen += filter->buckets[bucket++];
	/* The sum of the buckets, and not count: the writer may be between the two. */
	fprintf(out,
		"ipq_filter_seconds_bucket{queue=\"%u\",le=\"+Inf\"} %" PRIu64 "\n"
		"ipq_filter_seconds_sum{queue=\"%u\"} %.9f\n"
		"ipq_filter_seconds_count{queue=\"%u\"} %" PRIu64 "\n",
		stats->queue_num, seen, stats->queue_num, (double)filter->sum * 1e-9,
		stats->queue_num, seen);
}

/* The script's own, of all queues together: a name may have one block only. */

static bool is_first(const struct queues *queues, const struct stats *stats, const char *name)
{
	for (const struct stats *before = queues->of; before < stats; before++)
		if (stats_find(before, name))
			return false;
	return true;
}

static void put_script_counter(FILE *out, const struct queues *queues, const char *name)
{
	/* Nobody says whether it only grows. */
	fprintf(out, "# HELP ipq_script_%s The script's own.\n# TYPE ipq_script_%s untyped\n", name,
		name);
	FOR_EACH_QUEUE (queues, stats) {
		const struct ipq_counter *counter = stats_find(stats, name);

		if (counter)
			fprintf(out, "ipq_script_%s{queue=\"%u\"} %.17g\n", name, stats->queue_num,
				counter->value);
	}
}

static void put_script(FILE *out, const struct queues *queues)
{
	FOR_EACH_QUEUE (queues, stats)
		for (uint32_t i = 0; i < IPQ_SCRIPT_COUNTERS_MAX; i++) {
			const struct ipq_counter *counter = stats_counter(stats, i);

			if (counter && stats_find(stats, counter->name) == counter &&
			    is_first(queues, stats, counter->name))
				put_script_counter(out, queues, counter->name);
		}
}

static void put_all(FILE *out, const struct queues *queues)
{
	put_packets(out, queues);
	put_counters(out, queues);
	put_not_sent(out, queues);
	put_streams(out, queues);
	put_lost(out, queues);
	put_flows(out, queues);
	put_workers(out, queues);
	put_head(out, "ipq_filter_seconds", "histogram",
		 "What the filter takes for a packet: a batch's time, divided by its packets.");
	FOR_EACH_QUEUE (queues, stats)
		put_filter(out, stats);
	put_script(out, queues);
}

/* The file */

/* The collector runs as another user. */
static int permit(int fd)
{
	mode_t mask = umask(0);

	umask(mask);
	return fchmod(fd, 0666 & ~mask);
}

static int write_to(FILE *out, const struct queues *queues)
{
	int error = permit(fileno(out)) < 0 ? errno : 0;

	put_all(out, queues);
	if (ferror(out) && !error)
		error = errno ? errno : EIO;
	if (fclose(out) != 0 && !error)
		error = errno;
	return -error;
}

/* What takes the place of /dev/stdout, or of a link to it, is lost to all others. */
static bool may_replace(const char *path)
{
	struct stat status;

	return lstat(path, &status) < 0 || S_ISREG(status.st_mode);
}

int metrics_write(const char *path, const struct stats *stats, unsigned int count)
{
	struct queues queues = {stats, count};
	FILE *out = NULL;
	char *temporary;
	int fd, ret;

	if (!may_replace(path))
		return -EEXIST;
	/* Not *.prom, which the collector would read. */
	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd >= 0)
		out = fdopen(fd, "w");
	ret = out ? write_to(out, &queues) : -errno;
	if (fd >= 0 && !out)
		close(fd);
	if (ret == 0 && rename(temporary, path) < 0)
		ret = -errno;
	if (fd >= 0 && ret < 0)
		unlink(temporary);
	free(temporary);
	return ret;
}
