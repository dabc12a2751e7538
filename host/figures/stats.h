/* What is counted of a queue, at one moment. */
#ifndef HOST_STATS_H
#define HOST_STATS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "lib/ipq_abi.h"

struct stats {
	uint32_t queue_num;
	int32_t pid; /* of its worker; 0: none runs */
	uint32_t restarts;
	uint32_t is_given_up;	/* it is judged without the script */
	uint32_t is_lost_known; /* what follows could be read */
	uint32_t queue_full;	/* packets that the kernel dropped unseen */
	uint32_t socket_full;
	uint32_t waiting;	/* packets in the queue, without a verdict */
	uint32_t flows;		/* that the script follows */
	uint64_t flow_bytes;	/* memory that they take; 0: none was ever followed */
	uint64_t shared_bytes;	/* that all queues' tables take together; 0: there is none */
	uint64_t cpu_ns;	/* of all its workers */
	uint64_t cpu_before_ns; /* of those before this one */
	struct ipq_counters counters;
	struct ipq_histogram filter_ns; /* a packet's share of its batch's time */
	struct ipq_counter script[IPQ_SCRIPT_COUNTERS_MAX];
};

/* Adds what a worker counts in its batch, which may have anything in it; made is the batch as it was
 * made, and tells where things are. */
void stats_add_batch(struct stats *stats, const struct ipq_batch *batch,
		     const struct ipq_batch *made);
/* Takes over its script's counters. */
void stats_read_script(struct stats *stats, const struct ipq_batch *made);

/* The worker, and the time that it has had from the processors. */
void stats_read_worker(struct stats *stats, pid_t pid);

/* The script's counter of that number, NULL where there is none; its name is as ipq.counter() takes
 * it. */
const struct ipq_counter *stats_counter(const struct stats *stats, uint32_t number);
/* The one of that name. */
const struct ipq_counter *stats_find(const struct stats *stats, const char *name);

/* Verdicts other than accept and drop. */
uint64_t stats_other(const struct ipq_counters *counters);

/* A time as text: "140 ns", "2.1 us". */
const char *stats_time(uint64_t ns, char *text, size_t size);

/* One line, without a newline, from ": " on: totals, and rates and times since before, seconds
 * ago. */
void stats_put_line(FILE *out, const struct stats *stats, const struct stats *before,
		    double seconds);

#endif
