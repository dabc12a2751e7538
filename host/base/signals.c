#include "signals.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>
#include <sys/signalfd.h>

/* A signal that comes after the flag was looked at and before the wait began would be noticed with
 * the next packet only. Waiting with ppoll() closes that gap for a system call a batch; a timer
 * that keeps interrupting once a signal has come closes it for nothing. Handlers have no argument
 * of their own, hence the globals. */
static volatile int nobodys_flag;
static volatile int *interrupt_flag = &nobodys_flag;
static volatile sig_atomic_t interrupts;
static int requests;
static timer_t timer;
static void (*overtime)(void *);
static void *overtime_data;

static void request(int what)
{
	static const struct itimerspec every_10_ms = {
		.it_interval.tv_nsec = 10000000,
		.it_value.tv_nsec = 1,
	};
	int saved = errno;

	__atomic_or_fetch(&requests, what, __ATOMIC_RELAXED);
	*interrupt_flag = 1;
	if (interrupts)
		timer_settime(timer, 0, &every_10_ms, NULL);
	errno = saved;
}

static void on_signal(int number)
{
	switch (number) {
	case SIGHUP: request(SIGNALS_RELOAD); break;
	case SIGUSR2: request(SIGNALS_LEAVE); break;
	default: request(SIGNALS_STOP);
	}
}

/* Ticks of the timer until a process that was asked to stop, and is still in the same filter, is
 * ended. */
enum { PATIENCE = 100 };

static volatile sig_atomic_t stop_number, ticks;

static void on_stop_alone(int number)
{
	stop_number = number;
	on_signal(number);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
}

static void on_overtime(int number)
{
	(void)number;
	if (overtime)
		overtime(overtime_data);
}

static void on_other(int number)
{
	(void)number;
}

/* There is no supervisor that would see a filter that does not return. */
static void on_tick_alone(int number)
{
	(void)number;
	if (stop_number && ++ticks > PATIENCE)
		raise(stop_number);
}

static int handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	sigaddset(&action.sa_mask, SIGTERM);
	sigaddset(&action.sa_mask, SIGINT);
	return sigaction(number, &action, NULL);
}

int signals_init(volatile int *flag, enum signals_role role)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	int failed;

	interrupt_flag = flag;
	/* The timer alone interrupts, without SA_RESTART. */
	failed = timer_create(CLOCK_MONOTONIC, &event, &timer) |
		 handle(SIGALRM, role == SIGNALS_ALONE ? on_tick_alone : on_other, 0);
	if (role == SIGNALS_ALONE)
		failed |= handle(SIGTERM, on_stop_alone, SA_RESTART) |
			  handle(SIGINT, on_stop_alone, SA_RESTART);
	else
		failed |= handle(SIGTERM, on_signal, SA_RESTART) |
			  handle(SIGHUP, on_signal, SA_RESTART) |
			  handle(SIGUSR2, on_signal, SA_RESTART) |
			  handle(SIGXCPU, on_overtime, SA_RESTART) |
			  /* Not SIG_IGN, which programs that a script starts would inherit. */
			  handle(SIGINT, on_other, SA_RESTART) |
			  handle(SIGQUIT, on_other, SA_RESTART) |
			  handle(SIGUSR1, on_other, SA_RESTART) |
			  /* Who reads what it prints may end before it does. */
			  handle(SIGPIPE, on_other, SA_RESTART);
	return failed ? -errno : 0;
}

void signals_forget(void)
{
	interrupt_flag = &nobodys_flag;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* What was asked for before is found in the flag. */
void signals_interrupt(bool on)
{
	interrupts = on;
}

int signals_take(void)
{
	static const struct itimerspec never;
	int taken;

	*interrupt_flag = 0;
	taken = __atomic_exchange_n(&requests, 0, __ATOMIC_RELAXED);
	timer_settime(timer, 0, &never, NULL);
	return taken;
}

void signals_on_overtime(void (*function)(void *), void *data)
{
	overtime = NULL;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	overtime_data = data;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	overtime = function;
}

/* The supervisor's */
static const int taken_over[] = {SIGTERM, SIGINT,  SIGQUIT, SIGHUP,
				 SIGUSR1, SIGUSR2, SIGCHLD, SIGPIPE};

int signals_open(sigset_t *before)
{
	sigset_t set;
	int fd;

	/* Ignored, which is inherited, it would take the workers' exit statuses away. */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(taken_over) / sizeof(taken_over[0]); i++)
		sigaddset(&set, taken_over[i]);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &set, before) < 0)
		return -errno;
	/* A program that became this one had them blocked. */
	for (size_t i = 0; i < sizeof(taken_over) / sizeof(taken_over[0]); i++)
		sigdelset(before, taken_over[i]);
	return fd;
}
