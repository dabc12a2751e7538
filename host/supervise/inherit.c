#include "inherit.h"
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST = 3, /* SD_LISTEN_FDS_START */ NAME_SIZE = 16 };

static const char *const words[] = {
	[INHERIT_QUEUE] = "queue-",
	[INHERIT_FLOWS] = "flows-",
	[INHERIT_STREAMS] = "streams-",
	[INHERIT_SHARED] = "shared",
};

void inherit_name(const struct inherited *inherited, char *text, size_t size)
{
	if (inherited->kind == INHERIT_SHARED)
		snprintf(text, size, "%s", words[INHERIT_SHARED]);
	else
		snprintf(text, size, "%s%u", words[inherited->kind], inherited->queue_num);
}

/* The number that a name of len bytes ends with, behind prefix; -1: it is another name. */
static long number_behind(const char *name, size_t len, const char *prefix)
{
	const char *from = name + strlen(prefix);
	char *end;
	long number;

	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return -1;
	number = strtol(from, &end, 10);
	return end == name + len && end > from && number >= 0 && number <= UINT16_MAX ? number : -1;
}

/* "queue-7:shared": takes the first name off. False where it is none of ours. */
static bool next_name(const char **names, struct inherited *inherited)
{
	const char *name = *names;
	size_t len = strcspn(name, ":");
	long number;

	*names = name + len + (name[len] == ':');
	inherited->queue_num = 0;
	inherited->kind = INHERIT_SHARED;
	if (len == strlen(words[INHERIT_SHARED]) && strncmp(name, words[INHERIT_SHARED], len) == 0)
		return true;
	for (int kind = INHERIT_QUEUE; kind <= INHERIT_STREAMS; kind++) {
		number = number_behind(name, len, words[kind]);
		inherited->kind = (enum inherit_kind)kind;
		inherited->queue_num = (uint16_t)number;
		if (number >= 0)
			return true;
	}
	return false;
}

void inherit_take(struct inheritance *inheritance)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	long total = count ? strtol(count, NULL, 10) : 0;

	inheritance->count = 0;
	if (pid && strtol(pid, NULL, 10) == (long)getpid() && names)
		for (long i = 0; i < total && i < INHERIT_MAX; i++) {
			struct inherited *inherited = &inheritance->of[inheritance->count];

			inherited->fd = FIRST + (int)i;
			if (next_name(&names, inherited) &&
			    fcntl(inherited->fd, F_SETFD, FD_CLOEXEC) == 0)
				inheritance->count++;
			else
				close(inherited->fd);
		}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

int inherit_find(struct inheritance *inheritance, enum inherit_kind kind, uint16_t queue_num)
{
	for (unsigned int i = 0; i < inheritance->count; i++) {
		struct inherited *inherited = &inheritance->of[i];
		int fd = inherited->fd;

		if (inherited->kind != kind || inherited->queue_num != queue_num)
			continue;
		*inherited = inheritance->of[--inheritance->count];
		return fd;
	}
	return -1;
}

void inherit_add(struct inheritance *inheritance, int fd, enum inherit_kind kind,
		 uint16_t queue_num)
{
	if (fd >= 0 && inheritance->count < INHERIT_MAX)
		inheritance->of[inheritance->count++] = (struct inherited){fd, kind, queue_num};
}

void inherit_forget(enum inherit_kind kind, uint16_t queue_num)
{
	const struct inherited inherited = {-1, kind, queue_num};
	char name[NAME_SIZE];

	inherit_name(&inherited, name, sizeof(name));
	notify_forget(name);
}

void inherit_give_back(struct inheritance *inheritance)
{
	for (unsigned int i = 0; i < inheritance->count; i++) {
		const struct inherited *inherited = &inheritance->of[i];

		inherit_forget(inherited->kind, inherited->queue_num);
		close(inherited->fd);
	}
	inheritance->count = 0;
}

/* Puts the descriptors where the protocol has them, out of each other's way first. */
static int place(const struct inheritance *inheritance)
{
	int copies[INHERIT_MAX];

	for (unsigned int i = 0; i < inheritance->count; i++) {
		copies[i] = fcntl(inheritance->of[i].fd, F_DUPFD_CLOEXEC, FIRST + INHERIT_MAX);
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
	char names[INHERIT_MAX * NAME_SIZE] = "", number[16];
	size_t used = 0;

	for (unsigned int i = 0; i < inheritance->count; i++) {
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s", i ? ":" : "");
		inherit_name(&inheritance->of[i], names + used, sizeof(names) - used);
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
