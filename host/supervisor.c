/*
 * The supervisor holds what outlives a worker: the sockets, which own the queues, and the batches,
 * in shared memory. It runs no Lua. What a script does when it is loaded is done in the workers,
 * each of which loads it for itself: the first one before the queues are bound, because what the
 * script needs must be known then, and before the others are there, so that its errors are told
 * once.
 */
#include "supervisor.h"
#include "affinity.h"
#include "log.h"
#include "overflow.h"
#include "report.h"
#include "session.h"
#include "worker.h"
#include "bindings/explain.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { OVERFLOW_INTERVAL_MS = 1000 };

struct worker {
	uint16_t queue_num;
	int core; /* -1: any */
	struct ipq_queue *queue;
	int queue_error; /* why there is none */
	struct ipq_batch *batch;
	struct overflow overflow;
	pid_t pid;   /* 0: it does not run */
	int channel; /* -1: none */
	enum worker_stage stage;
};

struct supervisor {
	const struct options *options;
	struct ipq_queue_options settings;
	unsigned int count;
	unsigned int running;
	bool is_bound;
	bool is_stopping;
	int code;	 /* the first that is not EX_OK */
	int last_signal; /* the second that asked to end */
	int signals;	 /* signalfd */
	sigset_t signals_before;
	int64_t overflow_at; /* CLOCK_MONOTONIC, ms */
	struct worker workers[OPTIONS_QUEUES_MAX];
};

static int64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Overflow */

static void overflow_check(struct supervisor *s)
{
	for (unsigned int i = 0; i < s->count; i++) {
		struct worker *w = &s->workers[i];
		struct overflow before = w->overflow;

		overflow_read(&w->overflow, w->queue_num, &w->batch->counters);
		overflow_warn(&before, &w->overflow, w->queue_num);
	}
	s->overflow_at = now_ms() + OVERFLOW_INTERVAL_MS;
}

/* Ending */

/* Those that run judge what waits in their queues. Those that wait for their queue end. */
static void stop(struct supervisor *s)
{
	if (s->is_stopping)
		return;
	s->is_stopping = true;
	/* Before: with length 0 a queue is always full. */
	if (s->is_bound)
		overflow_check(s);
	for (unsigned int i = 0; i < s->count; i++) {
		struct worker *w = &s->workers[i];

		if (!w->pid)
			continue;
		shutdown(w->channel, SHUT_WR);
		kill(w->pid, SIGTERM);
	}
}

static void fail(struct supervisor *s, int code)
{
	if (s->code == EX_OK)
		s->code = code;
	stop(s);
}

static void end_at_once(struct supervisor *s, int number)
{
	s->last_signal = number;
	for (unsigned int i = 0; i < s->count; i++)
		if (s->workers[i].pid)
			kill(s->workers[i].pid, SIGKILL);
}

/* Workers */

/* In the new process: what is not its own is closed. */
static void leave(struct supervisor *s, const struct worker *own)
{
	close(s->signals);
	for (unsigned int i = 0; i < s->count; i++) {
		struct worker *w = &s->workers[i];

		if (w->channel >= 0)
			close(w->channel);
		if (w == own)
			continue;
		ipq_queue_close(w->queue);
		ipq_batch_free(w->batch);
	}
}

