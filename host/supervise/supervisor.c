/* The loop of the supervisor, from its beginning to its end. */
#include "supervisor.h"
#include "notify.h"
#include "supervise.h"
#include "host/base/base.h"
#include "host/figures/report.h"
#include "host/judge/affinity.h"
#include "host/judge/landlock.h"
#include "host/rules/trial.h"
#include "bindings/explain.h"
#include "lib/flow/shared.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/signalfd.h>

/* Events */

enum { WITHOUT_POLL_MS = 20 };

/* Where the service manager keeps the sockets, another process may follow: packets wait for it. */
static void stop_as_asked(struct supervisor *s)
{
	bool has_run = s->phase == PHASE_RULING || s->phase == PHASE_READY;

	crew_end(s, has_run && notify_can_store() ? PHASE_LEAVING : PHASE_STOPPING);
}

/* Somebody asks for the script anew, or the terminal was closed. */
static void hang_up(struct supervisor *s)
{
	if (s->has_terminal && !isatty(STDERR_FILENO))
		stop_as_asked(s);
	else
		reload_begin(s);
}

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->queues.signals, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			takeover_reap(s);
			crew_reap(s);
			writers_tend(&s->queues.writers);
			break;
		case SIGHUP: hang_up(s); break;
		case SIGUSR1: statistics_tell(s); break;
		case SIGUSR2: takeover_begin(s); break;
		/* Nobody reads its messages any more. */
		case SIGPIPE: break;
		case SIGQUIT:
			crew_end(s, PHASE_STOPPING);
			crew_kill(s, SIGQUIT);
			break;
		default:
			if (is_ending(s))
				crew_kill(s, (int)info.ssi_signo);
			else
				stop_as_asked(s);
		}
	}
}

static int64_t earliest(const struct supervisor *s)
{
	int64_t at = s->overflow_at;

	at = s->survey_at < at ? s->survey_at : at;
	at = s->look_at < at ? s->look_at : at;
	at = s->memory_at < at ? s->memory_at : at;
	at = s->notify_at < at ? s->notify_at : at;
	at = s->statistics.look_at < at ? s->statistics.look_at : at;
	at = s->watch.due_at && s->watch.due_at < at ? s->watch.due_at : at;
	at = control_due(&s->control) < at ? control_due(&s->control) : at;
	for (unsigned int i = 0; i < s->queues.count; i++) {
		const struct queue *queue = &s->queues.of[i];

		if (queue->restart_at && queue->restart_at < at)
			at = queue->restart_at;
	}
	return at;
}

static int timeout_ms(const struct supervisor *s)
{
	int64_t at = earliest(s), left = at - clock_ms();

	if (at == NEVER)
		return -1;
	return left > 0 ? (int)left : 0;
}

/* What workers, and the service manager, must not wait for. */
static void tend(struct supervisor *s)
{
	int64_t now = clock_ms();

	if (s->look_at <= now)
		limits_progress(s);
	takeover_look(s);
	if (s->memory_at <= now)
		limits_memory(s);
	if (s->notify_at <= now) {
		notify_send("WATCHDOG=1");
		s->notify_at = now + notify_watchdog_ms() / 2;
	}
	writers_tend(&s->queues.writers);
	if (!is_ending(s))
		crew_restart_due(s);
}

static void do_what_is_due(struct supervisor *s)
{
	int64_t now = clock_ms();

	if (s->overflow_at <= now)
		statistics_overflow(s);
	if (s->survey_at <= now)
		survey_look(s);
	if (s->statistics.look_at <= now)
		statistics_look(s);
	if (watch_is_due(&s->watch, now))
		reload_begin(s);
	crew_ready(s);
	tend(s);
}

static void read_all(struct supervisor *s, struct queue *queue)
{
	for (int role = 0; role < QUEUE_ROLES; role++)
		if (queue->child[role].pid)
			crew_read(s, queue, (enum queue_role)role);
}

/* Rules take seconds where another program changes some, or there are thousands. Signals wait; a
 * worker that dies while rules are put in place has its successor. */
static void tend_meanwhile(void *data)
{
	struct supervisor *s = data;

	if (!is_ending(s)) {
		FOR_EACH_QUEUE (s, queue)
			read_all(s, queue);
		takeover_reap(s);
		crew_reap(s);
	}
	tend(s);
}

/* Waits for them. Where the kernel does not let it, as beyond RLIMIT_NOFILE, all are looked at from
 * time to time. */
static bool wait_for(struct pollfd *fds, unsigned int count, int timeout)
{
	if (poll(fds, count, timeout) >= 0)
		return true;
	if (errno == EINTR)
		return false;
	(void)poll(NULL, 0, WITHOUT_POLL_MS);
	for (unsigned int i = 0; i < count; i++)
		fds[i].revents = fds[i].fd >= 0 ? POLLIN : 0;
	return true;
}

