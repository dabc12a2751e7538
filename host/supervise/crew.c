/* The workers, from their start to their end. */
#include "notify.h"
#include "supervisor.h"
#include "host/base/base.h"
#include "host/figures/report.h"
#include "lib/flow/shared.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/wait.h>

enum { NEWS_AT_ONCE = 64 };

/* Ending */

/* Nobody looks at the queues any more; with length 0 they are always full. */
static void look_last(struct supervisor *s)
{
	statistics_overflow(s);
	s->overflow_at = NEVER;
	/* What waits for another process waits in the queue as it was. */
	if (s->phase == PHASE_STOPPING)
		s->survey_at = NEVER;
	s->statistics.look_at = NEVER;
}

static void end_queue(const struct supervisor *s, struct queue *queue)
{
	int number = s->phase == PHASE_STOPPING ? SIGTERM : SIGUSR2;

	if (queue->restart_at) {
		queue->restart_at = 0;
		if (s->phase == PHASE_STOPPING)
			queue_drain(queue);
	}
	FOR_EACH_CHILD (queue, child) {
		/* From here on it has a while to end. */
		child->since = clock_ms();
		child_leave_alone(child);
		kill(child->pid, number);
	}
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
	reload_cancel(s);
	control_tell(&s->control, 1, "the program is about to end");
	FOR_EACH_QUEUE (s, queue)
		end_queue(s, queue);
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
	FOR_EACH_QUEUE (s, queue)
		FOR_EACH_CHILD (queue, child)
			kill(child->pid, SIGKILL);
}

/* Starting */

void crew_start(struct supervisor *s, struct queue *queue)
{
	if (queue_start(&s->queues, queue, QUEUE_OWNER)) {
		queue->fork_backoff = (struct backoff){0};
		s->running++;
	} else if (s->phase >= PHASE_BOUND) {
		/* Packets wait, and what is short may be there again in a moment. */
		queue->restart_at =
			clock_ms() + backoff_next(&queue->fork_backoff, clock_ms(), true, UINT_MAX);
	} else {
		crew_fail(s, EX_OSERR);
	}
}

static void tell_running(struct supervisor *s, const struct queue *queue)
{
	if (queue->is_given_up)
		return;
	if (!queue->has_run)
		report_start(s->options, &queue->settings, queue->socket, queue->core);
	else
		log_queue(LOG_LEVEL_INFO, queue->num, ": a new worker, process %d, goes on",
			  queue->child[QUEUE_OWNER].pid);
}

/* Packets may come. Where they cannot all ends. */
static void rules_start(struct supervisor *s)
{
	int code = EX_OK;

	s->phase = PHASE_RULING;
	s->after_rules = PHASE_READY;
	if (s->options->rule_count)
		code = rules_put(&s->rules);
	else if (s->is_successor)
		rules_sweep(&s->rules, RULES_LEFT_BY_ALL);
	s->phase = PHASE_READY;
	if (code != EX_OK)
		crew_fail(s, code);
	else if (s->after_rules != PHASE_READY)
		crew_end(s, s->after_rules);
}

static bool all_run(const struct supervisor *s)
{
	for (unsigned int i = 0; i < s->queues.count; i++)
		if (!s->queues.of[i].has_run)
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
	statistics_ready(s);
	if (notify_watchdog_ms())
		s->notify_at = clock_ms();
	reload_step(s);
}

/* What is copied of packets is the script's to say; all else is the command line's, whatever a
 * worker says. */
static struct ipq_queue_options settings_of(const struct supervisor *s, const struct queue *queue,
					    const struct ipq_queue_options *told)
{
	struct ipq_queue_options settings = s->options->queue;

	settings.queue_num = queue->num;
	if (!ipq_queue_copies(told))
		return settings;
	settings.copy_mode = told->copy_mode;
	settings.copy_range = told->copy_range;
	return settings;
}

/* Enough of a packet for both. */
static struct ipq_queue_options larger(const struct ipq_queue_options *a,
				       const struct ipq_queue_options *b)
{
	struct ipq_queue_options settings = *a;

	if (b->copy_mode > settings.copy_mode)
		settings.copy_mode = b->copy_mode;
	if (b->copy_range > settings.copy_range)
		settings.copy_range = b->copy_range;
	return settings;
}

static void take_loaded(struct supervisor *s, struct queue *queue, enum queue_role role,
			const struct ipq_queue_options *told)
{
	struct ipq_queue_options settings = settings_of(s, queue, told);

	child_enter(&queue->child[role], CHILD_LOADED);
	if (role == QUEUE_NEXT) {
		queue->next_settings = settings;
		settings = larger(&queue->owner_settings, &settings);
		queue_copy(queue, &settings);
	} else if (s->phase >= PHASE_BOUND) {
		queue->owner_settings = settings;
		/* The first of a queue that was bound for what another worker needs. */
		queue_copy(queue, &settings);
	} else {
		/* All queues are bound, and this worker goes on, in supervisor.c. */
		s->settings = settings;
		return;
	}
	child_order(&queue->child[role], WORKER_GO, 0);
}

