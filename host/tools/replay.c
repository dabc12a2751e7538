#include "time_limit.h"
#include "tools.h"
#include "bindings/core_calls.h"
#include "host/base/base.h"
#include "host/judge/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/mman.h>
#include <linux/netfilter/nfnetlink_queue.h>

/* How far it is, for whoever watches it in a terminal. */

/* A source around that of a capture: it tells standard error, if that is a terminal, how much was
 * read, a few times a second once it has taken a while. */
struct progress {
	struct ipq_source source;
	struct ipq_capture *capture;
	uint32_t batches; /* since the clock was looked at last */
	double next;	  /* when to write */
	bool is_written;
};

enum { BATCHES_A_LOOK = 32 };

/* The exit code of a replay in which filters raised, or returned what is no verdict. */
enum { FILTER_FAILED = 2 };

static const double first_after = 1, every = 0.2; /* seconds */

static void tell_progress(struct progress *progress)
{
	double done = ipq_capture_progress(progress->capture);
	uint64_t frames = ipq_capture_counters(progress->capture)->frames;

	progress->is_written = true;
	if (done < 0)
		fprintf(stderr, "\r%" PRIu64 " frames", frames);
	else
		fprintf(stderr, "\r%3.0f %%, %" PRIu64 " frames", done * 100, frames);
	fflush(stderr);
}

static int receive(struct ipq_source *source, struct ipq_batch *batch)
{
	struct progress *progress = (struct progress *)source;
	struct ipq_source *inner = ipq_capture_source(progress->capture);

	if (++progress->batches == BATCHES_A_LOOK) {
		progress->batches = 0;
		if (clock_seconds() >= progress->next) {
			progress->next = clock_seconds() + every;
			tell_progress(progress);
		}
	}
	return inner->receive(inner, batch);
}

static int commit(struct ipq_source *source, struct ipq_batch *batch)
{
	struct ipq_source *inner = ipq_capture_source(((struct progress *)source)->capture);

	return inner->commit(inner, batch);
}

static int commit_held(struct ipq_source *source, struct ipq_batch *batch,
		       struct ipq_packet *packet)
{
	struct ipq_source *inner = ipq_capture_source(((struct progress *)source)->capture);

	return inner->commit_held(inner, batch, packet);
}

static int stop(struct ipq_source *source)
{
	struct ipq_source *inner = ipq_capture_source(((struct progress *)source)->capture);

	return inner->stop(inner);
}

/* Gives the source to read from. Both outlive it. */
static struct ipq_source *progress_init(struct progress *progress, struct ipq_capture *capture)
{
	*progress = (struct progress){
		.source = {.receive = receive,
			   .commit = commit,
			   .commit_held = commit_held,
			   .stop = stop},
		.capture = capture,
		.next = clock_seconds() + first_after,
	};
	return isatty(STDERR_FILENO) ? &progress->source : ipq_capture_source(capture);
}

/* Wipes the line. */
static void progress_end(struct progress *progress)
{
	if (progress->is_written)
		fputs("\r\033[K", stderr);
}

/* The capture */

/* Whether nothing goes out but what the filter has seen and accepted, as a script says whose output
 * is private. */
static bool private_check(const struct options *options)
{
	if (!options->capture.write_dropped && options->error_verdict == IPQ_DROP)
		return true;
	log_write(LOG_LEVEL_ERROR,
		  "--%s would write what came, and the output of %s is private (private = true)",
		  options->capture.write_dropped ? "write-dropped" : "on-error", options->script);
	return false;
}