static int run_in_worker(struct supervisor *s, struct worker *w, int channel, pid_t parent)
{
	struct worker_task task = {
		.options = s->options,
		.queue = w->queue,
		.queue_num = w->queue_num,
		.batch = w->batch,
		.core = w->core,
		.channel = channel,
		.signals = &s->signals_before,
	};

	/* A worker that nobody can end must not stay; the second question is whether the supervisor
	 * was gone before the first. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		return EX_OSERR;
	leave(s, w);
	return worker_run(&task);
}

static void start(struct supervisor *s, struct worker *w)
{
	int ends[2] = {-1, -1};
	pid_t parent = getpid();
	pid_t pid = -1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0)
		pid = fork();
	if (pid == 0) {
		close(ends[0]);
		exit(run_in_worker(s, w, ends[1], parent));
	}
	if (ends[1] >= 0)
		close(ends[1]);
	if (pid < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot start a worker for queue %u: %s", w->queue_num,
			  strerror(errno));
		if (ends[0] >= 0)
			close(ends[0]);
		fail(s, EX_OSERR);
		return;
	}
	w->pid = pid;
	w->channel = ends[0];
	w->stage = WORKER_LOADING;
	s->running++;
}

/* The queue is bound, the script is loaded: packets may come. */
static void let_go(struct worker *w)
{
	(void)send(w->channel, "", 1, MSG_NOSIGNAL);
}

/* Takes what the worker has to tell. False where there is nothing, now or any more. */
static bool take_report(struct supervisor *s, struct worker *w)
{
	struct worker_report report;
	ssize_t len = recv(w->channel, &report, sizeof(report), MSG_DONTWAIT);

	if (len < 0 && errno == EAGAIN)
		return false;
	if (len != sizeof(report)) {
		close(w->channel);
		w->channel = -1;
		return false;
	}
	w->stage = report.stage;
	if (report.stage == WORKER_RUNNING) {
		report.settings.queue_num = w->queue_num;
		report_start(s->options, &report.settings, w->queue, w->core);
	} else if (s->is_bound) {
		let_go(w);
	} else {
		s->settings = report.settings;
	}
	return true;
}

/* The exit code of a worker that has ended. */
static int code_of(const struct supervisor *s, const struct worker *w, int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	if (!s->last_signal)
		log_write(LOG_LEVEL_ERROR,
			  "queue %u: its worker, process %d, was killed by signal %d (%s)",
			  w->queue_num, w->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
	return EX_SOFTWARE;
}

static void reap(struct supervisor *s)
{
	for (unsigned int i = 0; i < s->count; i++) {
		struct worker *w = &s->workers[i];
		int status;

		if (!w->pid || waitpid(w->pid, &status, WNOHANG) != w->pid)
			continue;
		while (w->channel >= 0)
			take_report(s, w);
		fail(s, code_of(s, w, status));
		w->pid = 0;
		s->running--;
	}
}

/* Events */

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(s);
		else if (s->is_stopping)
			end_at_once(s, (int)info.ssi_signo);
		else
			stop(s);
	}
}

static int timeout_ms(const struct supervisor *s)
{
	int64_t left = s->overflow_at - now_ms();

	if (!s->is_bound || s->is_stopping)
		return -1;
	return left > 0 ? (int)left : 0;
}

static void handle_events(struct supervisor *s)
{
	struct pollfd fds[OPTIONS_QUEUES_MAX + 1];

	for (unsigned int i = 0; i < s->count; i++)
		fds[i] = (struct pollfd){.fd = s->workers[i].channel, .events = POLLIN};
	fds[s->count] = (struct pollfd){.fd = s->signals, .events = POLLIN};
	if (poll(fds, s->count + 1, timeout_ms(s)) < 0)
		return;
	for (unsigned int i = 0; i < s->count; i++)
		if (fds[i].revents)
			take_report(s, &s->workers[i]);
	if (fds[s->count].revents)
		take_signals(s);
	if (timeout_ms(s) == 0)
		overflow_check(s);
}

/* From the first to the last */

static int bind_one(struct supervisor *s, struct worker *w)
{
	struct ipq_queue_options settings = s->settings;
	enum ipq_cause cause;
	char text[512];
	int ret = w->queue_error;

	settings.queue_num = w->queue_num;
	if (ret == 0)
		ret = ipq_queue_bind(w->queue, &settings);
	if (ret == 0)
		return EX_OK;
	cause = ipq_explain_open(text, sizeof(text), &settings, ret);
	log_write(LOG_LEVEL_ERROR, "%s", text);
	return cause == IPQ_CAUSE_PERMISSION ? EX_NOPERM : EX_UNAVAILABLE;
}

