/* The queues' sockets, from one program to the next: sd_listen_fds(3)'s protocol, in which a
 * service manager hands back what it keeps, and a program what it had before it became another
 * version of itself. */
#ifndef HOST_INHERIT_H
#define HOST_INHERIT_H

#include "lib/ipq_abi.h"

/* Descriptors by queue number. */
struct inheritance {
	unsigned int count;
	struct {
		int fd;
		uint16_t queue_num;
	} sockets[64];
};

/* The name of a queue's socket, "queue-0", in text. */
void inherit_name(uint16_t queue_num, char *text, size_t size);

/* What this process was started with; takes it from the environment. Other descriptors that came
 * that way are closed. */
void inherit_take(struct inheritance *inheritance);

/* The descriptor for a queue, which is the caller's from here on; -1: there is none. */
int inherit_find(struct inheritance *inheritance, uint16_t queue_num);

/* Closes what nobody wanted. */
void inherit_close(struct inheritance *inheritance);

/* Becomes the program at path, with these sockets. Gives a negative errno where that fails. */
int inherit_exec(const struct inheritance *inheritance, const char *path, char **argv);

#endif
