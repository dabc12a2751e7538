/*
 * What the program says, on standard output and standard error: whole, in order, and none of it
 * lost unnoticed.
 *
 * A process that judges packets must not wait for those who read. There output_divert() has what is
 * said go into a pipe, which another process writes from (host/supervise/writer.c); what finds the
 * pipe full is left out and counted. Everywhere else what is said is written at once, however long
 * that takes.
 */
#ifndef HOST_OUTPUT_H
#define HOST_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

enum output_stream { OUTPUT_OUT = STDOUT_FILENO, OUTPUT_ERR = STDERR_FILENO };

/* Writes all of the bytes, by one write(2) where the descriptor takes them at once, and waits for
 * it. 0 or a negative errno. */
int output_write(int fd, const void *bytes, size_t len);

/* Says these bytes, one line or several that belong together. From a signal handler too, if nothing
 * follows it. 0 or a negative errno; -EAGAIN: there was no room, and it was counted. */
int output_put(enum output_stream stream, const void *bytes, size_t len);

/* Says a script's line, behind what stdio has of standard output. Where that cannot be written it
 * is logged, once until a line could be written again. */
void output_line(enum output_stream stream, const char *line, size_t len);

/* When no more comes: writes what stdio still has of standard output. Gives code, the process' exit
 * code, but EX_IOERR for EX_OK where something could not be written, which is logged unless it was.
 */
int output_end(int code);

/* The pipe */

/* One write(2) into it: a header and bytes. Pipes take PIPE_BUF bytes whole or not at all. */
struct output_frame {
	uint16_t size;	/* bytes that follow */
	uint8_t stream; /* enum output_stream */
	uint8_t flags;	/* enum output_flag */
	uint32_t pid;	/* who says it */
};

enum output_flag {
	OUTPUT_FIRST = 1, /* of what was said by one call */
	OUTPUT_LAST = 2
};

enum { OUTPUT_FRAME_MOST = 4096 - sizeof(struct output_frame) };

/* What the processes count, in memory that they share. */
struct output_counts {
	uint64_t lost[3]; /* by stream: lines for which there was no room */
	uint64_t written; /* goes up with each write(2) of the writer's that succeeds */
};

/* From here on this process, and those that it forks, say to the pipe what they say to the stream,
 * stdio's stdout and stderr included, which are line-buffered then. fd is the pipe's, and does not
 * wait. */
void output_divert(enum output_stream stream, int fd, struct output_counts *counts);

/* Counts lines that were not written, one at least. */
void output_lost(struct output_counts *counts, enum output_stream stream, const char *bytes,
		 size_t len);

/* For the writer: from here on the stream is written to again. */
void output_restore(enum output_stream stream);

/* For a process that may do anything to its descriptors: what it says on the stream goes into the pipe
 * that fd is of, by a descriptor of its own, so that those of others go on not to wait. */
void output_detach(enum output_stream stream, int fd);

#endif