static void bind_all(struct supervisor *s)
{
	int code;

	for (unsigned int i = 0; i < s->count; i++) {
		code = bind_one(s, &s->workers[i]);
		if (code != EX_OK) {
			fail(s, code);
			return;
		}
	}
	s->is_bound = true;
	s->overflow_at = now_ms() + OVERFLOW_INTERVAL_MS;
}

/* Until the worker has got so far, or all are to end. */
static void await(struct supervisor *s, const struct worker *w, enum worker_stage stage)
{
	while (!s->is_stopping && w->stage < stage)
		handle_events(s);
}

static void supervise(struct supervisor *s)
{
	struct worker *first = &s->workers[0];

	start(s, first);
	await(s, first, WORKER_LOADED);
	if (!s->is_stopping)
		bind_all(s);
	if (!s->is_stopping)
		let_go(first);
	await(s, first, WORKER_RUNNING);
	for (unsigned int i = 1; i < s->count && !s->is_stopping; i++)
		start(s, &s->workers[i]);
	while (s->running)
		handle_events(s);
}

static void tell_end(struct supervisor *s)
{
	struct overflow all_overflow = {.is_known = true};
	struct ipq_counters all = {0};
	unsigned int told = 0;
	char name[32];

	for (unsigned int i = 0; i < s->count; i++) {
		struct worker *w = &s->workers[i];

		if (w->stage != WORKER_RUNNING)
			continue;
		overflow_read(&w->overflow, w->queue_num, &w->batch->counters);
		snprintf(name, sizeof(name), "queue %u", w->queue_num);
		report_end(name, &w->batch->counters, &w->overflow);
		report_add(&all, &all_overflow, &w->batch->counters, &w->overflow);
		told++;
	}
	if (told > 1)
		report_end("all queues", &all, &all_overflow);
}

/* Warns where cores are too few for what is asked. */
static void cores_check(const struct options *options, int cores)
{
	if (options->pin && options->queue_count > (unsigned int)cores)
		log_write(LOG_LEVEL_WARN, "--pin: %u queues share %d cores", options->queue_count,
			  cores);
	if (options->spin_us && options->queue_count >= (unsigned int)cores)
		log_write(LOG_LEVEL_WARN,
			  "--spin: %u polling workers on %d cores leave none to those whose "
			  "packets they wait for",
			  options->queue_count, cores);
}

static int worker_prepare(struct supervisor *s, unsigned int index)
{
	struct ipq_queue_options settings = s->options->queue;
	struct worker *w = &s->workers[index];

	w->queue_num = (uint16_t)(settings.queue_num + index);
	w->channel = -1;
	w->core = s->options->pin ? affinity_core(index) : -1;
	/* A kernel without netfilter is told after a script that cannot be used. */
	w->queue_error = ipq_queue_new(&w->queue, w->queue_num);
	/* As large as any script's needs. */
	return session_batch_new(&w->batch, s->options, ipq_queue_slot_size(&settings));
}

static int prepare(struct supervisor *s)
{
	int cores = affinity_count();
	int code = EX_OK;

	s->signals = signals_open(&s->signals_before);
	if (s->signals < 0 || cores < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot start: %s",
			  strerror(s->signals < 0 ? -s->signals : -cores));
		return EX_OSERR;
	}
	cores_check(s->options, cores);
	for (; s->count < s->options->queue_count && code == EX_OK; s->count++)
		code = worker_prepare(s, s->count);
	return code;
}

static void clean_up(struct supervisor *s)
{
	for (unsigned int i = 0; i < s->count; i++) {
		ipq_queue_close(s->workers[i].queue);
		ipq_batch_free(s->workers[i].batch);
	}
	if (s->signals >= 0)
		close(s->signals);
	sigprocmask(SIG_SETMASK, &s->signals_before, NULL);
}

int supervisor_run(const struct options *options)
{
	struct supervisor s = {.options = options, .signals = -1};
	int code = prepare(&s);

	if (code == EX_OK) {
		supervise(&s);
		tell_end(&s);
		code = s.code;
	}
	clean_up(&s);
	if (s.last_signal) {
		signal(s.last_signal, SIG_DFL);
		raise(s.last_signal);
	}
	return code;
}
