#include "report.h"
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <linux/netfilter/nfnetlink_queue.h>

/* What is copied of each packet, in words. */
static void describe_copy(const struct ipq_queue_options *settings, char *text, size_t size)
{
	if (settings->copy_mode == NFQNL_COPY_META)
		snprintf(text, size, "metadata only");
	else if (settings->copy_range < IPQ_PAYLOAD_MAX)
		snprintf(text, size, "the first %u bytes", settings->copy_range);
	else
		snprintf(text, size, "whole packets");
}

void report_start(const struct options *options, const struct ipq_queue_options *settings,
		  const struct ipq_queue *queue, int core)
{
	uint32_t flags = ipq_queue_flags(queue);
	char copy[64], place[32] = "";

	describe_copy(settings, copy, sizeof(copy));
	if (core >= 0)
		snprintf(place, sizeof(place), ", core %d", core);
	log_write(LOG_LEVEL_INFO, "queue %u: waiting for packets (%s%s%s%s), judged by %s",
		  settings->queue_num, copy, flags & IPQ_QUEUE_GSO ? ", GSO" : "",
		  flags & IPQ_QUEUE_FAIL_OPEN ? ", fail-open" : "", place, options->script);
}

void report_end(const char *name, const struct ipq_counters *counters,
		const struct overflow *overflow)
{
	char lost[64] = "";

	if (overflow->is_known)
		snprintf(lost, sizeof(lost), ", %" PRIu32 " lost unseen",
			 overflow->queue_full + overflow->socket_full);
	log_write(LOG_LEVEL_INFO,
		  "%s: %" PRIu64 " packets, %" PRIu64 " accepted, %" PRIu64 " dropped, %" PRIu64
		  " other verdicts, %" PRIu64 " errors%s",
		  name, counters->packets, counters->accepted, counters->dropped,
		  counters->queued + counters->repeated + counters->stopped, counters->errors,
		  lost);
	if (counters->refused)
		log_write(LOG_LEVEL_WARN,
			  "%s: the kernel refused %" PRIu64 " verdicts, the last with: %s", name,
			  counters->refused, strerror((int)counters->last_refusal));
	if (counters->malformed)
		log_write(LOG_LEVEL_WARN,
			  "%s: %" PRIu64 " messages of the kernel could not be read", name,
			  counters->malformed);
}

void report_add(struct ipq_counters *counters, struct overflow *overflow,
		const struct ipq_counters *more_counters, const struct overflow *more_overflow)
{
	counters->packets += more_counters->packets;
	counters->accepted += more_counters->accepted;
	counters->dropped += more_counters->dropped;
	counters->queued += more_counters->queued;
	counters->repeated += more_counters->repeated;
	counters->stopped += more_counters->stopped;
	counters->errors += more_counters->errors;
	overflow->is_known = overflow->is_known && more_overflow->is_known;
	overflow->queue_full += more_overflow->queue_full;
	overflow->socket_full += more_overflow->socket_full;
}
