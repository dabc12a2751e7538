/*
 * The supervisor holds what outlives a worker: the sockets, which own the queues, and the batches,
 * in shared memory. It runs no Lua. What a script does when it is loaded is done in the workers,
 * each of which loads it for itself: the first one before the queues are bound, because what the
 * script needs must be known then, and before the others are there, so that its errors are told
 * once. A worker that dies later gets a successor.
 */
#include "supervisor.h"
#include "affinity.h"
#include "child.h"
#include "log.h"
#include "memory.h"
#include "notify.h"
#include "report.h"
#include "signals.h"
#include "upgrade.h"
#include "watch.h"
#include "bindings/explain.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { OVERFLOW_INTERVAL_MS = 1000, MEMORY_INTERVAL_MS = 100 };

static const int64_t never = INT64_MAX;

struct supervisor {
	const struct options *options;
	struct ipq_queue_options settings;
	struct children children;
	struct watch watch;
	unsigned int running;
	bool is_bound;
	bool is_stopping;
	bool is_leaving; /* packets wait for a program that follows */
	bool is_upgrading;
	bool is_ready;	 /* all workers run */
	pid_t upgrade;	 /* the check of the program that is installed now; 0: none */
	int code;	 /* the first that is not EX_OK */
	int last_signal; /* the second that asked to end */
	/* When to do what, CLOCK_MONOTONIC, ms */
	int64_t overflow_at;
	int64_t look_at;
	int64_t memory_at;
	int64_t notify_at;
};

#define FOR_EACH_CHILD(s, child)                     \
	for (struct child *child = (s)->children.of; \
	     child < (s)->children.of + (s)->children.count; child++)

static int64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Ending */

static void overflow_check(struct supervisor *s)
{
	FOR_EACH_CHILD(s, child)
	{
		struct overflow before = child->overflow;

		overflow_read(&child->overflow, child->queue_num, &child->batch->counters);
		overflow_warn(&before, &child->overflow, child->queue_num);
	}
	s->overflow_at = now_ms() + OVERFLOW_INTERVAL_MS;
}

/* Ends the workers. Those that wait for their queue end at once; those that run judge what waits in
 * theirs, but when they leave it to another program. */
