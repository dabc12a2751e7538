#include "queue.h"
#include "host/base/base.h"
#include "host/judge/judge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/* Looking at the clock costs some 40 ns a batch: where nobody has asked for statistics, and --top
 * alone may want them, that is spent on one in so many. */
enum { SAMPLE = 16 };

/* How long the end waits for a queue that does not run empty: a process that a worker has left may have
 * the kernel answer it there without end. */
enum { DRAIN_MS = 2000, UNANSWERED_MOST = 4096 };

/* Whether the queue is the socket's. Where the kernel's list cannot be read it is taken for so. */
static bool is_owner(const struct ipq_queue *socket, uint16_t num)
{
	struct ipq_procfs_queue status;
	int ret = ipq_procfs_queue(num, &status);

	return ret == 0 ? status.portid == ipq_queue_portid(socket) : ret != -ENOENT;
}

/* Whether the queue is bound by that socket, which another program has made. Closes it where it is not. */
static bool adopt(struct queue *queue, int fd)
{
	if (ipq_queue_adopt(&queue->socket, fd, queue->num) < 0) {
		close(fd);
		return false;
	}
	if (is_owner(queue->socket, queue->num))
		return true;
	ipq_queue_close(queue->socket);
	queue->socket = NULL;
	return false;
}

static int make_socket(struct queue *queue, struct inheritance *inheritance)
{
	int fd;

	while ((fd = inherit_find(inheritance, INHERIT_QUEUE, queue->num)) >= 0) {
		queue->is_adopted = adopt(queue, fd);
		if (queue->is_adopted)
			return 0;
		queue->has_refused = true;
		inherit_forget(INHERIT_QUEUE, queue->num);
	}
	return ipq_queue_new(&queue->socket, queue->num);
}

/* Address space alone, until something is there. */
static void prepare_region(struct queue *queue, struct region *region,
			   struct inheritance *inheritance, enum inherit_kind kind,
			   uint32_t size_mb)
{
	const char *name = kind == INHERIT_FLOWS ? "flow" : "stream";

	(void)region_prepare(region, inheritance, kind, queue->num, (size_t)size_mb << 20, NULL);
	if (region->has_refused && !region->is_inherited)
		log_queue(LOG_LEVEL_WARN, queue->num,
			  ": the program before had another --%s-memory; its %ss are forgotten",
			  name, name);
}

