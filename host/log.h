/* Messages for people, on standard error. */
#ifndef HOST_LOG_H
#define HOST_LOG_H

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* One message; a newline is added. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The level of that name, LOG_LEVEL_INFO for one that there is not. */
enum log_level log_level_of(const char *name);

#endif
