/* Three ways to wait for messages: in the receiving call itself, in ppoll() where there is a time to
 * wake, and by polling first where a processor is given for it. */
#include "wait.h"
#include "lib/clock.h"

#include <errno.h>
#include <poll.h>

static int receive(const struct ipq_wait *wait, struct mmsghdr *messages, uint32_t count, int flags)
{
	int ret = recvmmsg(wait->fd, messages, count, flags, NULL);

	return ret < 0 ? -errno : ret;
}

static int receive_now(const struct ipq_wait *wait, struct mmsghdr *messages, uint32_t count)
{
	return receive(wait, messages, count, MSG_DONTWAIT);
}

/* Polls until spin_us have passed without any message, or it is time to wake. The clock is read only
 * where a poll was in vain. */
static int receive_by_polling(const struct ipq_wait *wait, struct mmsghdr *messages, uint32_t count)
{
	int64_t now, end = 0;
	int ret;

	for (;;) {
		ret = receive_now(wait, messages, count);
		if (ret != -EAGAIN)
			return ret;
		now = ipq_monotonic_ns();
		if (end == 0)
			end = now + (int64_t)wait->spin_us * 1000;
		if (now >= end || (wait->wake_ns && now >= wait->wake_ns))
			return -EAGAIN;
	}
}

static struct timespec time_until(int64_t at_ns)
{
	int64_t ns = at_ns - ipq_monotonic_ns();

	if (ns < 0)
		ns = 0;
	return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

/* Where messages wait already it is the one system call that it is without a time to wake. */
static int receive_until(const struct ipq_wait *wait, struct mmsghdr *messages, uint32_t count)
{
	struct pollfd poll = {.fd = wait->fd, .events = POLLIN};
	struct timespec left;
	int ret = receive_now(wait, messages, count);

	if (ret != -EAGAIN)
		return ret;
	left = time_until(wait->wake_ns);
	ret = ppoll(&poll, 1, &left, NULL);
	if (ret > 0)
		return receive_now(wait, messages, count);
	return ret == 0 ? -ETIME : -errno;
}

int ipq_wait_for_time(const struct ipq_wait *wait)
{
	int64_t now = ipq_monotonic_ns();
	struct timespec left;

	if (!wait->wake_ns || wait->is_stopping || now >= wait->retired_ns)
		return 0;
	if (now >= wait->wake_ns)
		return -ETIME;
	left = time_until(wait->wake_ns < wait->retired_ns ? wait->wake_ns : wait->retired_ns);
	return ppoll(NULL, 0, &left, NULL) < 0 ? -errno : -ETIME;
}

int ipq_wait_receive(const struct ipq_wait *wait, struct mmsghdr *messages, uint32_t count)
{
	int ret = -EAGAIN;

	if (wait->is_stopping)
		return receive_now(wait, messages, count);
	if (wait->spin_us)
		ret = receive_by_polling(wait, messages, count);
	if (ret != -EAGAIN)
		return ret;
	if (wait->wake_ns)
		return receive_until(wait, messages, count);
	return receive(wait, messages, count, MSG_WAITFORONE);
}
