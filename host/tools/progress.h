/* How far a replay is, for whoever watches it in a terminal. */
#ifndef HOST_PROGRESS_H
#define HOST_PROGRESS_H

#include <stdbool.h>

#include "bindings/capture/capture.h"

/* A source around that of a capture: it tells standard error, if that is a terminal, how much was
 * read, a few times a second once it has taken a while. */
struct progress {
	struct ipq_source source;
	struct ipq_capture *capture;
	uint32_t batches; /* since the clock was looked at last */
	double next;	  /* when to write */
	bool is_written;
};

/* Gives the source to read from. Both outlive it. */
struct ipq_source *progress_init(struct progress *progress, struct ipq_capture *capture);

/* Wipes the line. */
void progress_end(struct progress *progress);

#endif
