/* What goes from one program to the next: the queues' sockets, and the memory that workers share.
 * sd_listen_fds(3)'s protocol, in which a service manager hands back what it keeps, and a program what it
 * had before it became another version of itself. */
#ifndef HOST_INHERIT_H
#define HOST_INHERIT_H

#include <stddef.h>
#include <stdint.h>

enum inherit_kind {
	INHERIT_QUEUE,	 /* a socket: "queue-0" */
	INHERIT_FLOWS,	 /* the memory of a queue's flows: "flows-0" */
	INHERIT_STREAMS, /* that of its streams: "streams-0" */
	INHERIT_SHARED	 /* that of the tables of all workers: "shared" */
};

struct inherited {
	int fd;
	enum inherit_kind kind;
	uint16_t queue_num; /* 0 where it is of no queue */
};

enum { INHERIT_MAX = 3 * 64 + 1 }; /* those of OPTIONS_QUEUES_MAX queues */

struct inheritance {
	unsigned int count;
	struct inherited of[INHERIT_MAX];
};

/* The name of one, in text. */
void inherit_name(const struct inherited *inherited, char *text, size_t size);

/* What this process was started with; takes it from the environment. Other descriptors that came
 * that way are closed. */
void inherit_take(struct inheritance *inheritance);

/* The descriptor of that kind for a queue, which is the caller's from here on; -1: there is none. */
int inherit_find(struct inheritance *inheritance, enum inherit_kind kind, uint16_t queue_num);

/* Adds one, which stays the caller's, for inherit_exec(). */
void inherit_add(struct inheritance *inheritance, int fd, enum inherit_kind kind,
		 uint16_t queue_num);

/* What inherit_find() gave cannot be used, and is closed: the service manager is to forget all that it keeps
 * by that name, lest it hand them back beside what is made instead. */
void inherit_forget(enum inherit_kind kind, uint16_t queue_num);

/* Closes what nobody wanted, and has the service manager forget it. */
void inherit_give_back(struct inheritance *inheritance);

/* Becomes the program at path, with these descriptors. Gives a negative errno where that fails. */
int inherit_exec(const struct inheritance *inheritance, const char *path, char **argv);

#endif
