/* The workers, from their start to their end. */
#include "notify.h"
#include "supervisor.h"
#include "host/base/base.h"
#include "host/figures/report.h"

#include <limits.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { NEWS_AT_ONCE = 64 };

/* Ending */

/* Nobody looks at the queues any more; with length 0 they are always full. */
static void look_last(struct supervisor *s)
{
	statistics_overflow(s);
	s->overflow_at = NEVER;
	s->survey_at = NEVER;
	s->statistics.look_at = NEVER;
}

static void end_child(const struct supervisor *s, struct child *child)
{
	if (child->restart_at) {
		child->restart_at = 0;
		if (s->phase == PHASE_STOPPING)
			child_drain(child);
	}
	if (!child->pid)
		return;
	shutdown(child->channel, SHUT_WR);
	kill(child->pid, s->phase == PHASE_STOPPING ? SIGTERM : SIGUSR2);
}

void crew_end(struct supervisor *s, enum phase phase)
{
	bool was_bound = s->phase >= PHASE_BOUND;

	if (is_ending(s))
		return;
	if (s->phase == PHASE_RULING) {
		s->after_rules = phase;
		return;
	}
	s->phase = phase;
	/* Rules first, so that no packet comes that nobody will judge. */
	if (phase == PHASE_STOPPING) {
		notify_send("STOPPING=1");
		rules_remove(&s->rules);
	} else if (phase == PHASE_LEAVING) {
		rules_leave(&s->rules);
	}
	if (was_bound)
		look_last(s);
	FOR_EACH_CHILD (s, child)
		end_child(s, child);
}

void crew_fail(struct supervisor *s, int code)
{
	if (s->code == EX_OK)
		s->code = code;
	crew_end(s, PHASE_STOPPING);
}

void crew_kill(struct supervisor *s, int number)
{
	s->last_signal = number;
	FOR_EACH_CHILD (s, child)
		if (child->pid)
			kill(child->pid, SIGKILL);
}

/* Starting */

void crew_start(struct supervisor *s, struct child *child)
{
	if (child_start(&s->children, child)) {
		child->fork_backoff = (struct backoff){0};
		s->running++;
	} else if (s->phase >= PHASE_BOUND) {
		/* Packets wait, and what is short may be there again in a moment. */
		child->restart_at =
			clock_ms() + backoff_next(&child->fork_backoff, clock_ms(), true, UINT_MAX);
	} else {
		crew_fail(s, EX_OSERR);
	}
}

static void tell_running(struct supervisor *s, struct child *child,
			 const struct ipq_queue_options *settings)
{
	struct ipq_queue_options own = *settings;

	own.queue_num = child->queue_num;
	if (!child->has_run)
		report_start(s->options, &own, child->queue, child->core);
	else
		log_queue(LOG_LEVEL_INFO, child->queue_num, ": a new worker, process %d, goes on",
			  child->pid);
}

/* Packets may come. Where they cannot all ends. */
static void rules_start(struct supervisor *s)
{
	int code = EX_OK;

	s->phase = PHASE_RULING;
	s->after_rules = PHASE_READY;
	if (s->options->rule_count)
		code = rules_put(&s->rules);
	else if (s->children.of[0].is_adopted)
		rules_sweep(&s->rules, RULES_LEFT_BY_ALL);
	s->phase = PHASE_READY;
	if (code != EX_OK)
		crew_fail(s, code);
	else if (s->after_rules != PHASE_READY)
		crew_end(s, s->after_rules);
}

static bool all_run(const struct supervisor *s)
{
	for (unsigned int i = 0; i < s->children.count; i++)
		if (!s->children.of[i].has_run)
			return false;
	return true;
}

void crew_ready(struct supervisor *s)
{
	if (s->phase != PHASE_BOUND || !all_run(s))
		return;
	rules_start(s);
	if (s->phase != PHASE_READY)
		return;
	notify_send("READY=1");
	if (notify_watchdog_ms())
		s->notify_at = clock_ms();
}

/* A reload is over when no worker has to tell of it any more. */
static void tell_reloaded(struct supervisor *s)
{
	FOR_EACH_CHILD (s, child)
		if (child->is_reloading)
			return;
	if (s->is_reloading && !is_ending(s))
		notify_send("READY=1");
	s->is_reloading = false;
}

static void end_reload(struct supervisor *s, struct child *child)
{
	child->is_reloading = false;
	tell_reloaded(s);
}

/* What is copied of packets is the script's to say; all else is the command line's, whatever a
 * worker says. */
static void take_settings(const struct supervisor *s, struct child *child,
			  const struct ipq_queue_options *told)
{
	child->settings = s->options->queue;
	child->settings.queue_num = child->queue_num;
	if (!ipq_queue_copies(told))
		return;
	child->settings.copy_mode = told->copy_mode;
	child->settings.copy_range = told->copy_range;
}

