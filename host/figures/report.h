/* What is said of a queue at its beginning and at its end. */
#ifndef HOST_REPORT_H
#define HOST_REPORT_H

#include "host/base/log.h"
#include "host/base/options.h"
#include "overflow.h"

/* Why privileges_find() gave that negative errno for --user. Gives the exit code. */
int report_no_user(const char *text, int error);

/* core is that of its worker, -1 for any. */
void report_start(const struct options *options, const struct ipq_queue_options *settings,
		  const struct ipq_queue *queue, int core);

/* What a worker does, in words: " while it judged packet 5 (10.0.0.1 > 10.0.0.2, protocol 6)", or
 * " in a timer". "" where it is nothing. noun is "packet", or "frame" in a capture. The batch may
 * have anything in it, and change meanwhile; made is the batch as it was made, and tells where
 * things are. Signal handlers may call it. */
void report_work(const struct ipq_batch *batch, const struct ipq_batch *made, const char *noun,
		 char *text, size_t size);

/* queue_num is LOG_NO_QUEUE for the sum of all. */
void report_end(int queue_num, const struct ipq_counters *counters, const struct overflow *overflow,
		unsigned int restarts);

/* Adds the counters of one queue to those of all. */
void report_add(struct ipq_counters *counters, struct overflow *overflow,
		const struct ipq_counters *more_counters, const struct overflow *more_overflow);

#endif