int queue_prepare(struct queue *queue, const struct options *options, unsigned int index,
		  struct inheritance *inheritance)
{
	for (int role = 0; role < QUEUE_ROLES; role++)
		queue->child[role] = (struct child){.news = -1, .orders = -1};
	queue->num = (uint16_t)(options->queue.queue_num + index);
	queue->core = options->pin ? affinity_core(index) : -1;
	queue->error_verdict = options->error_verdict;
	queue->settings = options->queue;
	queue->settings.queue_num = queue->num;
	/* A kernel without netfilter is told after a script that cannot be used. */
	queue->socket_error = make_socket(queue, inheritance);
	prepare_region(queue, &queue->flows, inheritance, INHERIT_FLOWS, options->flow_memory_mb);
	prepare_region(queue, &queue->streams, inheritance, INHERIT_STREAMS,
		       options->stream_memory_mb);
	queue->saved = mmap(NULL, WORKER_SAVED_MAX, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (queue->saved != MAP_FAILED)
		return EX_OK;
	log_write(LOG_LEVEL_ERROR, "cannot start: %s", strerror(errno));
	queue->saved = NULL;
	return EX_OSERR;
}

static void unmap_saved(const struct queue *queue)
{
	if (queue->saved)
		munmap(queue->saved, WORKER_SAVED_MAX);
}

void queue_release(struct queue *queue)
{
	ipq_queue_close(queue->socket);
	unmap_saved(queue);
	region_release(&queue->flows);
	region_release(&queue->streams);
	for (int role = 0; role < QUEUE_ROLES; role++)
		child_forget(&queue->child[role]);
}

void queue_forget_saved(struct queue *queue)
{
	(void)madvise(queue->saved, WORKER_SAVED_MAX, MADV_REMOVE);
}

/* Counters */

static struct ipq_counter *find_counter(struct ipq_counter *counters, const char *name)
{
	for (uint32_t i = 0; i < IPQ_SCRIPT_COUNTERS_MAX; i++)
		if (strncmp(counters[i].name, name, IPQ_COUNTER_NAME_SIZE) == 0)
			return &counters[i];
	return NULL;
}

/* The script's counters as they are, for a process to come. */
static void read_counters(const struct queue *queue, struct stats *stats)
{
	const struct child *owner = &queue->child[QUEUE_OWNER];

	*stats = queue->past;
	if (owner->batch)
		stats_read_script(stats, &owner->made);
}

static void inherit_counters(const struct queue *queue, struct ipq_counter *to)
{
	static struct stats stats;

	read_counters(queue, &stats);
	for (uint32_t i = 0; i < IPQ_SCRIPT_COUNTERS_MAX; i++) {
		const struct ipq_counter *counter = stats_counter(&stats, i);

		if (counter)
			to[i] = *counter;
	}
}

/* What was counted since is added: what the new script has set is its own. */
void queue_bequeath(struct queue *queue)
{
	static struct stats stats;
	const struct ipq_batch *made = &queue->child[QUEUE_NEXT].made;

	read_counters(queue, &stats);
	for (uint32_t i = 0; i < IPQ_SCRIPT_COUNTERS_MAX; i++) {
		const struct ipq_counter *counter = stats_counter(&stats, i);
		struct ipq_counter *before, *own;

		if (!counter)
			continue;
		own = find_counter(made->script_counters, counter->name);
		before = find_counter(made->inherited, counter->name);
		if (!before)
			before = find_counter(made->inherited, "");
		if (own && before)
			own->value += counter->value - before->value;
		if (before)
			*before = *counter;
	}
}

void queue_count(const struct queue *queue, struct stats *stats)
{
	stats->counters = queue->past.counters;
	stats->filter_ns = queue->past.filter_ns;
	for (int role = 0; role < QUEUE_ROLES; role++)
		if (queue->child[role].batch)
			stats_add_batch(stats, queue->child[role].batch, &queue->child[role].made);
	if (queue->child[QUEUE_OWNER].batch)
		stats_read_script(stats, &queue->child[QUEUE_OWNER].made);
	else
		memcpy(stats->script, queue->past.script, sizeof(stats->script));
}

/* Starting */

/* Packets that came before those of a new owner. */
static uint32_t unknown_of(const struct queue *queue)
{
	return queue->child[QUEUE_OLD].pid ? IPQ_UNKNOWN_HANDLED : IPQ_UNKNOWN_LEFT;
}

/* A new one for each worker: what an older one has left running cannot write there. */
static bool make_batch(const struct queues *queues, struct queue *queue, enum queue_role role)
{
	const struct options *options = queues->options;
	struct child *child = &queue->child[role];
	struct ipq_batch *batch;

	/* As large as any script's needs. */
	if (session_batch_new(&batch, options, ipq_queue_slot_size(&options->queue)) != EX_OK)
		return false;
	batch->timed_each = options->stats_ms || options->metrics ? 1 : SAMPLE;
	batch->loses = queues->kernel_loses;
	inherit_counters(queue, batch->inherited);
	if (role == QUEUE_OWNER) {
		if (queue->has_run || queue->is_adopted)
			batch->unknown = unknown_of(queue);
		memcpy(batch->script_counters, batch->inherited,
		       IPQ_SCRIPT_COUNTERS_MAX * sizeof(*batch->inherited));
		batch->unanswered = queue->unanswered;
		queue->unanswered = 0;
	}
	child->batch = batch;
	child->made = *batch;
	return true;
}

/* In the new process: what is not its own is closed. Of what another worker may have overwritten,
 * sizes are those of its making. */
static void leave_child(struct child *child)
{
	if (child->news >= 0)
		close(child->news);
	if (child->orders >= 0)
		close(child->orders);
	ipq_batch_unmap(child->batch, &child->made);
}

static void leave(struct queues *queues, const struct queue *own, const struct child *own_child)
{
	close(queues->signals);
	writers_leave(&queues->writers);
	if (queues->page >= 0)
		close(queues->page);
	if (queues->watch >= 0)
		close(queues->watch);
	control_leave(queues->control);
	region_leave(&queues->shared);
	for (unsigned int i = 0; i < queues->count; i++) {
		struct queue *queue = &queues->of[i];

		for (int role = 0; role < QUEUE_ROLES; role++)
			if (&queue->child[role] != own_child)
				leave_child(&queue->child[role]);
		region_leave(&queue->flows);
		region_leave(&queue->streams);
		if (queue == own)
			continue;
		ipq_queue_close(queue->socket);
		unmap_saved(queue);
		region_release(&queue->flows);
		region_release(&queue->streams);
	}
}

/* From a worker, and to it. */
struct pipes {
	int news[2], orders[2];
};

static int run(struct queues *queues, struct queue *queue, enum queue_role role,
	       const struct pipes *pipes, pid_t parent)
{
	struct child *child = &queue->child[role];
	struct worker_task task = {
		.options = queues->options,
		.user = queues->options->user ? &queues->user : NULL,
		.queue = queue->socket,
		.queue_num = queue->num,
		.batch = child->batch,
		.saved = queue->saved,
		.flows = {queue->flows.memory, queue->flows.size},
		.streams = {queue->streams.memory, queue->streams.size},
		.shared = {queues->shared.memory, queues->shared.size},
		.number = child->number,
		.core = queue->core,
		.news = pipes->news[1],
		.orders = pipes->orders[0],
		.signals = &queues->signals_before,
		.is_beside = role == QUEUE_NEXT,
		.retires_ms = limits_handover_ms(queues->options->time_limit_ms),
	};

	/* A worker that nobody can end must not stay; the second question is whether the supervisor
	 * was gone before the first. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		return EX_OSERR;
	leave(queues, queue, child);
	return child->is_without ? worker_run_without(&task) : worker_run(&task);
}

static pid_t fork_worker(struct queues *queues, struct queue *queue, enum queue_role role,
			 const struct pipes *pipes)
{
	pid_t parent = getpid();
	pid_t pid = fork();
	int code;

	if (pid != 0)
		return pid;
	close(pipes->news[0]);
	close(pipes->orders[1]);
	code = run(queues, queue, role, pipes, parent);
	/* Standard output is not what a worker is there for. */
	(void)output_end(code);
	exit_release();
	exit(code);
}

static void close_pipe(const int ends[2])
{
	if (ends[0] >= 0)
		close(ends[0]);
	if (ends[1] >= 0)
		close(ends[1]);
}

/* The supervisor's ends wait for nobody. */
static bool make_pipes(struct pipes *pipes)
{
	*pipes = (struct pipes){{-1, -1}, {-1, -1}};
	return pipe2(pipes->news, O_CLOEXEC | O_DIRECT) == 0 &&
	       pipe2(pipes->orders, O_CLOEXEC | O_DIRECT) == 0 &&
	       fcntl(pipes->news[0], F_SETFL, O_NONBLOCK | O_DIRECT) == 0 &&
	       fcntl(pipes->orders[1], F_SETFL, O_NONBLOCK | O_DIRECT) == 0;
}

/* One that no other worker has. */
static uint32_t free_number(const struct queues *queues, const struct queue *queue)
{
	uint32_t first = (uint32_t)(queue - queues->of) * QUEUE_ROLES, number = first;

	for (int role = 0; role < QUEUE_ROLES; role++) {
		const struct child *child = &queue->child[role];

		if (!child->pid || child->number != number)
			continue;
		number++;
		role = -1;
	}
	return number;
}

bool queue_start(struct queues *queues, struct queue *queue, enum queue_role role)
{
	struct child *child = &queue->child[role];
	struct pipes pipes;
	pid_t pid = -1;

	child->is_without = role == QUEUE_OWNER && queue->is_given_up;
	child->number = free_number(queues, queue);
	if (!make_batch(queues, queue, role))
		return false;
	if (make_pipes(&pipes))
		pid = fork_worker(queues, queue, role, &pipes);
	if (pid < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot start a worker for queue %u: %s", queue->num,
			  strerror(errno));
		close_pipe(pipes.news);
		close_pipe(pipes.orders);
		queue->unanswered += child->batch->unanswered;
		child_forget(child);
		return false;
	}
	close(pipes.news[1]);
	close(pipes.orders[0]);
	child->pid = pid;
	child->news = pipes.news[0];
	child->orders = pipes.orders[1];
	child_enter(child, CHILD_LOADING);
	child->started = child->since;
	if (role == QUEUE_OWNER)
		queue->restart_at = 0;
	return true;
}

