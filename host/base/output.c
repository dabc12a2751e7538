#include "output.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

_Static_assert(PIPE_BUF >= 4096, "PIPE_BUF");

/* By stream; no counts: it is written to. */
static struct {
	int fd;
	struct output_counts *counts;
} pipes[3];

int output_write(int fd, const void *bytes, size_t len)
{
	struct pollfd room = {.fd = fd, .events = POLLOUT};
	const char *at = bytes;

	while (len) {
		ssize_t written = write(fd, at, len);

		/* Whoever has the same description may have it not wait: that is done here. */
		if (written < 0 && errno == EAGAIN)
			(void)poll(&room, 1, -1);
		else if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			at += written;
			len -= (size_t)written;
		}
	}
	return 0;
}

/* The pipe */

static int send_frame(enum output_stream stream, const char *bytes, size_t size, unsigned int flags)
{
	char buf[PIPE_BUF];
	struct output_frame frame = {
		.size = (uint16_t)size,
		.stream = (uint8_t)stream,
		.flags = (uint8_t)flags,
		.pid = (uint32_t)getpid(),
	};
	ssize_t ret;

	memcpy(buf, &frame, sizeof(frame));
	memcpy(buf + sizeof(frame), bytes, size);
	do
		ret = write(pipes[stream].fd, buf, sizeof(frame) + size);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

void output_lost(struct output_counts *counts, enum output_stream stream, const char *bytes,
		 size_t len)
{
	const char *end = bytes + len;
	uint64_t lines = 0;

	for (; (bytes = memchr(bytes, '\n', (size_t)(end - bytes))); bytes++)
		lines++;
	__atomic_fetch_add(&counts->lost[stream], lines ? lines : 1, __ATOMIC_RELAXED);
}

/* errno is kept: stdio's callers look at it. */
static int send_frames(enum output_stream stream, const char *bytes, size_t len)
{
	unsigned int flags = OUTPUT_FIRST;
	int saved = errno, ret = 0;

	for (size_t at = 0, size; at < len && ret == 0; at += size) {
		size = len - at;
		if (size > OUTPUT_FRAME_MOST)
			size = OUTPUT_FRAME_MOST;
		else
			flags |= OUTPUT_LAST;
		ret = send_frame(stream, bytes + at, size, flags);
		flags = 0;
	}
	if (ret < 0)
		output_lost(pipes[stream].counts, stream, bytes, len);
	errno = saved;
	return ret;
}

int output_put(enum output_stream stream, const void *bytes, size_t len)
{
	if (pipes[stream].counts)
		return send_frames(stream, bytes, len);
	return output_write((int)stream, bytes, len);
}

static ssize_t put_out(void *cookie, const char *bytes, size_t len)
{
	(void)cookie;
	(void)output_put(OUTPUT_OUT, bytes, len);
	return (ssize_t)len;
}

static ssize_t put_err(void *cookie, const char *bytes, size_t len)
{
	(void)cookie;
	(void)output_put(OUTPUT_ERR, bytes, len);
	return (ssize_t)len;
}

/* glibc's stdout and stderr are variables, which Lua's library reads when a state is made. */
static void divert_stdio(FILE **stream, cookie_write_function_t *put)
{
	FILE *diverted = fopencookie(NULL, "w", (cookie_io_functions_t){.write = put});

	if (!diverted)
		return;
	setvbuf(diverted, NULL, _IOLBF, BUFSIZ);
	fflush(*stream);
	*stream = diverted;
}

void output_divert(enum output_stream stream, int fd, struct output_counts *counts)
{
	pipes[stream].fd = fd;
	pipes[stream].counts = counts;
	if (stream == OUTPUT_OUT)
		divert_stdio(&stdout, put_out);
	else
		divert_stdio(&stderr, put_err);
}

void output_restore(enum output_stream stream)
{
	pipes[stream].counts = NULL;
}

void output_detach(enum output_stream stream, int fd)
{
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	pipes[stream].fd = own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* Standard output */

static bool has_failed, is_told;

/* error is 0 where it is not known any more: it was one of stdio's, some writes ago. */
static void take_note(int error)
{
	has_failed = true;
	if (!is_told)
		log_write(LOG_LEVEL_WARN, "what is printed cannot be written%s%s",
			  error ? ": " : "", error ? strerror(error) : "");
	is_told = true;
}

void output_line(enum output_stream stream, const char *line, size_t len)
{
	int ret = fflush(stdout) == 0 ? 0 : -errno;

	if (ret == 0)
		ret = output_put(stream, line, len);
	/* What was counted is told where the count is. */
	if (ret < 0 && !pipes[stream].counts)
		take_note(-ret);
	else
		is_told = false;
}

int output_end(int code)
{
	if (fflush(stdout) != 0)
		take_note(errno);
	else if (ferror(stdout))
		take_note(0);
	return has_failed && code == EX_OK ? EX_IOERR : code;
}