static void stop(struct supervisor *s)
{
	if (s->is_stopping)
		return;
	s->is_stopping = true;
	if (!s->is_leaving)
		notify_send("STOPPING=1");
	/* Before: with length 0 a queue is always full. */
	if (s->is_bound)
		overflow_check(s);
	s->overflow_at = never;
	FOR_EACH_CHILD(s, child)
	{
		if (child->restart_at) {
			child->restart_at = 0;
			if (!s->is_leaving)
				child_drain(child);
		}
		if (!child->pid)
			continue;
		shutdown(child->channel, SHUT_WR);
		kill(child->pid, s->is_leaving ? SIGUSR2 : SIGTERM);
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
	FOR_EACH_CHILD(s, child)
	if (child->pid)
		kill(child->pid, SIGKILL);
}

/* Workers */

static void start(struct supervisor *s, struct child *child)
{
	if (child_start(&s->children, child))
		s->running++;
	else
		fail(s, EX_OSERR);
}

static void tell_running(struct supervisor *s, struct child *child,
			 const struct ipq_queue_options *settings)
{
	struct ipq_queue_options own = *settings;

	own.queue_num = child->queue_num;
	if (!child->has_run)
		report_start(s->options, &own, child->queue, child->core);
	else
		log_write(LOG_LEVEL_INFO, "queue %u: a new worker, process %d, goes on",
			  child->queue_num, child->pid);
}

/* The service manager, when all workers run for the first time. */
static void tell_ready(struct supervisor *s)
{
	FOR_EACH_CHILD(s, child)
	if (!child->has_run)
		return;
	if (s->is_ready)
		return;
	s->is_ready = true;
	notify_send("READY=1");
	if (notify_watchdog_ms())
		s->notify_at = now_ms();
}

static void take_report(struct supervisor *s, struct child *child,
			const struct worker_report *report)
{
	switch (report->news) {
	case WORKER_FILE: watch_add(&s->watch, report->path); break;
	case WORKER_LOADED:
		child->stage = CHILD_LOADED;
		if (s->is_bound)
			child_let_go(child);
		else
			s->settings = report->settings;
		break;
	case WORKER_RUNNING:
		child->stage = CHILD_RUNNING;
		tell_running(s, child, &report->settings);
		child->has_run = true;
		tell_ready(s);
		break;
	case WORKER_RELOADED:
		log_write(LOG_LEVEL_INFO, "queue %u: %s was reloaded", child->queue_num,
			  s->options->script);
		break;
	}
}

static void take_reports(struct supervisor *s, struct child *child)
{
	struct worker_report report;

	while (child->channel >= 0 && child_read(child, &report))
		take_report(s, child, &report);
}

static void give_up(struct supervisor *s, struct child *child)
{
	child->is_given_up = true;
	log_write(
		LOG_LEVEL_ERROR,
		"queue %u: %u workers died within a minute, which is the most (--max-restarts); %s",
		child->queue_num, s->options->max_restarts + 1,
		s->options->exit_on_give_up ? "ending, as --on-give-up says"
					    : "from here on every packet gets the error verdict, "
					      "until HUP or --watch has "
					      "the script loaded again");
	if (s->options->exit_on_give_up)
		fail(s, EX_SOFTWARE);
	else
		start(s, child);
}

/* A worker has died that should not have. */
static void replace(struct supervisor *s, struct child *child)
{
	bool is_fruitless = child->batch->counters.packets == child->packets_at;
	int delay = backoff_next(&child->backoff, now_ms(), is_fruitless, s->options->max_restarts);

	child->restarts++;
	if (delay < 0)
		give_up(s, child);
	else if (delay == 0)
		start(s, child);
	else
		child->restart_at = now_ms() + delay;
}

/* A worker that judged without the script has ended, for it is to be tried again. */
static void resume(struct supervisor *s, struct child *child)
{
	child->is_given_up = false;
	child->backoff = (struct backoff){0};
	start(s, child);
}

static void bury(struct supervisor *s, struct child *child, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
	bool has_left = WIFEXITED(status) && (s->is_stopping || (child->is_given_up && code == 0));

	take_reports(s, child);
	if (child->channel >= 0)
		close(child->channel);
	child->channel = -1;
	s->running--;
	if (child->has_run && !has_left && !s->last_signal)
		child_died(child, status);
	child->pid = 0;
	if (!child->has_run) {
		fail(s, code);
	} else if (s->is_stopping) {
		/* The first code that is not EX_OK counts. */
		if (s->code == EX_OK)
			s->code = code;
		if (!has_left && !s->last_signal && !s->is_leaving)
			child_drain(child);
	} else if (has_left) {
		resume(s, child);
	} else {
		replace(s, child);
	}
}

static void upgrade_checked(struct supervisor *s, int status);

static void reap(struct supervisor *s)
{
	int upgrade_status;

	if (s->upgrade && waitpid(s->upgrade, &upgrade_status, WNOHANG) == s->upgrade)
		upgrade_checked(s, upgrade_status);
	FOR_EACH_CHILD(s, child)
	{
		int status;

		while (child->pid && waitpid(child->pid, &status,
					     WNOHANG | WUNTRACED | WCONTINUED) == child->pid) {
			if (WIFSTOPPED(status) || WIFCONTINUED(status))
				child->watchdog.is_stopped = WIFSTOPPED(status);
			else
				bury(s, child, status);
		}
	}
}

/* Reload */

static void reload(struct supervisor *s)
{
	FOR_EACH_CHILD(s, child)
	{
		/* One without a script ends, and one with it follows. */
		if (child->pid && child->has_run)
			kill(child->pid, SIGHUP);
	}
}

/* Upgrade */

/* The program that is installed now must be able to go on: it is asked first. */
static void upgrade_begin(struct supervisor *s)
{
	pid_t pid;

	if (s->is_stopping || s->upgrade)
		return;
	pid = upgrade_check();
	if (pid < 0)
		log_write(LOG_LEVEL_ERROR, "cannot start %s: %s", upgrade_path(), strerror(-pid));
	else
		s->upgrade = pid;
}

static void upgrade_checked(struct supervisor *s, int status)
{
	s->upgrade = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != EX_OK) {
		log_write(LOG_LEVEL_ERROR,
			  "%s cannot take over (status %d): the program that runs goes on",
			  upgrade_path(), WIFEXITED(status) ? WEXITSTATUS(status) : -1);
		return;
	}
	s->is_leaving = true;
	s->is_upgrading = true;
	stop(s);
}

/* All workers have left. Comes back only where it fails. */
static void upgrade_finish(struct supervisor *s)
{
	struct inheritance inheritance = {0};
	int ret;

	FOR_EACH_CHILD(s, child)
	{
		inheritance.sockets[inheritance.count].fd = ipq_queue_fd(child->queue);
		inheritance.sockets[inheritance.count++].queue_num = child->queue_num;
	}
	log_write(LOG_LEVEL_INFO, "%s takes over", upgrade_path());
	ret = inherit_exec(&inheritance, upgrade_path(), upgrade_argv());
	log_write(LOG_LEVEL_ERROR, "cannot start %s: %s", upgrade_path(), strerror(-ret));
	if (s->code == EX_OK)
		s->code = EX_OSERR;
}

/* Watching */

