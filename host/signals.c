#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

/* A signal that comes after the flag was looked at and before the wait began would be noticed with
 * the next packet only. Waiting with ppoll() closes that gap for a system call a batch; a timer
 * that keeps interrupting once a signal has come closes it for nothing. Handlers have no argument
 * of their own, hence the globals. */
static volatile int *interrupt_flag;
static timer_t timer;

static void on_stop(int number)
{
	static const struct itimerspec every_10_ms = {
		.it_interval.tv_nsec = 10000000,
		.it_value.tv_nsec = 10000000,
	};
	int saved = errno;

	(void)number;
	if (interrupt_flag)
		*interrupt_flag = 1;
	timer_settime(timer, 0, &every_10_ms, NULL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	errno = saved;
}

static void on_alarm(int number)
{
	(void)number;
}

int signals_init(volatile int *flag)
{
	/* Without SA_RESTART: the wait for packets is to end. */
	struct sigaction alarm = {.sa_handler = on_alarm};
	struct sigaction stop = {.sa_handler = on_stop};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};

	interrupt_flag = flag;
	sigaddset(&stop.sa_mask, SIGTERM);
	sigaddset(&stop.sa_mask, SIGINT);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0 ||
	    sigaction(SIGALRM, &alarm, NULL) < 0 || sigaction(SIGTERM, &stop, NULL) < 0 ||
	    sigaction(SIGINT, &stop, NULL) < 0)
		return -errno;
	return 0;
}

void signals_interrupt_end(void)
{
	static const struct itimerspec never;

	interrupt_flag = NULL;
	timer_settime(timer, 0, &never, NULL);
}
