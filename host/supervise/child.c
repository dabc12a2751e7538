#include "child.h"
#include "host/base/base.h"
#include "host/figures/report.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/socket.h>

void child_enter(struct child *child, enum child_stage stage)
{
	child->stage = stage;
	child->since = clock_ms();
	child->is_interrupted = false;
}

void child_order(const struct child *child, enum worker_order order, size_t saved)
{
	struct worker_command command = {.order = order, .saved = saved};

	(void)send(child->channel, &command, sizeof(command), MSG_NOSIGNAL | MSG_DONTWAIT);
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

void child_work(const struct child *child, char *text, size_t size)
{
	report_work(child->batch, &child->made, "packet", text, size);
	if (__atomic_load_n(&child->batch->count, __ATOMIC_RELAXED))
		return;
	if (child->stage == CHILD_LOADING)
		snprintf(text, size, " while it loaded the script");
	else if (child->stage == CHILD_LOADED)
		snprintf(text, size, " in start()");
	else if (child->stage == CHILD_RESTORING)
		snprintf(text, size, " in restore()");
	else if (child->stage == CHILD_SAVING)
		snprintf(text, size, " in save()");
}

void child_discard(struct child *child)
{
	if (!child->pid)
		return;
	child->is_unwanted = true;
	kill(child->pid, SIGKILL);
}

void child_forget(struct child *child)
{
	if (child->channel >= 0)
		close(child->channel);
	ipq_batch_unmap(child->batch, &child->made);
	*child = (struct child){.channel = -1};
}
