/* Receiving messages, for queue.c. */
#ifndef IPQ_WAIT_H
#define IPQ_WAIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* How to wait for them. */
struct ipq_wait {
	int fd;
	uint32_t spin_us;   /* poll for so long before; 0: not at all */
	int64_t wake_ns;    /* CLOCK_MONOTONIC: until then; 0: for ever */
	int64_t retired_ns; /* CLOCK_MONOTONIC: messages are another process's, and waiting for
			     * times ends then; 0: they are not */
	bool is_stopping;   /* take what is there, and wait for nothing */
};

/* Receives up to count messages. Gives their number, at least 1; -EAGAIN where it was not to wait
 * and none was there; -ETIME when wake_ns has come; or another negative errno. */
int ipq_wait_receive(const struct ipq_wait *wait, struct mmsghdr *messages, uint32_t count);

/* Waits for wake_ns alone: -ETIME when it, or retired_ns, has come, -EINTR, or 0 where there is
 * nothing to wait for any more. */
int ipq_wait_for_time(const struct ipq_wait *wait);

#endif
