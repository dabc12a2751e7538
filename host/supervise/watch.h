/* Whether the files that a script was made from have changed. */
#ifndef HOST_WATCH_H
#define HOST_WATCH_H

#include <stdbool.h>
#include <stdint.h>

enum { WATCH_FILES_MAX = 256 };

/* Their folders are what is watched: editors put a new file in the old one's place. */
struct watch {
	int fd; /* inotify(7); -1: nothing is watched */
	unsigned int count;
	struct {
		int folder; /* inotify's number */
		char *name; /* in it */
	} files[WATCH_FILES_MAX];
	int64_t due_at; /* ms: a change has been seen, and perhaps not its last; 0: none */
};

/* An exit code; what is wrong is logged. Watches nothing unless it is wanted. */
int watch_open(struct watch *watch, bool is_wanted);
void watch_close(struct watch *watch);

/* Adds a file, once. */
void watch_add(struct watch *watch, const char *path);

/* Takes what fd has to tell. */
void watch_read(struct watch *watch, int64_t now_ms);

/* Whether files have changed, and not any more for a moment. True once for each change. */
bool watch_is_due(struct watch *watch, int64_t now_ms);

#endif
