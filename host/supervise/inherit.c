#include "inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	FIRST = 3, /* SD_LISTEN_FDS_START */
	MAX = sizeof(((struct inheritance *)0)->sockets) /
	      sizeof(((struct inheritance *)0)->sockets[0])
};

void inherit_name(uint16_t queue_num, char *text, size_t size)
{
	snprintf(text, size, "queue-%u", queue_num);
}

/* "queue-7:queue-8": takes the first name off, gives the queue's number, -1 for another name. */
static long next_number(const char **names)
{
	const char *name = *names;
	size_t len = strcspn(name, ":");
	char *end;
	long number;

	*names = name + len + (name[len] == ':');
	if (strncmp(name, "queue-", 6) != 0)
		return -1;
	number = strtol(name + 6, &end, 10);
	return end == name + len && end > name + 6 && number >= 0 && number <= UINT16_MAX ? number
											  : -1;
}

void inherit_take(struct inheritance *inheritance)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	long total = count ? strtol(count, NULL, 10) : 0;

	inheritance->count = 0;
	if (pid && strtol(pid, NULL, 10) == (long)getpid() && names)
		for (long i = 0; i < total && i < MAX; i++) {
			int fd = FIRST + (int)i;
			long number = next_number(&names);

			if (number < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
				close(fd);
				continue;
			}
			inheritance->sockets[inheritance->count].fd = fd;
			inheritance->sockets[inheritance->count++].queue_num = (uint16_t)number;
		}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

int inherit_find(struct inheritance *inheritance, uint16_t queue_num)
{
	for (unsigned int i = 0; i < inheritance->count; i++)
		if (inheritance->sockets[i].queue_num == queue_num) {
			int fd = inheritance->sockets[i].fd;

			inheritance->sockets[i] = inheritance->sockets[--inheritance->count];
			return fd;
		}
	return -1;
}

void inherit_close(struct inheritance *inheritance)
{
	while (inheritance->count)
		close(inheritance->sockets[--inheritance->count].fd);
}

/* Puts the sockets where the protocol has them, out of each other's way first. */
static int place(const struct inheritance *inheritance)
{
	int copies[MAX];

	for (unsigned int i = 0; i < inheritance->count; i++) {
		copies[i] = fcntl(inheritance->sockets[i].fd, F_DUPFD_CLOEXEC, FIRST + MAX);
		if (copies[i] < 0)
			return -errno;
	}
	/* dup2() clears close-on-exec. */
	for (unsigned int i = 0; i < inheritance->count; i++)
		if (dup2(copies[i], FIRST + (int)i) < 0)
			return -errno;
	return 0;
}

static int tell(const struct inheritance *inheritance)
{
	char names[MAX * 12] = "", number[16];
	size_t used = 0;

	for (unsigned int i = 0; i < inheritance->count; i++) {
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s", i ? ":" : "");
		inherit_name(inheritance->sockets[i].queue_num, names + used, sizeof(names) - used);
		used += strlen(names + used);
	}
	snprintf(number, sizeof(number), "%u", inheritance->count);
	if (setenv("LISTEN_FDS", number, 1) < 0 || setenv("LISTEN_FDNAMES", names, 1) < 0)
		return -errno;
	snprintf(number, sizeof(number), "%ld", (long)getpid());
	return setenv("LISTEN_PID", number, 1) < 0 ? -errno : 0;
}

int inherit_exec(const struct inheritance *inheritance, const char *path, char **argv)
{
	int ret = tell(inheritance);

	if (ret == 0)
		ret = place(inheritance);
	if (ret < 0)
		return ret;
	execv(path, argv);
	return -errno;
}
