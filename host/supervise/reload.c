/*
 * The script taken anew: a worker for each queue loads it beside the one that judges, and takes its
 * place between two batches, one queue after the other when all have loaded it.
 *
 *   next                 owner
 *   LOADING, LOADED      RUNNING    top level and start(), with all rights
 *   READY                RUNNING    in the sandbox; the owner gets HUP
 *   READY                SAVING     save(), between two batches
 *   RESTORING            HANDED     restore(); nobody judges
 *   (is the owner now)   RETIRING   as old: what it holds, then stop("reload")
 *
 * What follows where one of them dies, or its time is up:
 *
 *   stage of next        next dies                      the owner dies
 *   LOADING, LOADED      all of them go, and the        it has a successor as ever, which hands over
 *                        owners go on                   when all are ready
 *   READY                the same; a HANDED that        next has the queue at once, without what
 *                        comes is answered with GO      was to be saved
 *   RESTORING            the owner is told to go on     next has the queue when it has restored
 *   (is the owner now)   it has a successor as ever     what it held gets the error verdict
 *
 * Where queues went over before one failed, they stay: the log says which.
 */
#include "notify.h"
#include "supervisor.h"
#include "host/base/base.h"

#include <signal.h>
#include <stdio.h>

static struct child *owner_of(struct queue *queue)
{
	return &queue->child[QUEUE_OWNER];
}

static struct child *next_of(struct queue *queue)
{
	return &queue->child[QUEUE_NEXT];
}

/* What of a packet is copied must be enough for both scripts, as long as both may get it. */
static void copy_for_owner(struct queue *queue)
{
	if (queue->settings.copy_mode != queue->owner_settings.copy_mode ||
	    queue->settings.copy_range != queue->owner_settings.copy_range)
		queue_copy(queue, &queue->owner_settings);
}

/* Who has asked for it hears of it when no other attempt follows. */
static void finish(struct supervisor *s, const char *failure)
{
	s->reload.is_running = false;
	if (is_ending(s))
		return;
	FOR_EACH_QUEUE (s, queue)
		queue_forget_saved(queue);
	notify_send("READY=1");
	if (s->reload.is_again)
		reload_begin(s);
	else
		control_tell(&s->control, *failure != '\0', *failure ? failure : "reloaded");
}

void reload_explain(struct supervisor *s, const char *why)
{
	if (s->reload.is_running && !s->reload.why[0])
		snprintf(s->reload.why, sizeof(s->reload.why), "%s", why);
}

/* Kills those that were to take over. An owner that waits goes on. */
static void discard(struct supervisor *s)
{
	FOR_EACH_QUEUE (s, queue) {
		child_discard(next_of(queue));
		copy_for_owner(queue);
		if (owner_of(queue)->pid && owner_of(queue)->stage == CHILD_HANDED) {
			child_order(owner_of(queue), WORKER_GO, 0);
			child_enter(owner_of(queue), CHILD_RUNNING);
		}
	}
}

static bool has_next(struct queue *queue)
{
	return next_of(queue)->pid && !next_of(queue)->is_unwanted;
}

static bool is_saving(const struct child *owner)
{
	return owner->pid && (owner->stage == CHILD_SAVING || owner->stage == CHILD_HANDED);
}

static bool is_handing_over(struct supervisor *s)
{
	FOR_EACH_QUEUE (s, queue)
		if (is_saving(owner_of(queue)) ||
		    (has_next(queue) && next_of(queue)->stage == CHILD_RESTORING))
			return true;
	return false;
}

static void start_next(struct supervisor *s, struct queue *queue)
{
	if (queue_start(&s->queues, queue, QUEUE_NEXT)) {
		s->running++;
	} else {
		reload_explain(s, log_error());
		reload_failed(s);
	}
}

/* Those of an attempt before may still be on their way out. */
static bool is_clear(struct supervisor *s)
{
	FOR_EACH_QUEUE (s, queue)
		if (next_of(queue)->pid)
			return false;
	return true;
}

void reload_begin(struct supervisor *s)
{
	if (is_ending(s))
		return;
	s->reload.is_again = true;
	if (s->phase < PHASE_READY || is_handing_over(s))
		return;
	discard(s);
	if (!is_clear(s))
		return;
	s->reload = (struct reload){.is_running = true};
	FOR_EACH_QUEUE (s, queue)
		queue->has_changed = false;
	notify_reloading();
	start_next(s, &s->queues.of[0]);
	limits_begin(s);
}

