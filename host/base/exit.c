#include "exit.h"
#include "log.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* atexit(3) has no argument for its functions, hence the globals. */
static const char *guarded;
static pid_t process;

static void on_exit_of_process(void)
{
	if (!guarded || getpid() != process)
		return;
	log_write(LOG_LEVEL_ERROR, "%s ended the process by os.exit(), which a filter must not",
		  guarded);
	(void)output_end(EX_SOFTWARE);
	_exit(EX_SOFTWARE);
}

void exit_guard(const char *script)
{
	process = getpid();
	guarded = script;
	(void)atexit(on_exit_of_process);
}

void exit_release(void)
{
	guarded = NULL;
}
