/* What a worker may take: time for a packet, memory, and successors. */
#include "supervisor.h"
#include "host/base/base.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Progress */

enum { GRACE_MS = 20, WAIT_MS = 1000, INTERVAL_LEAST_MS = 10, INTERVAL_MOST_MS = 250 };

static bool is_idle(const struct watchdog *watchdog, const struct ipq_batch *batch)
{
	return !watchdog->is_stopped && __atomic_load_n(&batch->count, __ATOMIC_RELAXED) == 0 &&
	       watchdog->in_timer % 2 == 0;
}

static bool has_moved(struct watchdog *watchdog, const struct ipq_batch *batch)
{
	uint64_t batches = __atomic_load_n(&batch->counters.batches, __ATOMIC_RELAXED);
	uint32_t current = __atomic_load_n(&batch->current, __ATOMIC_RELAXED);
	uint32_t in_timer = __atomic_load_n(&batch->in_timer, __ATOMIC_RELAXED);
	bool moved = batches != watchdog->batches || current != watchdog->current ||
		     in_timer != watchdog->in_timer;

	watchdog->in_timer = in_timer;
	watchdog->batches = batches;
	watchdog->current = current;
	return moved;
}

/* On a busy machine a moment may pass in which a worker that was warned never ran. */
static bool could_stop(const struct watchdog *watchdog, int64_t now_ms, int64_t used_ms)
{
	int64_t waited = now_ms - watchdog->warned_ms;

	return used_ms - watchdog->warned_used_ms >= GRACE_MS || waited >= WAIT_MS ||
	       (watchdog->is_stopped && waited >= GRACE_MS);
}

enum watchdog_verdict watchdog_look(struct watchdog *watchdog, const struct ipq_batch *batch,
				    int64_t now_ms, int64_t used_ms, int64_t limit_ms)
{
	if (watchdog->is_ended)
		return WATCHDOG_FINE;
	if (has_moved(watchdog, batch) || is_idle(watchdog, batch)) {
		watchdog->since_ms = 0;
		watchdog->is_warned = false;
		return WATCHDOG_FINE;
	}
	if (watchdog->since_ms == 0)
		watchdog->since_ms = now_ms;
	if (now_ms - watchdog->since_ms < limit_ms)
		return WATCHDOG_FINE;
	if (!watchdog->is_warned) {
		watchdog->is_warned = true;
		watchdog->warned_ms = now_ms;
		watchdog->warned_used_ms = used_ms;
		return WATCHDOG_WARN;
	}
	watchdog->is_ended = could_stop(watchdog, now_ms, used_ms);
	return watchdog->is_ended ? WATCHDOG_END : WATCHDOG_FINE;
}

int64_t watchdog_interval_ms(const struct watchdog *watchdog, int64_t limit_ms)
{
	int64_t interval = limit_ms / 8;

	if (watchdog->is_warned || interval < INTERVAL_LEAST_MS)
		return INTERVAL_LEAST_MS;
	return interval < INTERVAL_MOST_MS ? interval : INTERVAL_MOST_MS;
}

/* Successors */

enum { MINUTE_MS = 60000, FIRST_MS = 10, MAX_MS = 1000 };

int backoff_next(struct backoff *backoff, int64_t now_ms, bool is_fruitless, unsigned int max)
{
	int delay = FIRST_MS;

	if (now_ms - backoff->minute_at > MINUTE_MS || backoff->recent == 0) {
		backoff->minute_at = now_ms;
		backoff->recent = 0;
	}
	if (++backoff->recent > max)
		return -1;
	if (!is_fruitless) {
		backoff->fruitless = 0;
		return 0;
	}
	for (unsigned int i = 0; i < backoff->fruitless && delay < MAX_MS; i++)
		delay *= 2;
	backoff->fruitless++;
	return delay < MAX_MS ? delay : MAX_MS;
}

/* The supervisor's part */

enum {
	MEMORY_INTERVAL_MS = 100,
	/* A script that is loaded anew may take so many times --time-limit, and twice what the first
	 * one took; and from its interruption on so long. */
	LOAD_TIMES = 10,
	STAGE_GRACE_MS = 1000,
	LIMIT_DEFAULT_MS = 1000
};

uint32_t limits_handover_ms(uint32_t limit_ms)
{
	return (limit_ms ? limit_ms : LIMIT_DEFAULT_MS) * LOAD_TIMES;
}

/* The processor's time that a process has had; 0 where it is gone. */
static int64_t used_ms(pid_t pid)
{
	struct timespec used = {0};
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) == 0)
		(void)clock_gettime(clock, &used);
	return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

/* It is killed for what the log has just said. */
static void tell(struct supervisor *s, const struct queue *queue, struct child *child)
{
	child->is_told = true;
	if (child == &queue->child[QUEUE_NEXT])
		reload_explain(s, log_error());
}

static void overtime(struct supervisor *s, const struct queue *queue, struct child *child,
		     enum watchdog_verdict verdict)
{
	char work[160];

	if (verdict == WATCHDOG_WARN) {
		kill(child->pid, SIGXCPU);
		return;
	}
	child_work(child, work, sizeof(work));
	log_queue(LOG_LEVEL_ERROR, queue->num,
		  ": no progress for %u ms%s; its worker is ended (--time-limit)",
		  s->options->time_limit_ms, work);
	tell(s, queue, child);
	kill(child->pid, SIGKILL);
}

/* How long a worker may be in its stage; NEVER: as long as it takes. The first load is nobody's but
 * its user's: no packet waits for it. */
