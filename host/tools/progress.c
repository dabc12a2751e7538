#include "progress.h"
#include "host/base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { BATCHES_A_LOOK = 32 };

static const double first_after = 1, every = 0.2; /* seconds */

static void tell(struct progress *progress)
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
			tell(progress);
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

struct ipq_source *progress_init(struct progress *progress, struct ipq_capture *capture)
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

void progress_end(struct progress *progress)
{
	if (progress->is_written)
		fputs("\r\033[K", stderr);
}
