#include "child.h"
#include "host/base/base.h"
#include "host/figures/report.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

void child_enter(struct child *child, enum child_stage stage)
{
	child->stage = stage;
	child->since = clock_ms();
	child->is_interrupted = false;
}

static void end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void child_leave_alone(struct child *child)
{
	end(&child->orders);
}

void child_order(const struct child *child, enum worker_order order, size_t saved)
{
	struct worker_command command = {.order = order, .saved = saved};

	(void)!write(child->orders, &command, sizeof(command));
}

bool child_read(struct child *child, struct worker_message *message)
{
	ssize_t len = read(child->news, message, sizeof(*message));

	if (len < 0 && errno == EAGAIN)
		return false;
	if (len != sizeof(*message)) {
		end(&child->news);
		return false;
	}
	message->text[sizeof(message->text) - 1] = '\0';
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
	end(&child->news);
	end(&child->orders);
	ipq_batch_unmap(child->batch, &child->made);
	*child = (struct child){.news = -1, .orders = -1};
}