static int64_t stage_limit(const struct supervisor *s, const struct queue *queue,
			   const struct child *child)
{
	int64_t limit = limits_handover_ms(s->options->time_limit_ms);

	switch (child->stage) {
	case CHILD_LOADING:
	case CHILD_LOADED:
		if (!queue->has_run || !s->options->time_limit_ms || child->is_without)
			return NEVER;
		return limit + 2 * queue->load_ms;
	case CHILD_SAVING:
	case CHILD_RESTORING: return limit;
	/* It ends by itself then. */
	case CHILD_RETIRING: return limit + STAGE_GRACE_MS;
	/* As long as it judges, the end waits for it. */
	case CHILD_RUNNING:
		return is_ending(s) && s->options->time_limit_ms &&
				       is_idle(&child->watchdog, child->batch)
			       ? limit
			       : NEVER;
	default: return NEVER;
	}
}

static const char *stage_name(enum child_stage stage)
{
	switch (stage) {
	case CHILD_LOADING: return "been loading";
	case CHILD_LOADED: return "been in start()";
	case CHILD_SAVING: return "not handed its queue over";
	case CHILD_RESTORING: return "been in restore()";
	case CHILD_RUNNING: return "not ended";
	default: return "been judging what it holds";
	}
}

static void overtime_of_stage(struct supervisor *s, struct queue *queue, struct child *child,
			      int64_t now)
{
	int64_t limit = stage_limit(s, queue, child), over = now - child->since - limit;

	if (limit == NEVER || over < 0)
		return;
	if (!child->is_interrupted) {
		child->is_interrupted = true;
		kill(child->pid, SIGXCPU);
	} else if (over >= STAGE_GRACE_MS) {
		log_queue(LOG_LEVEL_ERROR, queue->num,
			  ": %s has %s for %.1f s; its worker is ended (--time-limit)",
			  s->options->script, stage_name(child->stage),
			  (double)(now - child->since) / 1000);
		child->since = now;
		tell(s, queue, child);
		kill(child->pid, SIGKILL);
	}
}

static bool is_in_stage(enum child_stage stage)
{
	return stage != CHILD_RUNNING && stage != CHILD_READY;
}

/* When to look next, for one worker. */
static int64_t look_at_child(struct supervisor *s, struct queue *queue, struct child *child,
			     int64_t now)
{
	enum watchdog_verdict verdict = WATCHDOG_FINE;
	int64_t limit = s->options->time_limit_ms;

	if (limit && child->stage >= CHILD_RESTORING && child->stage != CHILD_HANDED)
		verdict = watchdog_look(&child->watchdog, child->batch, now, used_ms(child->pid),
					limit);
	if (verdict != WATCHDOG_FINE)
		overtime(s, queue, child, verdict);
	overtime_of_stage(s, queue, child, now);
	if (limit)
		return watchdog_interval_ms(&child->watchdog, limit);
	return is_in_stage(child->stage) ? INTERVAL_MOST_MS : NEVER;
}

void limits_begin(struct supervisor *s)
{
	s->look_at = clock_ms();
}

void limits_progress(struct supervisor *s)
{
	int64_t now = clock_ms(), interval = s->options->time_limit_ms ? INTERVAL_MOST_MS : NEVER;

	FOR_EACH_QUEUE (s, queue)
		FOR_EACH_CHILD (queue, child) {
			int64_t own = look_at_child(s, queue, child, now);

			interval = own < interval ? own : interval;
		}
	s->look_at = interval == NEVER ? NEVER : now + interval;
}

/* A number of KiB behind a word in /proc/PID/status, in bytes. */
static uint64_t bytes_behind(const char *line, const char *word)
{
	uint64_t kib = 0;

	if (strncmp(line, word, strlen(word)) == 0)
		(void)sscanf(line + strlen(word), "%" SCNu64, &kib);
	return kib << 10;
}

/* Looked at while there may be something alone: it is large. */
static uint64_t saved_of(const struct queue *queue, const struct child *child)
{
	return is_in_stage(child->stage) ? ipq_resident(queue->saved, WORKER_SAVED_MAX) : 0;
}

static uint64_t region_of(const struct region *region)
{
	return region->memory ? ipq_resident(region->memory, region->size) : 0;
}

/* Of shared memory what the program has made for it. */
static uint64_t made_for(const struct supervisor *s, const struct queue *queue,
			 const struct child *child)
{
	return ipq_batch_resident(child->batch, &child->made) + saved_of(queue, child) +
	       region_of(&queue->flows) + region_of(&queue->streams) + region_of(&s->queues.shared);
}

/* Bytes resident that are the worker's own (proc(5)): not files, and of shared memory not what the
 * program has made, which is looked at where there is more than limit alone: it may be large. 0 where the
 * worker is gone. */
static uint64_t memory_of(const struct supervisor *s, const struct queue *queue,
			  const struct child *child, uint64_t limit)
{
	uint64_t own = 0, shared = 0, made;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)child->pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		own += bytes_behind(line, "RssAnon:");
		shared += bytes_behind(line, "RssShmem:");
	}
	fclose(file);
	if (own + shared <= limit)
		return own + shared;
	made = made_for(s, queue, child);
	return own + (shared > made ? shared - made : 0);
}

void limits_memory(struct supervisor *s)
{
	uint64_t limit = (uint64_t)s->options->memory_limit_mb << 20;

	FOR_EACH_QUEUE (s, queue)
		FOR_EACH_CHILD (queue, child) {
			uint64_t used = memory_of(s, queue, child, limit);

			if (used <= limit)
				continue;
			log_queue(LOG_LEVEL_ERROR, queue->num,
				  ": its worker takes %u MB; it is ended (--memory-limit)",
				  (unsigned int)(used >> 20));
			tell(s, queue, child);
			kill(child->pid, SIGKILL);
		}
	s->memory_at = clock_ms() + MEMORY_INTERVAL_MS;
}
