/*
 * The processes that write what the program says, so that nobody else waits for those who read.
 *
 * One writes to standard error and one to standard output, or one to both where they are the same
 * file. Each has two pipes, into which the supervisor and its workers say what they have to say
 * (host/base/output.h): what a worker writes into its own swallows nothing of the supervisor's. It keeps WRITER_KEEPS bytes for a reader that is late; what comes beyond
 * that is left out by who says it, a line at a time, and counted. Once there is room again the log
 * says how many lines were lost. To a terminal no control characters are written.
 */
#ifndef HOST_WRITER_H
#define HOST_WRITER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/base/output.h"

enum { WRITER_KEEPS = 1 << 20 };

struct writer {
	pid_t pid;	/* 0: there is none */
	int ends[2];	/* of the supervisor's pipe */
	int shared[2];	/* of the workers' */
	int64_t since;	/* ms, when it was started */
	bool serves[3]; /* by stream */
};

struct writers {
	unsigned int count;
	struct writer of[2];
	struct output_counts *counts; /* shared by all; NULL: all is written at once */
	uint64_t told[3];	      /* of what they count, by the log */
	int64_t told_at;	      /* ms */
};

/* Starts them. Where that fails what is said is written at once, as before, and that is logged. */
void writers_start(struct writers *writers);

/* Starts one that has died anew, and has the log say what was lost, both once a second at most. To
 * be called from time to time, and at SIGCHLD. */
void writers_tend(struct writers *writers);

/* In a new process: what is the supervisor's own is closed, and the pipes are its own. */
void writers_leave(struct writers *writers);

/* Has them write what they have, waiting for readers that go on to read, ends them, and has what is
 * said from here on written at once. */
void writers_end(struct writers *writers);

#endif