/* The filter sees as much of each packet as it would live. */
static int capture_open(struct ipq_capture **capture, const struct options *options, struct vm *vm)
{
	struct ipq_capture_options settings = options->capture;
	struct ipq_queue_options queue = session_settings(options, vm);
	char text[IPQ_CAPTURE_TEXT];
	enum ipq_capture_fault fault;

	settings.is_meta = queue.copy_mode == NFQNL_COPY_META;
	settings.takes_arp = vm_takes_arp(vm);
	settings.is_private = vm_is_private(vm);
	settings.drops_other = settings.drops_other || settings.is_private;
	if (settings.is_private && !private_check(options))
		return EX_USAGE;
	/* The most that a queue copies is no limit here: a capture may have longer packets. */
	settings.copy_range =
		queue.copy_range < IPQ_PAYLOAD_MAX ? queue.copy_range : IPQ_PACKET_MAX;
	fault = ipq_capture_open(capture, &settings, text);

	if (fault == IPQ_CAPTURE_OK)
		return EX_OK;
	log_write(LOG_LEVEL_ERROR, "%s", text);
	switch (fault) {
	case IPQ_CAPTURE_NO_FILE: return EX_NOINPUT;
	case IPQ_CAPTURE_BAD_FILTER: return EX_USAGE;
	case IPQ_CAPTURE_NO_OUTPUT: return EX_CANTCREAT;
	default: return EX_DATAERR;
	}
}

static void tell_row(const char *name, uint64_t count)
{
	fprintf(stderr, "%-24s %12" PRIu64 "\n", name, count);
}

/* What is seldom, and is not told where there is none. */
static void tell_some(const char *name, uint64_t count)
{
	if (count > 0)
		tell_row(name, count);
}

/* Of scripts that send. */
static void tell_sent(const struct ipq_counters *judged)
{
	char name[64];

	tell_some("rejected", judged->rejected);
	tell_some("sent", judged->sent);
	for (int reason = 1; reason < IPQ_UNSENT_REASONS; reason++) {
		snprintf(name, sizeof(name), "not sent: %s", ipq_unsent_word(reason));
		tell_some(name, judged->unsent[reason]);
	}
}

/* To standard error: the output may be a capture. */
static void tell_end(const struct options *options, bool drops_other,
		     const struct ipq_counters *judged, const struct ipq_capture_counters *frames,
		     double seconds)
{
	tell_row("frames read", frames->frames);
	tell_row(drops_other ? "dropped unjudged (no IP)" : "passed unjudged (no IP)",
		 frames->other);
	tell_some("link header cut off", frames->cut_off);
	tell_some("too long to be judged", frames->too_long);
	tell_some("encrypted, in parts, ...", frames->hidden);
	tell_some("unknown link type", frames->unknown_link);
	tell_row("packets judged", judged->packets);
	tell_row("  accepted", judged->accepted);
	tell_row("  dropped", judged->dropped);
	tell_row("  queued", judged->queued);
	tell_row("  repeated", judged->repeated);
	tell_row("  stopped", judged->stopped);
	tell_row("marked", judged->marked);
	tell_row("changed", frames->changed);
	tell_some("came with wrong checksums", frames->wrong_sums);
	tell_some("checksums made right", frames->mended);
	tell_sent(judged);
	tell_row("errors", judged->errors);
	tell_row("frames written", frames->written);
	if (options->capture.write_dropped)
		tell_row("dropped frames written", frames->written_dropped);
	fprintf(stderr, "%-24s %12.0f\n", "packets a second",
		seconds > 0 ? (double)judged->packets / seconds : 0);
}

/* What a filter could not see, of which the error verdict is not to be a surprise. */
static void warn_unread(const struct ipq_capture *capture)
{
	const struct ipq_capture_counters *frames = ipq_capture_counters(capture);

	if (frames->unknown_link > 0)
		log_write(LOG_LEVEL_WARN,
			  "link type %u is not known here: %" PRIu64
			  " frames got the error verdict (--on-error)",
			  ipq_capture_unknown_link(capture), frames->unknown_link);
}

/* A replay in which filters raised has an exit code of its own. */
static int errors_check(const struct ipq_counters *judged, int code)
{
	if (code != EX_OK || judged->errors == 0)
		return code;
	log_write(LOG_LEVEL_ERROR,
		  "the filter failed for %" PRIu64 " of %" PRIu64
		  " packets, which got the error verdict (--on-error)",
		  judged->errors, judged->packets);
	return FILTER_FAILED;
}

/* The script's own. */
static void tell_counters(const struct ipq_counter *counters)
{
	for (int i = 0; i < IPQ_SCRIPT_COUNTERS_MAX && counters[i].name[0]; i++)
		fprintf(stderr, "%-24s %12.15g\n", counters[i].name, counters[i].value);
}