static void take_ready(struct supervisor *s, struct queue *queue, enum queue_role role)
{
	struct child *child = &queue->child[role];

	/* It gets no order any more, and ends without a look at what waits. */
	if (is_ending(s))
		return;
	if (role == QUEUE_NEXT) {
		child_enter(child, CHILD_READY);
		reload_step(s);
		return;
	}
	if (!queue->has_run)
		queue->load_ms = clock_ms() - child->started;
	child_enter(child, CHILD_RUNNING);
	child_order(child, WORKER_GO, 0);
	tell_running(s, queue);
	queue->has_run = true;
	reload_step(s);
}

/* Where it is not its turn it is not heard. */
static void take_message(struct supervisor *s, struct queue *queue, enum queue_role role,
			 const struct worker_message *message)
{
	struct child *child = &queue->child[role];

	if (child->is_unwanted)
		return;
	switch (message->news) {
	case WORKER_FILE:
		if (child->stage == CHILD_LOADING && child->files++ < WATCH_FILES_MAX)
			watch_add(&s->watch, message->text);
		break;
	case WORKER_FAILED:
		child->has_explained = true;
		if (role == QUEUE_NEXT)
			reload_explain(s, message->text);
		break;
	case WORKER_LOADED:
		if (child->stage == CHILD_LOADING)
			take_loaded(s, queue, role, &message->settings);
		break;
	case WORKER_READY:
		if (child->stage == CHILD_LOADED ||
		    (child->stage == CHILD_LOADING && child->is_without))
			take_ready(s, queue, role);
		break;
	case WORKER_HANDED:
		if (role == QUEUE_OWNER)
			reload_handed(s, queue, message->saved);
		break;
	case WORKER_RESTORED:
		if (role == QUEUE_NEXT)
			reload_restored(s, queue);
		break;
	}
}

void crew_read(struct supervisor *s, struct queue *queue, enum queue_role role)
{
	struct worker_message message;
	pid_t pid = queue->child[role].pid;

	/* A worker that talks without end must not be the only one that is heard. What it says may
	 * give it another role. */
	for (int i = 0; i < NEWS_AT_ONCE && queue->child[role].pid == pid &&
			queue->child[role].news >= 0 && child_read(&queue->child[role], &message);
	     i++)
		take_message(s, queue, role, &message);
}

void crew_restart_due(struct supervisor *s)
{
	FOR_EACH_QUEUE (s, queue)
		if (queue->restart_at && queue->restart_at <= clock_ms())
			crew_start(s, queue);
}

/* Replacing */

static void give_up(struct supervisor *s, struct queue *queue)
{
	queue->is_given_up = true;
	log_queue(LOG_LEVEL_ERROR, queue->num,
		  ": %u worker%s died within a minute, which is the most (--max-restarts); %s",
		  s->options->max_restarts + 1, s->options->max_restarts ? "s" : "",
		  s->options->exit_on_give_up ? "ending, as --on-give-up says"
					      : "from here on every packet gets the error verdict, "
						"until HUP or --watch has "
						"the script loaded again");
	if (s->options->exit_on_give_up)
		crew_fail(s, EX_SOFTWARE);
	else
		crew_start(s, queue);
}

/* A worker has died that should not have. */
static void replace(struct supervisor *s, struct queue *queue, bool is_fruitless)
{
	int delay =
		backoff_next(&queue->backoff, clock_ms(), is_fruitless, s->options->max_restarts);

	queue->restarts++;
	if (delay < 0)
		give_up(s, queue);
	else if (delay == 0)
		crew_start(s, queue);
	else
		queue->restart_at = clock_ms() + delay;
}

/* How a worker has ended, and what it had in hand. */
struct death {
	pid_t pid;
	bool has_exited;
	bool has_judged;
	bool is_told; /* by itself, or nobody need hear of it */
	bool is_unwanted;
	bool is_fruitless;
	bool was_its_turn; /* to hand its queue over, or to go for one that waits */
	int code;	   /* of sysexits.h */
	char text[64], work[160];
};

static struct death death_of(const struct child *child, int status)
{
	struct death death = {
		.pid = child->pid,
		.has_exited = WIFEXITED(status),
		.has_judged = child->stage >= CHILD_RUNNING,
		.is_unwanted = child->is_unwanted,
		/* The last is os.exit(), which the process tells of itself. */
		.is_told = child->is_told || child->is_unwanted || child->has_explained ||
			   (WIFEXITED(status) && WEXITSTATUS(status) == EX_SOFTWARE),
		.is_fruitless = child->batch->counters.packets == child->batch->counters.settled,
		.was_its_turn = child->is_unwanted || child->stage == CHILD_SAVING ||
				child->stage == CHILD_HANDED,
		.code = WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE,
	};

