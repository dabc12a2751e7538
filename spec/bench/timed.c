/* Runs a command, and writes to a file what it took, from its start to its end, and the most memory
 * that it had: timed FILE COMMAND... Its exit status is the command's. */
#include <spawn.h>
#include <stdio.h>
#include <time.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static long long ns_of(const struct timeval *t)
{
	return (long long)t->tv_sec * 1000000000 + (long long)t->tv_usec * 1000;
}

int main(int argc, char **argv)
{
	long long start = now_ns();
	struct rusage usage;
	int status;
	FILE *file;
	pid_t pid;

	if (argc < 3 || posix_spawnp(&pid, argv[2], NULL, NULL, argv + 2, environ) != 0 ||
	    wait4(pid, &status, 0, &usage) < 0)
		return 127;
	start = now_ns() - start;
	file = fopen(argv[1], "w");
	if (!file)
		return 127;
	fprintf(file, "ns=%lld cpu=%lld kb=%ld\n", start,
		ns_of(&usage.ru_utime) + ns_of(&usage.ru_stime), usage.ru_maxrss);
	fclose(file);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}