/* What came of the files, when all that could be read was judged. */
static int files_check(struct ipq_capture *capture, int code)
{
	enum ipq_capture_fault fault = ipq_capture_flush(capture);
	const char *damage = ipq_capture_damage(capture);

	if (damage) {
		log_write(LOG_LEVEL_ERROR, "%s", damage);
		code = code == EX_OK ? EX_DATAERR : code;
	}
	if (fault == IPQ_CAPTURE_NO_OUTPUT) {
		log_write(LOG_LEVEL_ERROR, "%s", ipq_capture_failure(capture));
		code = EX_IOERR;
	}
	return code;
}

static bool is_stdout(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

/* Standard output, unless it is the capture. */
static enum output_stream events_to(const struct options *options)
{
	return is_stdout(options->capture.write) || is_stdout(options->capture.write_dropped)
		       ? OUTPUT_ERR
		       : OUTPUT_OUT;
}

static enum vm_record record_of(const struct options *options)
{
	if (options->json)
		return VM_RECORD_JSON;
	return options->print ? VM_RECORD_PRINT : VM_RECORD_NONE;
}

/* What is sent while no packet is judged. */

static void tell_json(struct ipq_outbox *outbox)
{
	ipq_record_rest(outbox, true);
}

static void tell_print(struct ipq_outbox *outbox)
{
	ipq_record_rest(outbox, false);
}

static void send_into(struct ipq_capture *capture, struct session *session)
{
	enum vm_record record = record_of(session->options);

	if (session->sender.outbox)
		ipq_capture_send(capture, session->sender.outbox,
				 record == VM_RECORD_JSON    ? tell_json
				 : record == VM_RECORD_PRINT ? tell_print
							     : NULL);
}

/* Memory that is there as far as it is touched; none where there is no room. */
static struct vm_memory map_memory(uint32_t size_mb)
{
	struct vm_memory memory = {NULL, (size_t)size_mb << 20};

	memory.memory = mmap(NULL, memory.size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory.memory == MAP_FAILED)
		memory.memory = NULL;
	return memory;
}

static void unmap_memory(const struct vm_memory *memory)
{
	if (memory->memory)
		munmap(memory->memory, memory->size);
}

int replay_run(const struct options *options, struct vm *vm, const struct ipq_counter *counters)
{
	struct ipq_capture *capture = NULL;
	struct ipq_batch *batch = NULL;
	struct vm_memory flows = map_memory(options->flow_memory_mb);
	struct vm_memory streams = map_memory(options->stream_memory_mb);
	struct progress progress;
	struct session session = {.options = NULL};
	double start;
	int code = capture_open(&capture, options, vm);

	if (code == EX_OK)
		code = session_batch_new(&batch, options, IPQ_CAPTURE_SLOT_SIZE);
	if (code == EX_OK)
		code = session_open(&session, options, batch, SIGNALS_ALONE);
	if (code == EX_OK && !vm_replay(vm, record_of(options), events_to(options)))
		code = EX_UNAVAILABLE;
	if (code == EX_OK && !time_limit_set(vm_state(vm), options->time_limit_ms))
		code = EX_OSERR;
	exit_guard(options->script);
	if (code == EX_OK)
		code = session_start(&session, vm, progress_init(&progress, capture), false);
	exit_release();
	if (code == EX_OK && !vm_follow(vm, &flows, &streams))
		code = EX_OSERR;
	if (code == EX_OK) {
		send_into(capture, &session);
		start = clock_seconds();
		code = session_run(&session, options->capture.read[0]);
		progress_end(&progress);
		code = errors_check(&batch->counters, files_check(capture, code));
		warn_unread(capture);
		tell_end(options, options->capture.drops_other || vm_is_private(vm),
			 &batch->counters, ipq_capture_counters(capture), clock_seconds() - start);
		tell_counters(counters);
	}
	signals_forget();
	ipq_capture_close(capture);
	session_close(&session);
	ipq_batch_free(batch);
	unmap_memory(&streams);
	unmap_memory(&flows);
	return code;
}
