#include "upgrade.h"
#include "supervise.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/prctl.h>

/* Of the process, as its command line is. */
static char path[PATH_MAX];
static char **command_line;

void upgrade_remember(char **argv)
{
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

	path[len > 0 ? len : 0] = '\0';
	command_line = argv;
}

const char *upgrade_path(void)
{
	return path;
}

char **upgrade_argv(void)
{
	return command_line;
}

static size_t count_of(char **argv)
{
	size_t count = 0;

	while (argv[count])
		count++;
	return count;
}

pid_t upgrade_check(void)
{
	size_t count = count_of(command_line);
	char **argv = calloc(count + 2, sizeof(*argv));
	pid_t pid, parent = getpid();
	sigset_t none;

	if (!argv)
		return -ENOMEM;
	argv[0] = command_line[0];
	argv[1] = (char[]){"--check"};
	memcpy(argv + 2, command_line + 1, (count - 1) * sizeof(*argv));
	pid = fork();
	if (pid == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		/* Nobody waits for it then. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent)
			execv(path, argv);
		_exit(127);
	}
	free(argv);
	return pid < 0 ? -errno : pid;
}
