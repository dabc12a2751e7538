#include "signals.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>
#include <sys/signalfd.h>

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
	if (interrupt_flag) {
		*interrupt_flag = 1;
		timer_settime(timer, 0, &every_10_ms, NULL);
	}
	errno = saved;
}

static void on_stop_alone(int number)
{
	on_stop(number);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
}

static void on_other(int number)
{
	(void)number;
}

int signals_init(volatile int *flag, enum signals_role role)
{
	/* Without SA_RESTART: the wait for packets is to end. */
	struct sigaction alarm = {.sa_handler = on_other};
	struct sigaction stop = {.sa_handler = role == SIGNALS_ALONE ? on_stop_alone : on_stop};
	/* Not SIG_IGN, which programs that a script starts would inherit. */
	struct sigaction ignore = {.sa_handler = on_other, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};

	interrupt_flag = flag;
	sigaddset(&stop.sa_mask, SIGTERM);
	sigaddset(&stop.sa_mask, SIGINT);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0 ||
	    sigaction(SIGALRM, &alarm, NULL) < 0 || sigaction(SIGTERM, &stop, NULL) < 0 ||
	    sigaction(SIGINT, role == SIGNALS_ALONE ? &stop : &ignore, NULL) < 0)
		return -errno;
	return 0;
}

void signals_interrupt_end(void)
{
	static const struct itimerspec never;

	interrupt_flag = NULL;
	timer_settime(timer, 0, &never, NULL);
}

int signals_open(sigset_t *before)
{
	sigset_t set;
	int fd;

	/* Ignored, which is inherited, it would take the workers' exit statuses away. */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &set, before) < 0)
		return -errno;
	return fd;
}
