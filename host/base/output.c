#include "output.h"
#include "log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

int output_write(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		ssize_t written = write(fd, at, len);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			at += written;
			len -= (size_t)written;
		}
	}
	return 0;
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

void output_line(int fd, const char *line, size_t len)
{
	int ret = fflush(stdout) == 0 ? 0 : -errno;

	if (ret == 0)
		ret = output_write(fd, line, len);
	if (ret < 0)
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
