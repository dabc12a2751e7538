/* Messages for people, on standard error: lines of text, or of JSON. */
#ifndef HOST_LOG_H
#define HOST_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

enum { LOG_NO_QUEUE = -1 };

/* How the process, and those that it forks, write from here on: nothing below the least level; with
 * is_json an object a line. Where standard error is the service manager's journal ($JOURNAL_STREAM)
 * each line begins with its priority. Until it is called: text, from LOG_LEVEL_INFO up. */
void log_set_up(enum log_level least, bool is_json);

/* The queue of this process, which JSON names. */
void log_set_queue(int queue_num);

/* Whether messages of that level are written. */
bool log_takes(enum log_level level);

/* One message; a newline is added. It is written by one call, so that the lines of several
 * processes stay whole. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same about a queue, or with LOG_NO_QUEUE about all of them: "queue 7" goes before it, or "all
 * queues"; the format begins with what follows, a colon mostly. */
void log_queue(enum log_level level, int queue_num, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The first line of the last error of this process, as it was given; "" where there was none. */
const char *log_error(void);

/* An error, from a signal handler, before the process ends: it takes no memory. Not for JSON. */
void log_last(const char *text);

/* Finds the level of that name ("debug", "info", "warn", "error"). */
bool log_level_find(const char *name, enum log_level *level);

#endif