static void handle_events(struct supervisor *s)
{
	struct pollfd fds[OPTIONS_QUEUES_MAX * QUEUE_ROLES + CONTROL_CLIENTS_MAX + 3];
	unsigned int count = 0;

	fds[count++] = (struct pollfd){.fd = s->queues.signals, .events = POLLIN};
	fds[count++] = (struct pollfd){.fd = s->watch.fd, .events = POLLIN};
	FOR_EACH_QUEUE (s, queue)
		for (int role = 0; role < QUEUE_ROLES; role++)
			fds[count++] = (struct pollfd){
				.fd = queue->child[role].news,
				.events = POLLIN,
			};
	count += control_poll(&s->control, fds + count);
	if (wait_for(fds, count, timeout_ms(s))) {
		/* Which worker a channel is of may change while others are read. */
		FOR_EACH_QUEUE (s, queue)
			read_all(s, queue);
		if (fds[0].revents)
			take_signals(s);
		if (fds[1].revents)
			watch_read(&s->watch, clock_ms());
		control_serve(&s->control);
	}
	do_what_is_due(s);
}

/* From the first to the last */

static int bind_one(struct supervisor *s, struct queue *queue)
{
	struct ipq_queue_options settings = s->settings;
	enum ipq_cause cause;
	char text[512];
	int ret = queue->socket_error;

	settings.queue_num = queue->num;
	if (ret == 0)
		ret = queue->is_adopted ? ipq_queue_rebind(queue->socket, &settings)
					: ipq_queue_bind(queue->socket, &settings);
	queue->settings = settings;
	queue->owner_settings = settings;
	if (ret == 0)
		return EX_OK;
	cause = ipq_explain_open(text, sizeof(text), &settings, ret);
	log_write(LOG_LEVEL_ERROR, "%s", text);
	return cause == IPQ_CAUSE_PERMISSION ? EX_NOPERM : EX_UNAVAILABLE;
}

static void bind_all(struct supervisor *s)
{
	FOR_EACH_QUEUE (s, queue) {
		int code = bind_one(s, queue);

		if (code != EX_OK) {
			crew_fail(s, code);
			return;
		}
	}
	s->phase = PHASE_BOUND;
	takeover_store(s);
	s->overflow_at = clock_ms();
	s->survey_at = clock_ms();
	s->statistics.look_at = clock_ms();
	if (s->options->time_limit_ms)
		s->look_at = clock_ms();
	if (s->options->memory_limit_mb)
		s->memory_at = clock_ms();
}

/* Until the worker has got so far, or all are to end. */
static void await(struct supervisor *s, const struct queue *queue, enum child_stage stage)
{
	while (!is_ending(s) && queue->child[QUEUE_OWNER].stage < stage)
		handle_events(s);
}

static void supervise(struct supervisor *s)
{
	struct queue *first = &s->queues.of[0];

	crew_start(s, first);
	await(s, first, CHILD_LOADED);
	if (!is_ending(s))
		bind_all(s);
	if (!is_ending(s))
		child_order(&first->child[QUEUE_OWNER], WORKER_GO, 0);
	await(s, first, CHILD_RUNNING);
	for (unsigned int i = 1; i < s->queues.count && !is_ending(s); i++)
		crew_start(s, &s->queues.of[i]);
	while (s->running || (!is_ending(s) && earliest(s) != NEVER))
		handle_events(s);
}

static void tell_end(struct supervisor *s)
{
	static struct stats stats;
	struct overflow all_overflow = {.is_known = true};
	struct ipq_counters all = {0};
	unsigned int told = 0, restarts = 0;

	FOR_EACH_QUEUE (s, queue) {
		if (!queue->has_run)
			continue;
		queue_count(queue, &stats);
		overflow_read(&queue->overflow, queue->num, &stats.counters);
		report_end(queue->num, &stats.counters, &queue->overflow, queue->restarts);
		report_add(&all, &all_overflow, &stats.counters, &queue->overflow);
		restarts += queue->restarts;
		told++;
	}
	if (told > 1)
		report_end(LOG_NO_QUEUE, &all, &all_overflow, restarts);
}

/* Warns where cores are too few for what is asked. */
static void cores_check(const struct options *options)
{
	int cores = options->pin || options->spin_us ? affinity_count() : 0;

	if (cores <= 0)
		return;
	if (options->pin && options->queue_count > (unsigned int)cores)
		log_write(LOG_LEVEL_WARN, "--pin: %u queues share %d cores", options->queue_count,
			  cores);
	if (options->spin_us && options->queue_count >= (unsigned int)cores)
		log_write(LOG_LEVEL_WARN,
			  "--spin: %u polling workers on %d cores leave none to those whose "
			  "packets they wait for",
			  options->queue_count, cores);
}