static void take_message(struct supervisor *s, struct child *child,
			 const struct worker_message *message)
{
	switch (message->news) {
	case WORKER_FILE: watch_add(&s->watch, message->path); break;
	case WORKER_LOADED:
		if (child->stage != CHILD_LOADING)
			break;
		child->stage = CHILD_LOADED;
		take_settings(s, child, &message->settings);
		if (s->phase >= PHASE_BOUND)
			child_let_go(child);
		else
			s->settings = message->settings;
		break;
	case WORKER_RUNNING:
		if (child->stage != CHILD_LOADED)
			break;
		child->stage = CHILD_RUNNING;
		if (!child->has_run)
			child->load_ms = clock_ms() - child->loading_since;
		child->loading_since = 0;
		tell_running(s, child, &message->settings);
		child->has_run = true;
		end_reload(s, child);
		break;
	case WORKER_RELOADING:
		child->loading_since = clock_ms();
		child->is_interrupted = false;
		break;
	case WORKER_RELOADED:
		child->loading_since = 0;
		take_settings(s, child, &message->settings);
		log_queue(LOG_LEVEL_INFO, child->queue_num, ": %s was reloaded",
			  s->options->script);
		end_reload(s, child);
		break;
	case WORKER_NOT_RELOADED:
		child->loading_since = 0;
		end_reload(s, child);
		break;
	}
}

void crew_read(struct supervisor *s, struct child *child)
{
	struct worker_message message;

	/* A worker that talks without end must not be the only one that is heard. */
	for (int i = 0; i < NEWS_AT_ONCE && child->channel >= 0 && child_read(child, &message); i++)
		take_message(s, child, &message);
}

void crew_restart_due(struct supervisor *s)
{
	FOR_EACH_CHILD (s, child)
		if (child->restart_at && child->restart_at <= clock_ms())
			crew_start(s, child);
}

/* Replacing */

static void give_up(struct supervisor *s, struct child *child)
{
	child->is_given_up = true;
	end_reload(s, child);
	log_queue(LOG_LEVEL_ERROR, child->queue_num,
		  ": %u worker%s died within a minute, which is the most (--max-restarts); %s",
		  s->options->max_restarts + 1, s->options->max_restarts ? "s" : "",
		  s->options->exit_on_give_up ? "ending, as --on-give-up says"
					      : "from here on every packet gets the error verdict, "
						"until HUP or --watch has "
						"the script loaded again");
	if (s->options->exit_on_give_up)
		crew_fail(s, EX_SOFTWARE);
	else
		crew_start(s, child);
}

/* A worker has died that should not have. */
static void replace(struct supervisor *s, struct child *child)
{
	bool is_fruitless = child_judged(child) == child->judged_at;
	int delay =
		backoff_next(&child->backoff, clock_ms(), is_fruitless, s->options->max_restarts);

	child->restarts++;
	if (delay < 0)
		give_up(s, child);
	else if (delay == 0)
		crew_start(s, child);
	else
		child->restart_at = clock_ms() + delay;
}

/* A worker that judged without the script has ended, for it is to be tried again. */
static void resume(struct supervisor *s, struct child *child)
{
	child->is_given_up = false;
	child->backoff = (struct backoff){0};
	crew_start(s, child);
}

static void bury(struct supervisor *s, struct child *child, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
	bool has_left = WIFEXITED(status) && (is_ending(s) || (child->is_given_up && code == 0));

	crew_read(s, child);
	if (child->channel >= 0)
		close(child->channel);
	child->channel = -1;
	s->running--;
	if (child->has_run && !has_left && !s->last_signal)
		child_died(child, status);
	child->pid = 0;
	if (!child->has_run) {
		crew_fail(s, code);
	} else if (is_ending(s)) {
		/* The first code that is not EX_OK counts. */
		if (s->code == EX_OK)
			s->code = code;
		if (!has_left && !s->last_signal && s->phase == PHASE_STOPPING)
			child_drain(child);
	} else if (has_left) {
		resume(s, child);
	} else {
		replace(s, child);
	}
}

void crew_reap(struct supervisor *s)
{
	FOR_EACH_CHILD (s, child) {
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

void crew_reload(struct supervisor *s)
{
	s->is_reloading = s->phase == PHASE_READY;
	if (s->is_reloading)
		notify_reloading();
	FOR_EACH_CHILD (s, child) {
		/* One without a script ends, and one with it follows. */
		if (child->pid && child->has_run) {
			child->is_reloading = true;
			kill(child->pid, SIGHUP);
		}
	}
	tell_reloaded(s);
}
