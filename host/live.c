#include "live.h"
#include "log.h"
#include "session.h"
#include "bindings/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <linux/netfilter/nfnetlink_queue.h>

static int queue_open(struct ipq_queue **queue, const struct ipq_queue_options *options)
{
	int ret = ipq_queue_open(queue, options);
	enum ipq_cause cause;
	char text[512];

	if (ret == 0)
		return EX_OK;
	cause = ipq_explain_open(text, sizeof(text), options, ret);
	log_write(LOG_LEVEL_ERROR, "%s", text);
	return cause == IPQ_CAUSE_PERMISSION ? EX_NOPERM : EX_UNAVAILABLE;
}

/* What is copied of each packet, in words. */
static void describe_copy(const struct ipq_queue_options *options, char *text, size_t size)
{
	if (options->copy_mode == NFQNL_COPY_META)
		snprintf(text, size, "metadata only");
	else if (options->copy_range < IPQ_PAYLOAD_MAX)
		snprintf(text, size, "the first %u bytes", options->copy_range);
	else
		snprintf(text, size, "whole packets");
}

static void tell_start(const struct options *options, const struct ipq_queue_options *settings,
		       const struct ipq_queue *queue)
{
	uint32_t flags = ipq_queue_flags(queue);
	char copy[64];

	describe_copy(settings, copy, sizeof(copy));
	log_write(LOG_LEVEL_INFO, "queue %u: waiting for packets (%s%s%s), judged by %s",
		  settings->queue_num, copy, flags & IPQ_QUEUE_GSO ? ", GSO" : "",
		  flags & IPQ_QUEUE_FAIL_OPEN ? ", fail-open" : "", options->script);
}

static void tell_end(const struct options *options, const struct ipq_counters *counters)
{
	log_write(LOG_LEVEL_INFO,
		  "queue %u: %" PRIu64 " packets, %" PRIu64 " accepted, %" PRIu64
		  " dropped, %" PRIu64 " other verdicts, %" PRIu64 " errors",
		  options->queue.queue_num, counters->packets, counters->accepted,
		  counters->dropped, counters->queued + counters->repeated + counters->stopped,
		  counters->errors);
	if (counters->refused)
		log_write(LOG_LEVEL_WARN,
			  "queue %u: the kernel refused %" PRIu64 " verdicts, the last with: %s",
			  options->queue.queue_num, counters->refused,
			  strerror((int)counters->last_refusal));
	if (counters->malformed)
		log_write(LOG_LEVEL_WARN,
			  "queue %u: %" PRIu64 " messages of the kernel could not be read",
			  options->queue.queue_num, counters->malformed);
	if (counters->overruns)
		log_write(LOG_LEVEL_WARN,
			  "queue %u: the socket's buffer overran %" PRIu64
			  " times; give it more with --rcvbuf",
			  options->queue.queue_num, counters->overruns);
}

/* The command line's, and what the script says it needs. */
static struct ipq_queue_options settings_of(const struct options *options, struct vm *vm)
{
	struct ipq_queue_options settings = options->queue;

	vm_queue_options(vm, &settings);
	if (options->copy_range_given)
		settings.copy_range = options->queue.copy_range;
	return settings;
}

int live_run(const struct options *options, struct vm *vm)
{
	struct ipq_queue_options settings = settings_of(options, vm);
	struct ipq_queue *queue = NULL;
	struct session session;
	char name[32];
	int code;

	snprintf(name, sizeof(name), "queue %u", settings.queue_num);
	code = session_open(&session, vm, options, ipq_queue_slot_size(&settings));
	if (code == EX_OK)
		code = queue_open(&queue, &settings);
	if (code == EX_OK)
		code = session_start(&session, ipq_queue_source(queue));
	if (code == EX_OK) {
		tell_start(options, &settings, queue);
		code = session_run(&session, name);
		tell_end(options, &session.driver.batch->counters);
	}
	ipq_queue_close(queue);
	session_close(&session);
	return code;
}
