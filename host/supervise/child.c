#include "child.h"
#include "host/base/base.h"
#include "host/figures/report.h"
#include "host/judge/judge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* Looking at the clock costs some 40 ns a batch: where nobody has asked for statistics, and --top
 * alone may want them, that is spent on one in so many. */
enum { SAMPLE = 16 };

/* Whether the queue is the socket's. Where the kernel's list cannot be read it is taken for so. */
static bool is_owner(const struct ipq_queue *queue, uint16_t queue_num)
{
	struct ipq_procfs_queue status;
	int ret = ipq_procfs_queue(queue_num, &status);

	return ret == 0 ? status.portid == ipq_queue_portid(queue) : ret != -ENOENT;
}

static int queue_make(struct child *child, struct inheritance *inheritance)
{
	int fd = inherit_find(inheritance, child->queue_num);

	if (fd < 0)
		return ipq_queue_new(&child->queue, child->queue_num);
	if (ipq_queue_adopt(&child->queue, fd, child->queue_num) < 0) {
		close(fd);
		return ipq_queue_new(&child->queue, child->queue_num);
	}
	child->is_adopted = is_owner(child->queue, child->queue_num);
	if (child->is_adopted)
		return 0;
	ipq_queue_close(child->queue);
	child->queue = NULL;
	return ipq_queue_new(&child->queue, child->queue_num);
}

int child_prepare(struct child *child, const struct options *options, unsigned int index,
		  struct inheritance *inheritance)
{
	struct ipq_queue_options settings = options->queue;
	int code;

	child->queue_num = (uint16_t)(settings.queue_num + index);
	child->channel = -1;
	child->core = options->pin ? affinity_core(index) : -1;
	/* A kernel without netfilter is told after a script that cannot be used. */
	child->queue_error = queue_make(child, inheritance);
	/* As large as any script's needs. */
	code = session_batch_new(&child->batch, options, ipq_queue_slot_size(&settings));
	if (code != EX_OK)
		return code;
	child->batch->timed_each = options->stats_ms || options->metrics ? 1 : SAMPLE;
	child->made = *child->batch;
	return EX_OK;
}

void child_release(struct child *child)
{
	ipq_queue_close(child->queue);
	ipq_batch_unmap(child->batch, &child->made);
}

/* Starting */

/* In the new process: what is not its own is closed. */
static void leave(struct children *children, const struct child *own)
{
	close(children->signals);
	writers_leave(&children->writers);
	if (children->page >= 0)
		close(children->page);
	for (unsigned int i = 0; i < children->count; i++) {
		struct child *child = &children->of[i];

		if (child->channel >= 0)
			close(child->channel);
		if (child == own)
			continue;
		ipq_queue_close(child->queue);
		/* Its worker may have overwritten what it says of itself. */
		ipq_batch_unmap(child->batch, &child->made);
	}
}

static int run(struct children *children, struct child *child, int channel, pid_t parent)
{
	struct worker_task task = {
		.options = children->options,
		.user = children->options->user ? &children->user : NULL,
		.queue = child->queue,
		.queue_num = child->queue_num,
		.batch = child->batch,
		.core = child->core,
		.channel = channel,
		.signals = &children->signals_before,
		.is_successor = child->has_run,
	};

	/* A worker that nobody can end must not stay; the second question is whether the supervisor
	 * was gone before the first. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		return EX_OSERR;
	leave(children, child);
	return child->is_given_up ? worker_run_without(&task) : worker_run(&task);
}

uint64_t child_judged(const struct child *child)
{
	return child->batch->counters.packets - child->batch->counters.settled;
}

bool child_start(struct children *children, struct child *child)
{
	int ends[2] = {-1, -1};
	pid_t parent = getpid();
	pid_t pid = -1;
	int code;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0)
		pid = fork();
	if (pid == 0) {
		close(ends[0]);
		code = run(children, child, ends[1], parent);
		/* Standard output is not what a worker is there for. */
		(void)output_end(code);
		exit(code);
	}
	if (pid < 0)
		log_write(LOG_LEVEL_ERROR, "cannot start a worker for queue %u: %s",
			  child->queue_num, strerror(errno));
	if (ends[1] >= 0)
		close(ends[1]);
	if (pid < 0) {
		if (ends[0] >= 0)
			close(ends[0]);
		return false;
	}
	child->pid = pid;
	child->channel = ends[0];
	child->stage = CHILD_LOADING;
	child->judged_at = child_judged(child);
	child->restart_at = 0;
	child->loading_since = child->is_given_up ? 0 : clock_ms();
	child->is_interrupted = false;
	child->watchdog = (struct watchdog){0};
	return true;
}

void child_let_go(struct child *child)
{
	(void)send(child->channel, "", 1, MSG_NOSIGNAL);
}

bool child_read(struct child *child, struct worker_message *message)
{
	ssize_t len = recv(child->channel, message, sizeof(*message), MSG_DONTWAIT);

	if (len < 0 && errno == EAGAIN)
		return false;
	if (len != sizeof(*message)) {
		close(child->channel);
		child->channel = -1;
		return false;
	}
	message->path[sizeof(message->path) - 1] = '\0';
	return true;
}

/* Ending */

static void describe_death(int status, char *text, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(text, size, "was killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(text, size, "ended with status %d", WEXITSTATUS(status));
}

void child_died(struct child *child, int status)
{
	char death[64], work[160];
	int count;

	report_work(child->batch, &child->made, "packet", work, sizeof(work));
	child->batch->in_timer = 0;
	describe_death(status, death, sizeof(death));
	count = ipq_settle(ipq_queue_source(child->queue), child->batch, &child->made);
	if (count >= 0)
		count = child_restore_queue(child);
	log_queue(LOG_LEVEL_ERROR, child->queue_num, ": its worker, process %d, %s%s", child->pid,
		  death, work);
	if (count < 0)
		log_queue(LOG_LEVEL_ERROR, child->queue_num,
			  ": cannot judge what it had in hand: %s", strerror(-count));
}

int child_restore_queue(struct child *child)
{
	child->was_odd = false;
	return ipq_queue_restore(child->queue, &child->settings);
}

/* In a batch of our own: a process that the worker has forked may still write into the other. */
void child_drain(struct child *child)
{
	struct ipq_driver driver = {.source = ipq_queue_source(child->queue)};

	if (ipq_batch_new(&driver.batch, child->made.capacity, child->made.slot_size) < 0)
		return;
	driver.batch->error_verdict = child->made.error_verdict;
	driver.batch->unknown = 1;
	if (driver.source->stop(driver.source) == 0)
		while (ipq_driver_next(&driver) > 0)
			ipq_batch_fail_rest(driver.batch);
	ipq_counters_add(&child->batch->counters, &driver.batch->counters);
	ipq_batch_free(driver.batch);
}