	child_work(child, death.work, sizeof(death.work));
	if (WIFSIGNALED(status))
		snprintf(death.text, sizeof(death.text), "was killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(death.text, sizeof(death.text), "ended with status %d", death.code);
	return death;
}

static void tell_death(const struct queue *queue, const struct death *death, const char *noun)
{
	log_queue(LOG_LEVEL_ERROR, queue->num, ": %s, process %d, %s%s", noun, death->pid,
		  death->text, death->work);
}

/* Gives the number of packets that it had in hand. */
static int settle(struct queue *queue, enum queue_role role)
{
	int ret = queue_settle(queue, role);

	if (ret < 0)
		log_queue(LOG_LEVEL_ERROR, queue->num, ": cannot judge what it had in hand: %s",
			  strerror(-ret));
	return ret > 0 ? ret : 0;
}

/* Its queue may be without anybody: one that was to have it cannot restore, and the one before died
 * meanwhile. */
static void bury_next(struct supervisor *s, struct queue *queue, const struct death *death)
{
	(void)settle(queue, QUEUE_NEXT);
	if (!death->is_told) {
		tell_death(queue, death, "the worker that was to take over");
		reload_explain(s, log_error());
	}
	if (death->was_its_turn) {
		reload_step(s);
	} else {
		reload_explain(s, "the script ended its process");
		reload_failed(s);
	}
	if (!is_ending(s) && !queue->child[QUEUE_OWNER].pid && !queue->restart_at)
		crew_start(s, queue);
}

static void bury_old(struct supervisor *s, struct queue *queue, const struct death *death)
{
	bool has_left = death->is_told || death->code == EX_OK;
	int count = settle(queue, QUEUE_OLD);

	if (!has_left || count)
		tell_death(queue, death, "its worker before the reload");
	reload_step(s);
}

/* Before a packet came. */
static void bury_first(struct supervisor *s, struct queue *queue, const struct death *death)
{
	child_forget(&queue->child[QUEUE_OWNER]);
	if (!death->is_told && !is_ending(s))
		tell_death(queue, death, "its worker");
	crew_fail(s, death->code || is_ending(s) ? death->code : EX_SOFTWARE);
}

static void bury_owner(struct supervisor *s, struct queue *queue, const struct death *death)
{
	bool has_left = (is_ending(s) && death->has_exited) || s->last_signal || death->is_unwanted;

	/* Verdicts go by its socket, which is put right first. */
	if (!has_left) {
		tell_death(queue, death, "its worker");
		(void)queue_restore(queue);
	}
	(void)settle(queue, QUEUE_OWNER);
	if (is_ending(s)) {
		/* The first code that is not EX_OK counts. */
		if (s->code == EX_OK)
			s->code = death->code;
		if (s->phase == PHASE_STOPPING && !s->last_signal &&
		    (!has_left || !death->has_judged))
			queue_drain(queue);
	} else if (!death->was_its_turn || !reload_succeeds(s, queue)) {
		replace(s, queue, death->is_fruitless);
	}
}

/* What a worker has left locked is free, whatever it has done to the head before. */
static void repair(const struct region *shared, uint32_t worker)
{
	if (!shared->memory)
		return;
	if (ipq_shared_mend(shared->memory, shared->size))
		log_write(LOG_LEVEL_WARN,
			  "a worker has overwritten the head of the shared tables' memory");
	(void)ipq_shared_repair(shared->memory, shared->size, worker);
}

/* What it had to say may have given it another role. */
static void bury(struct supervisor *s, struct queue *queue, enum queue_role role, int status)
{
	pid_t pid = queue->child[role].pid;
	struct death death;

	crew_read(s, queue, role);
	while (queue->child[role].pid != pid)
		role = (role + 1) % QUEUE_ROLES;
	s->running--;
	repair(&s->queues.shared, queue->child[role].number);
	death = death_of(&queue->child[role], status);
	if (role == QUEUE_NEXT)
		bury_next(s, queue, &death);
	else if (role == QUEUE_OLD)
		bury_old(s, queue, &death);
	else if (!queue->has_run)
		bury_first(s, queue, &death);
	else
		bury_owner(s, queue, &death);
}

static void reap(struct supervisor *s, struct queue *queue, enum queue_role role)
{
	struct child *child = &queue->child[role];
	int status;

	while (child->pid &&
	       waitpid(child->pid, &status, WNOHANG | WUNTRACED | WCONTINUED) == child->pid) {
		if (WIFSTOPPED(status) || WIFCONTINUED(status))
			child->watchdog.is_stopped = WIFSTOPPED(status);
		else
			bury(s, queue, role, status);
	}
}

void crew_reap(struct supervisor *s)
{
	FOR_EACH_QUEUE (s, queue)
		for (int role = 0; role < QUEUE_ROLES; role++)
			reap(s, queue, (enum queue_role)role);
}
