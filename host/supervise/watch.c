#include "watch.h"
#include "host/base/log.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/inotify.h>

enum { QUIET_MS = 100 };

int watch_open(struct watch *watch, bool is_wanted)
{
	*watch = (struct watch){.fd = -1};
	if (!is_wanted)
		return EX_OK;
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->fd >= 0)
		return EX_OK;
	log_write(LOG_LEVEL_ERROR, "cannot watch files: %s", strerror(errno));
	return EX_OSERR;
}

void watch_close(struct watch *watch)
{
	for (unsigned int i = 0; i < watch->count; i++)
		free(watch->files[i].name);
	if (watch->fd >= 0)
		close(watch->fd);
	*watch = (struct watch){.fd = -1};
}

static bool is_known(const struct watch *watch, int folder, const char *name)
{
	for (unsigned int i = 0; i < watch->count; i++)
		if (watch->files[i].folder == folder && strcmp(watch->files[i].name, name) == 0)
			return true;
	return false;
}

void watch_add(struct watch *watch, const char *path)
{
	char folder_path[PATH_MAX], name_path[PATH_MAX];
	const char *name;
	int folder;

	if (watch->fd < 0 || watch->count == WATCH_FILES_MAX)
		return;
	snprintf(folder_path, sizeof(folder_path), "%s", path);
	snprintf(name_path, sizeof(name_path), "%s", path);
	name = basename(name_path);
	folder = inotify_add_watch(watch->fd, dirname(folder_path),
				   IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE |
					   IN_MOVED_FROM);
	if (folder < 0) {
		log_write(LOG_LEVEL_WARN, "cannot watch %s: %s", path, strerror(errno));
		return;
	}
	if (is_known(watch, folder, name))
		return;
	watch->files[watch->count].folder = folder;
	watch->files[watch->count].name = strdup(name);
	if (watch->files[watch->count].name)
		watch->count++;
}

void watch_read(struct watch *watch, int64_t now_ms)
{
	_Alignas(struct inotify_event) char buf[4096];
	const ssize_t len = read(watch->fd, buf, sizeof(buf));
	const char *at = buf;

	/* What did not fit is told the next time. */
	while (at < buf + len) {
		const struct inotify_event *event = (const struct inotify_event *)at;

		if (event->len && is_known(watch, event->wd, event->name))
			watch->due_at = now_ms + QUIET_MS;
		at += sizeof(*event) + event->len;
	}
}

bool watch_is_due(struct watch *watch, int64_t now_ms)
{
	if (!watch->due_at || watch->due_at > now_ms)
		return false;
	watch->due_at = 0;
	return true;
}
