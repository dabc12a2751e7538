/* ipq-lua: a Lua script judges the packets that Netfilter queues. */
#include "engine.h"
#include "log.h"
#include "options.h"
#include "signals.h"
#include "vm.h"
#include "bindings/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <linux/netfilter/nfnetlink_queue.h>

static int exit_code_of(enum vm_result result)
{
	switch (result) {
	case VM_OK: return EX_OK;
	case VM_NO_FILE: return EX_NOINPUT;
	default: return EX_DATAERR;
	}
}

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

static void tell_start(const struct options *options, const struct ipq_queue *queue)
{
	uint32_t flags = ipq_queue_flags(queue);
	char copy[64];

	describe_copy(&options->queue, copy, sizeof(copy));
	log_write(LOG_LEVEL_INFO, "queue %u: waiting for packets (%s%s%s), judged by %s",
		  options->queue.queue_num, copy, flags & IPQ_QUEUE_GSO ? ", GSO" : "",
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

static int serve(const struct options *options, struct vm *vm, struct ipq_queue *queue,
		 struct ipq_driver *driver)
{
	enum vm_result stopped;
	int ret;

	tell_start(options, queue);
	ret = engine_run(driver, vm);
	stopped = vm_stop(vm);
	tell_end(options, &driver->batch->counters);
	if (ret < 0) {
		log_write(LOG_LEVEL_ERROR, "queue %u: %s", options->queue.queue_num,
			  strerror(-ret));
		return EX_UNAVAILABLE;
	}
	return exit_code_of(stopped);
}

static int run(struct options *options)
{
	struct ipq_driver driver = {.batch = NULL};
	struct ipq_queue *queue = NULL;
	struct ipq_queue_options wanted;
	struct vm *vm = NULL;
	int code, ret;

	code = exit_code_of(vm_new(&vm, options->script, options->argc, options->argv));
	if (code != EX_OK)
		goto cleanup;
	if (options->check) {
		log_write(LOG_LEVEL_INFO, "%s: can be used", options->script);
		goto cleanup;
	}
	wanted = options->queue;
	vm_queue_options(vm, &wanted);
	if (options->copy_range_given)
		wanted.copy_range = options->queue.copy_range;
	options->queue = wanted;

	ret = ipq_batch_new(&driver.batch, IPQ_BATCH_MAX, ipq_queue_slot_size(&options->queue));
	if (ret == 0)
		ret = signals_init(&driver.interrupt);
	if (ret < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot start: %s", strerror(-ret));
		code = EX_OSERR;
		goto cleanup;
	}
	driver.batch->default_verdict = options->default_verdict;
	driver.batch->error_verdict = options->error_verdict;
	code = queue_open(&queue, &options->queue);
	if (code != EX_OK)
		goto cleanup;
	driver.source = ipq_queue_source(queue);
	code = exit_code_of(vm_start(vm, &driver));
	if (code == EX_OK)
		code = serve(options, vm, queue, &driver);

cleanup:
	ipq_queue_close(queue);
	vm_free(vm);
	ipq_batch_free(driver.batch);
	return code;
}

int main(int argc, char **argv)
{
	struct options options;

	switch (options_parse(&options, argc, argv)) {
	case OPTIONS_RUN: return run(&options);
	case OPTIONS_DONE: return EX_OK;
	default: return EX_USAGE;
	}
}