static void tell_failure(struct supervisor *s)
{
	char text[2 * sizeof(s->reload.why)];
	unsigned int went = 0;

	FOR_EACH_QUEUE (s, queue)
		went += queue->has_changed;
	if (went)
		log_write(LOG_LEVEL_ERROR,
			  "%s was reloaded by %u of %u queues; in the others the one that runs "
			  "goes on",
			  s->options->script, went, s->queues.count);
	else
		log_write(LOG_LEVEL_ERROR, "%s was not reloaded: the one that runs goes on",
			  s->options->script);
	snprintf(text, sizeof(text), "%s%s%s", log_error(), s->reload.why[0] ? ": " : "",
		 s->reload.why);
	finish(s, text);
}

void reload_failed(struct supervisor *s)
{
	if (!s->reload.is_running)
		return;
	discard(s);
	tell_failure(s);
}

void reload_cancel(struct supervisor *s)
{
	s->reload.is_again = false;
	s->reload.is_running = false;
	FOR_EACH_QUEUE (s, queue)
		child_discard(next_of(queue));
}

static void promote(struct supervisor *s, struct queue *queue)
{
	queue_promote(queue);
	/* It has a copy. */
	queue_forget_saved(queue);
	queue->has_changed = true;
	log_queue(LOG_LEVEL_INFO, queue->num, ": %s was reloaded", s->options->script);
	reload_step(s);
}

/* Takes the queue from its owner, where that is not on the way already. */
static void hand_over(struct supervisor *s, struct queue *queue)
{
	struct child *owner = owner_of(queue);

	/* Two that judge what they hold were one too many to know of. */
	if (queue->child[QUEUE_OLD].pid)
		return;
	if (!owner->pid) {
		queue_bequeath(queue);
		promote(s, queue);
	} else if (owner->stage == CHILD_RUNNING) {
		child_enter(owner, CHILD_SAVING);
		kill(owner->pid, SIGHUP);
	} else if (owner->stage < CHILD_RUNNING) {
		/* A successor that has not begun yet. */
		child_discard(owner);
	}
}

static bool is_loading(struct supervisor *s)
{
	FOR_EACH_QUEUE (s, queue)
		if (has_next(queue) && next_of(queue)->stage < CHILD_READY)
			return true;
	return false;
}

/* The first one could load the script: what is wrong with it is told once. */
static void begin_others(struct supervisor *s)
{
	s->reload.has_begun = true;
	for (unsigned int i = 1; i < s->queues.count && s->reload.is_running; i++)
		start_next(s, &s->queues.of[i]);
	reload_step(s);
}

void reload_step(struct supervisor *s)
{
	if (s->reload.is_again)
		reload_begin(s);
	if (!s->reload.is_running || is_loading(s))
		return;
	if (!s->reload.has_begun) {
		begin_others(s);
		return;
	}
	FOR_EACH_QUEUE (s, queue)
		if (has_next(queue)) {
			hand_over(s, queue);
			return;
		}
	finish(s, "");
}

void reload_handed(struct supervisor *s, struct queue *queue, size_t saved)
{
	struct child *owner = owner_of(queue), *next = next_of(queue);

	/* Nobody waits for it: it was not asked, or there is none any more who is to have the queue. */
	if (owner->stage == CHILD_RUNNING || (owner->stage == CHILD_SAVING && !has_next(queue))) {
		child_enter(owner, CHILD_RUNNING);
		child_order(owner, WORKER_GO, 0);
		reload_step(s);
		return;
	}
	if (owner->stage != CHILD_SAVING)
		return;
	child_enter(owner, CHILD_HANDED);
	queue_bequeath(queue);
	if (!saved) {
		promote(s, queue);
		return;
	}
	child_enter(next, CHILD_RESTORING);
	child_order(next, WORKER_RESTORE, saved);
}

void reload_restored(struct supervisor *s, struct queue *queue)
{
	if (next_of(queue)->stage != CHILD_RESTORING || next_of(queue)->is_unwanted)
		return;
	promote(s, queue);
}

bool reload_succeeds(struct supervisor *s, struct queue *queue)
{
	if (!s->reload.is_running || !has_next(queue) || next_of(queue)->stage < CHILD_READY)
		return false;
	if (next_of(queue)->stage == CHILD_READY) {
		queue_bequeath(queue);
		promote(s, queue);
	}
	return true;
}