/* The next one */

/* Answers that a worker's verdicts may still get, which its successor will read. What is there the
 * worker may have written. */
static uint32_t take_unanswered(const struct child *child)
{
	uint32_t count = __atomic_exchange_n(&child->batch->unanswered, 0, __ATOMIC_RELAXED);

	return count < UNANSWERED_MOST ? count : UNANSWERED_MOST;
}

void queue_promote(struct queue *queue)
{
	struct child *owner = &queue->child[QUEUE_OWNER], *next = &queue->child[QUEUE_NEXT];
	struct child *old = &queue->child[QUEUE_OLD];

	if (owner->pid) {
		*old = *owner;
		child_enter(old, CHILD_RETIRING);
		child_order(old, WORKER_RETIRE, 0);
	}
	*owner = *next;
	*next = (struct child){.news = -1, .orders = -1};
	owner->batch->unknown = unknown_of(queue);
	owner->batch->unanswered = queue->unanswered + (old->pid ? take_unanswered(old) : 0);
	queue->unanswered = 0;
	queue->is_given_up = false;
	queue->restart_at = 0;
	queue->backoff = (struct backoff){0};
	queue->owner_settings = queue->next_settings;
	queue_copy(queue, &queue->owner_settings);
	child_enter(owner, CHILD_RUNNING);
	child_order(owner, WORKER_GO, 0);
}

