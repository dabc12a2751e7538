/* A handle's socket: its address, its waiting, its messages as they come. */
#include "handle.h"

#include <poll.h>

enum {
	/* More than a message can have. The kernel adds up the lengths that it is told. */
	RECEIVE_MAX = 1 << 17,
	ROOM = 8 << 20
};

/* As port the process id, as ever; where something else of this process has that, any port. But two
 * handles for the same family never could be. */
int ipq_classic_bind(struct ipq_classic *classic)
{
	struct ipq_handle *h = &classic->handle;
	socklen_t len = sizeof(h->local);

	h->local = (struct sockaddr_nl){.nl_family = AF_NETLINK, .nl_pid = (uint32_t)getpid()};
	h->peer = (struct sockaddr_nl){.nl_family = AF_NETLINK};
	if (bind(h->fd, (struct sockaddr *)&h->local, sizeof(h->local)) < 0) {
		if (errno != EADDRINUSE || ipq_classic_is_claimed(classic->family))
			return -1;
		h->local.nl_pid = 0;
		if (bind(h->fd, (struct sockaddr *)&h->local, sizeof(h->local)) < 0 ||
		    getsockname(h->fd, (struct sockaddr *)&h->local, &len) < 0)
			return -1;
	}
	/* Nobody but the kernel can send to a socket that is connected to it. */
	return connect(h->fd, (struct sockaddr *)&h->peer, sizeof(h->peer));
}

/* Of what a socket has by default, a quarter of a MB of TCP was enough to overrun it, and ENOBUFS is
 * the end of most programs. */
void ipq_classic_make_room(int fd)
{
	int bytes = ROOM;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

struct timespec ipq_classic_deadline(int microseconds)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	time.tv_sec += microseconds / 1000000;
	time.tv_nsec += microseconds % 1000000 * 1000L;
	if (time.tv_nsec >= 1000000000) {
		time.tv_sec++;
		time.tv_nsec -= 1000000000;
	}
	return time;
}

/* Not select(), to which a descriptor from 1024 on is out of bounds. */
int ipq_classic_wait(int fd, const struct timespec *deadline)
{
	struct pollfd poll = {.fd = fd, .events = POLLIN};
	struct timespec left;

	clock_gettime(CLOCK_MONOTONIC, &left);
	left.tv_sec = deadline->tv_sec - left.tv_sec;
	left.tv_nsec = deadline->tv_nsec - left.tv_nsec;
	if (left.tv_nsec < 0) {
		left.tv_sec--;
		left.tv_nsec += 1000000000;
	}
	if (left.tv_sec < 0)
		return 0;
	return ppoll(&poll, 1, &left, NULL);
}

/* The head goes to the stack and the rest straight to the caller: the two forms of a packet differ
 * in the size of what precedes the payload, so neither may need room for the other. */
ssize_t ipq_classic_receive(int fd, struct ipq_head *head, unsigned char *buf, size_t len,
			    struct sockaddr_nl *from, int flags)
{
	struct iovec iov[] = {
		/* cppcheck-suppress ctuuninitvar; it is filled here */
		{.iov_base = head->bytes, .iov_len = sizeof(head->bytes)},
		{.iov_base = buf, .iov_len = len < RECEIVE_MAX ? len : RECEIVE_MAX},
	};
	struct msghdr message = {
		.msg_name = from,
		.msg_namelen = sizeof(*from),
		.msg_iov = iov,
		.msg_iovlen = 2,
	};

	from->nl_pid = 0;
	return recvmsg(fd, &message, flags | MSG_TRUNC);
}