/* What the sandbox lacks is no reason not to start. */
static void sandbox_check(const struct options *options)
{
	if (options->is_sandboxed && landlock_version() == LANDLOCK_NONE)
		log_write(LOG_LEVEL_WARN,
			  "this kernel has no Landlock: workers may write the files of %s",
			  options->user ? options->user : "root");
}

/* Memory for the tables that all workers share: as it was inherited, where this program can read it. */
static void share(struct queues *queues, struct inheritance *inheritance)
{
	struct region *region = &queues->shared;
	size_t size = (size_t)queues->options->shared_memory_mb << 20;
	int ret = region_prepare(region, inheritance, INHERIT_SHARED, 0, size, ipq_shared_check);

	if (region->has_refused && !region->is_inherited)
		log_write(LOG_LEVEL_WARN, "the shared tables of the program before cannot be read; "
					  "they are empty now");
	if (ret == 0 && !region->is_inherited)
		ret = ipq_shared_format(region->memory, size);
	if (ret == 0)
		return;
	log_write(LOG_LEVEL_WARN, "no memory for shared tables: %s; each worker has its own",
		  strerror(-ret));
	region_release(region);
}

static int prepare(struct supervisor *s)
{
	struct queues *queues = &s->queues;
	struct inheritance inheritance;
	uint32_t lost;
	int code;

	if (s->options->user) {
		code = privileges_find(&queues->user, s->options->user);
		if (code < 0)
			return report_no_user(s->options->user, code);
	}
	inherit_take(&inheritance);
	s->is_successor = inheritance.count > 0;
	queues->signals = signals_open(&queues->signals_before);
	if (queues->signals < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot start: %s", strerror(-queues->signals));
		return EX_OSERR;
	}
	writers_start(&queues->writers);
	cores_check(s->options);
	sandbox_check(s->options);
	code = watch_open(&s->watch, s->options->watch);
	queues->watch = s->watch.fd;
	for (; queues->count < s->options->queue_count && code == EX_OK; queues->count++)
		code = queue_prepare(&queues->of[queues->count], s->options, queues->count,
				     &inheritance);
	share(queues, &inheritance);
	inherit_give_back(&inheritance);
	if (code == EX_OK)
		code = statistics_open(s);
	if (code == EX_OK) {
		(void)trial_loses(&lost);
		queues->kernel_loses = lost;
	}
	if (code == EX_OK)
		control_open(&s->control, s->options->name, commands_answer, s);
	queues->control = &s->control;
	return code;
}

static void clean_up(struct supervisor *s)
{
	statistics_close(s);
	control_close(&s->control);
	/* Where another program was to take over, and could not. */
	rules_remove(&s->rules);
	if (s->is_successor)
		rules_sweep(&s->rules, RULES_LEFT_BY_SELF);
	FOR_EACH_QUEUE (s, queue) {
		/* A process that a worker has left may have the socket, too. */
		if (s->phase == PHASE_STOPPING && queue->has_run)
			(void)ipq_queue_unbind(queue->socket, queue->num);
		queue_release(queue);
	}
	region_release(&s->queues.shared);
	watch_close(&s->watch);
	writers_end(&s->queues.writers);
	if (s->queues.signals >= 0)
		close(s->queues.signals);
	/* One that waits is forgotten. */
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, &s->queues.signals_before, NULL);
}

/* Gives the exit code. */
static int run(struct supervisor *s)
{
	int code = prepare(s);

	s->meanwhile = (struct command_meanwhile){tend_meanwhile, s};
	rules_init(&s->rules, s->options, &s->meanwhile);
	if (code == EX_OK) {
		supervise(s);
		tell_end(s);
		statistics_end(s);
		if (s->phase == PHASE_UPGRADING && !s->last_signal)
			takeover_exec(s);
		code = s->code;
	}
	clean_up(s);
	return code;
}

int supervisor_run(const struct options *options)
{
	struct supervisor *s = calloc(1, sizeof(*s));
	int code, number;

	if (!s) {
		log_write(LOG_LEVEL_ERROR, "cannot start: %s", strerror(ENOMEM));
		return EX_OSERR;
	}
	s->options = s->queues.options = options;
	s->queues.shared.fd = -1;
	s->queues.signals = s->queues.page = s->queues.watch = s->control.fd = -1;
	s->has_terminal = isatty(STDERR_FILENO);
	s->overflow_at = s->hint_at = s->survey_at = s->statistics.look_at = NEVER;
	s->look_at = s->memory_at = s->notify_at = NEVER;
	code = run(s);
	number = s->last_signal;
	free(s);
	if (number) {
		signal(number, SIG_DFL);
		raise(number);
	}
	return code;
}
