/* The control socket: a line in, an object of JSON in a line out.
 *
 *   help | version | queues | stats | reload
 *
 * An answer that takes its time begins with a space, at once, so that nobody gives it up. It has
 * "status": 0 where it was done, 1 where it was not, 77 where who asks may not; "text"
 * for people, and for some a "result". Root and the supervisor's own user are let in
 * (SO_PEERCRED). Clients may be slow, silent or many: nobody waits for them. */
#ifndef HOST_CONTROL_H
#define HOST_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <poll.h>

#include "host/base/base.h"

enum { CONTROL_CLIENTS_MAX = 16 };

struct control_client {
	int fd; /* -1: none */
	size_t len;
	char line[CONTROL_LINE_MAX];
	char *answer; /* NULL: there is none yet */
	size_t size, sent;
	int64_t since;	 /* ms: of the last byte, or of its coming */
	bool is_patient; /* it waits for something that takes its time */
	bool is_done;	 /* it has its answer, and is to go */
};

struct control {
	int fd;		     /* that listens; -1: none */
	int64_t pause_until; /* ms: nobody could be accepted */
	char name[CONTROL_NAME_MAX + 1];
	struct control_client clients[CONTROL_CLIENTS_MAX];
	/* Answers a line: writes control_put_text() and the rest of an object of JSON, from behind
	 * "status", which it gives. CONTROL_LATER: there will be an answer. */
	int (*answer)(void *data, const char *line, FILE *out);
	void *data;
};

enum { CONTROL_LATER = -1 };

/* Listens by that name, NULL for the process' number. What is wrong is logged, and is no error:
 * packets are judged without it. */
void control_open(struct control *control, const char *name,
		  int (*answer)(void *data, const char *line, FILE *out), void *data);
void control_close(struct control *control);

/* What to poll for: CONTROL_CLIENTS_MAX + 1 at most. Gives their number. */
unsigned int control_poll(const struct control *control, struct pollfd *fds);

/* Goes on with all that can; none is waited for. */
void control_serve(struct control *control);

/* When to go on though nothing came, ms; INT64_MAX: never. */
int64_t control_due(const struct control *control);

/* Writes "text" of an answer. */
void control_put_text(FILE *out, const char *text);

/* The answer for those that wait for it. */
void control_tell(struct control *control, int status, const char *text);

/* In a new process: nothing of it is its own. */
void control_leave(const struct control *control);

#endif
