#include "printed.h"
#include "log.h"
#include "output.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

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

void printed_line(int fd, const char *line, size_t len)
{
	int ret = fflush(stdout) == 0 ? 0 : -errno;

	if (ret == 0)
		ret = output_write(fd, line, len);
	if (ret < 0)
		take_note(-ret);
	else
		is_told = false;
}

int printed_end(int code)
{
	if (fflush(stdout) != 0)
		take_note(errno);
	else if (ferror(stdout))
		take_note(0);
	return has_failed && code == EX_OK ? EX_IOERR : code;
}
