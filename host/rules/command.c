#include "command.h"
#include "host/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { TIME_LIMIT_MS = 60000, MEANWHILE_MS = 100, STEP = 4096 };

/* Looks into the folders of a list like PATH. */
static bool find_in(const char *folders, const char *name, char path[PATH_MAX])
{
	while (*folders) {
		int len = (int)strcspn(folders, ":");

		if (len && snprintf(path, PATH_MAX, "%.*s/%s", len, folders, name) < PATH_MAX &&
		    access(path, X_OK) == 0)
			return true;
		folders += len + (folders[len] == ':');
	}
	return false;
}

bool command_find(const char *name, char path[PATH_MAX])
{
	const char *folders = getenv("PATH");

	return find_in(folders ? folders : "/usr/bin:/bin", name, path) ||
	       find_in("/usr/sbin:/sbin", name, path);
}

/* In the new process, which must not change a rule when nobody knows of it any more. */
static void become(const char *path, const char *const argv[], enum command_streams streams,
		   int out, pid_t parent)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A terminal's INT, which ends this program, must not end what cleans up behind it. */
	setpgid(0, 0);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(126);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 ||
	    dup2(streams == COMMAND_ALL ? out : null, 2) < 0)
		_exit(126);
	execv(path, (char *const *)argv);
	_exit(127);
}

/* Makes room for STEP bytes more, and a 0 behind them. */
static bool grow(char **text, size_t len)
{
	char *more = realloc(*text, len + STEP + 1);

	if (more)
		*text = more;
	return more != NULL;
}

/* Until there is something to read. False when the time is over. */
static bool wait_to_read(int fd, int64_t end, const struct command_meanwhile *meanwhile)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};

	for (;;) {
		int64_t left = end - clock_ms();

		if (left <= 0)
			return false;
		if (meanwhile && left > MEANWHILE_MS)
			left = MEANWHILE_MS;
		if (poll(&readable, 1, (int)left) != 0)
			return true;
		if (meanwhile)
			meanwhile->function(meanwhile->data);
	}
}

/* Reads to the end, or until the time is over. */
static int read_all(int fd, char **text, const struct command_meanwhile *meanwhile)
{
	int64_t end = clock_ms() + TIME_LIMIT_MS;
	size_t len = 0;

	for (;;) {
		ssize_t got;

		if (!grow(text, len))
			return -ENOMEM;
		if (!wait_to_read(fd, end, meanwhile))
			return -ETIMEDOUT;
		got = read(fd, *text + len, STEP);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		len += (size_t)got;
		(*text)[len] = '\0';
		if (got == 0)
			return 0;
	}
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int command_run(const char *const argv[], enum command_streams streams, char **text,
		const struct command_meanwhile *meanwhile)
{
	char path[PATH_MAX];
	int ends[2], ret, status;
	pid_t pid, parent = getpid();

	*text = NULL;
	if (!command_find(argv[0], path))
		return -ENOENT;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		become(path, argv, streams, ends[1], parent);
	ret = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (ret == 0) {
		ret = read_all(ends[0], text, meanwhile);
		if (ret < 0)
			/* And what it has started. */
			kill(-pid, SIGKILL);
		status = wait_for(pid);
		ret = ret < 0 ? ret : status;
	}
	close(ends[0]);
	if (ret < 0) {
		free(*text);
		*text = NULL;
	}
	return ret;
}