static void overtime(struct supervisor *s, struct child *child, enum watchdog_verdict verdict)
{
	char packet[160];

	if (verdict == WATCHDOG_WARN) {
		kill(child->pid, SIGXCPU);
		return;
	}
	report_packet(child->batch, packet, sizeof(packet));
	log_write(LOG_LEVEL_ERROR,
		  "queue %u: no progress for %u ms%s%s; its worker is ended (--time-limit)",
		  child->queue_num, s->options->time_limit_ms, packet[0] ? ", in " : "", packet);
	kill(child->pid, SIGKILL);
}

static void look(struct supervisor *s)
{
	int64_t now = now_ms(), limit = s->options->time_limit_ms, interval = never;

	FOR_EACH_CHILD(s, child)
	{
		enum watchdog_verdict verdict = WATCHDOG_FINE;

		if (child->pid && child->stage == CHILD_RUNNING)
			verdict = watchdog_look(&child->watchdog, child->batch, now, limit);
		if (verdict != WATCHDOG_FINE)
			overtime(s, child, verdict);
		if (watchdog_interval_ms(&child->watchdog, limit) < interval)
			interval = watchdog_interval_ms(&child->watchdog, limit);
	}
	s->look_at = now + interval;
}

static void memory_check(struct supervisor *s)
{
	uint64_t limit = (uint64_t)s->options->memory_limit_mb << 20;

	FOR_EACH_CHILD(s, child)
	{
		uint64_t used = child->pid ? memory_of(child->pid) : 0;

		if (used <= limit)
			continue;
		log_write(LOG_LEVEL_ERROR,
			  "queue %u: its worker takes %u MB; it is ended (--memory-limit)",
			  child->queue_num, (unsigned int)(used >> 20));
		kill(child->pid, SIGKILL);
	}
	s->memory_at = now_ms() + MEMORY_INTERVAL_MS;
}

static void restart_due(struct supervisor *s)
{
	FOR_EACH_CHILD(s, child)
	if (child->restart_at && child->restart_at <= now_ms())
		start(s, child);
}

/* Events */

/* Where the service manager keeps the sockets, another process may follow: packets wait for it. */
static void stop_as_asked(struct supervisor *s)
{
	s->is_leaving = s->is_ready && notify_can_store();
	stop(s);
}

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->children.signals, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD: reap(s); break;
		case SIGHUP: reload(s); break;
		case SIGUSR2: upgrade_begin(s); break;
		default:
			if (s->is_stopping)
				end_at_once(s, (int)info.ssi_signo);
			else
				stop_as_asked(s);
		}
	}
}

static int64_t earliest(const struct supervisor *s)
{
	int64_t at = s->overflow_at;

	at = s->look_at < at ? s->look_at : at;
	at = s->memory_at < at ? s->memory_at : at;
	at = s->notify_at < at ? s->notify_at : at;
	at = s->watch.due_at && s->watch.due_at < at ? s->watch.due_at : at;
	for (unsigned int i = 0; i < s->children.count; i++) {
		const struct child *child = &s->children.of[i];

		if (child->restart_at && child->restart_at < at)
			at = child->restart_at;
	}
	return at;
}

static int timeout_ms(const struct supervisor *s)
{
	int64_t at = earliest(s), left = at - now_ms();

	if (at == never)
		return -1;
	return left > 0 ? (int)left : 0;
}

static void do_what_is_due(struct supervisor *s)
{
	int64_t now = now_ms();

	if (s->overflow_at <= now)
		overflow_check(s);
	if (s->look_at <= now)
		look(s);
	if (s->memory_at <= now)
		memory_check(s);
	if (s->notify_at <= now) {
		notify_send("WATCHDOG=1");
		s->notify_at = now + notify_watchdog_ms() / 2;
	}
	if (watch_is_due(&s->watch, now))
		reload(s);
	if (!s->is_stopping)
		restart_due(s);
}

static void handle_events(struct supervisor *s)
{
	struct pollfd fds[OPTIONS_QUEUES_MAX + 2];
	unsigned int count = s->children.count;

	for (unsigned int i = 0; i < count; i++)
		fds[i] = (struct pollfd){.fd = s->children.of[i].channel, .events = POLLIN};
	fds[count] = (struct pollfd){.fd = s->children.signals, .events = POLLIN};
	fds[count + 1] = (struct pollfd){.fd = s->watch.fd, .events = POLLIN};
	if (poll(fds, count + 2, timeout_ms(s)) >= 0) {
		for (unsigned int i = 0; i < count; i++)
			if (fds[i].revents)
				take_reports(s, &s->children.of[i]);
		if (fds[count].revents)
			take_signals(s);
		if (fds[count + 1].revents)
			watch_read(&s->watch, now_ms());
	}
	do_what_is_due(s);
}

/* From the first to the last */