/* Ending */

/* Who has the queue hears of verdicts that were given twice, and that nobody else has packets. */
static void tell_owner(struct queue *queue, uint32_t settled)
{
	struct ipq_batch *batch = queue->child[QUEUE_OWNER].batch;
	uint32_t handled = IPQ_UNKNOWN_HANDLED;

	if (!batch) {
		queue->unanswered += settled;
		return;
	}
	(void)__atomic_fetch_add(&batch->unanswered, settled, __ATOMIC_RELAXED);
	if (!queue->child[QUEUE_OLD].pid)
		(void)__atomic_compare_exchange_n(&batch->unknown, &handled, IPQ_UNKNOWN_LEFT,
						  false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

int queue_settle(struct queue *queue, enum queue_role role)
{
	struct child *child = &queue->child[role];
	struct ipq_counters counted = {0};
	int ret = 0;

	/* Until it is owner it has no packets. */
	if (role != QUEUE_NEXT)
		ret = ipq_settle(ipq_queue_source(queue->socket), child->batch, &child->made,
				 &counted);
	ipq_counters_add(&queue->past.counters, &counted);
	stats_add_batch(&queue->past, child->batch, &child->made);
	if (role == QUEUE_OWNER) {
		stats_read_script(&queue->past, &child->made);
		counted.settled += take_unanswered(child);
	}
	child_forget(child);
	tell_owner(queue, (uint32_t)counted.settled);
	return ret;
}

int queue_restore(struct queue *queue)
{
	queue->was_odd = false;
	return ipq_queue_restore(queue->socket, &queue->settings);
}

void queue_copy(struct queue *queue, const struct ipq_queue_options *settings)
{
	int ret;

	queue->settings = *settings;
	ret = ipq_queue_copy(queue->socket, settings);
	if (ret < 0)
		log_queue(LOG_LEVEL_ERROR, queue->num, ": cannot set the copy range: %s",
			  strerror(-ret));
}

void queue_drain(struct queue *queue)
{
	struct ipq_source *source = ipq_queue_source(queue->socket);
	int64_t end = clock_ms() + DRAIN_MS;
	struct ipq_batch *batch;
	int ret;

	if (ipq_batch_new(&batch, IPQ_BATCH_MAX, ipq_queue_slot_size(&queue->settings)) < 0)
		return;
	batch->error_verdict = queue->error_verdict;
	/* One that judges what it holds does so still. */
	batch->unknown = unknown_of(queue);
	ret = source->stop(source);
	while (ret >= 0 && clock_ms() < end && (ret = source->receive(source, batch)) != 0) {
		if (ret == -EAGAIN)
			ret = 1;
		ipq_batch_fail_rest(batch);
		(void)source->commit(source, batch);
		ipq_batch_tally(batch);
		ipq_batch_clear(batch);
	}
	ipq_counters_add(&queue->past.counters, &batch->counters);
	ipq_batch_free(batch);
}