static int bind_one(struct supervisor *s, struct child *child)
{
	struct ipq_queue_options settings = s->settings;
	enum ipq_cause cause;
	char text[512];
	int ret = child->queue_error;

	settings.queue_num = child->queue_num;
	if (ret == 0)
		ret = child->is_adopted ? ipq_queue_rebind(child->queue, &settings)
					: ipq_queue_bind(child->queue, &settings);
	if (ret == 0)
		return EX_OK;
	cause = ipq_explain_open(text, sizeof(text), &settings, ret);
	log_write(LOG_LEVEL_ERROR, "%s", text);
	return cause == IPQ_CAUSE_PERMISSION ? EX_NOPERM : EX_UNAVAILABLE;
}

/* The service manager keeps the sockets, and with them the queues, from one process of the service
 * to the next. */
static void sockets_store(struct supervisor *s)
{
	char name[16];

	if (!notify_can_store())
		return;
	FOR_EACH_CHILD(s, child)
	{
		inherit_name(child->queue_num, name, sizeof(name));
		if (!child->is_adopted)
			notify_store(ipq_queue_fd(child->queue), name);
	}
}

static void bind_all(struct supervisor *s)
{
	FOR_EACH_CHILD(s, child)
	{
		int code = bind_one(s, child);

		if (code != EX_OK) {
			fail(s, code);
			return;
		}
	}
	s->is_bound = true;
	sockets_store(s);
	s->overflow_at = now_ms() + OVERFLOW_INTERVAL_MS;
	if (s->options->time_limit_ms)
		s->look_at = now_ms();
	if (s->options->memory_limit_mb)
		s->memory_at = now_ms();
}

/* Until the worker has got so far, or all are to end. */
static void await(struct supervisor *s, const struct child *child, enum child_stage stage)
{
	while (!s->is_stopping && child->stage < stage)
		handle_events(s);
}

static void supervise(struct supervisor *s)
{
	struct child *first = &s->children.of[0];

	start(s, first);
	await(s, first, CHILD_LOADED);
	if (!s->is_stopping)
		bind_all(s);
	if (!s->is_stopping)
		child_let_go(first);
	await(s, first, CHILD_RUNNING);
	for (unsigned int i = 1; i < s->children.count && !s->is_stopping; i++)
		start(s, &s->children.of[i]);
	while (s->running || (!s->is_stopping && earliest(s) != never))
		handle_events(s);
}

static void tell_end(struct supervisor *s)
{
	struct overflow all_overflow = {.is_known = true};
	struct ipq_counters all = {0};
	unsigned int told = 0, restarts = 0;
	char name[32];

	FOR_EACH_CHILD(s, child)
	{
		if (!child->has_run)
			continue;
		overflow_read(&child->overflow, child->queue_num, &child->batch->counters);
		snprintf(name, sizeof(name), "queue %u", child->queue_num);
		report_end(name, &child->batch->counters, &child->overflow, child->restarts);
		report_add(&all, &all_overflow, &child->batch->counters, &child->overflow);
		restarts += child->restarts;
		told++;
	}
	if (told > 1)
		report_end("all queues", &all, &all_overflow, restarts);
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

static int prepare(struct supervisor *s)
{
	struct children *children = &s->children;
	struct inheritance inheritance;
	int cores = affinity_count();
	int code;

	inherit_take(&inheritance);
	children->signals = signals_open(&children->signals_before);
	if (children->signals < 0 || cores < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot start: %s",
			  strerror(children->signals < 0 ? -children->signals : -cores));
		return EX_OSERR;
	}
	cores_check(s->options, cores);
	code = watch_open(&s->watch, s->options->watch);
	for (; children->count < s->options->queue_count && code == EX_OK; children->count++)
		code = child_prepare(&children->of[children->count], s->options, children->count,
				     &inheritance);
	inherit_close(&inheritance);
	return code;
}

static void clean_up(struct supervisor *s)
{
	FOR_EACH_CHILD(s, child)
	child_release(child);
	watch_close(&s->watch);
	if (s->children.signals >= 0)
		close(s->children.signals);
	sigprocmask(SIG_SETMASK, &s->children.signals_before, NULL);
}

int supervisor_run(const struct options *options)
{
	struct supervisor s = {
		.options = options,
		.children = {.options = options, .signals = -1},
		.overflow_at = never,
		.look_at = never,
		.memory_at = never,
		.notify_at = never,
	};
	int code = prepare(&s);

	if (code == EX_OK) {
		supervise(&s);
		tell_end(&s);
		if (s.is_upgrading)
			upgrade_finish(&s);
		code = s.code;
	}
	clean_up(&s);
	if (s.last_signal) {
		signal(s.last_signal, SIG_DFL);
		raise(s.last_signal);
	}
	return code;
}
