#include "worker.h"
#include "affinity.h"
#include "log.h"
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <sys/socket.h>

static int pin(const struct worker_task *task)
{
	int ret = task->core < 0 ? 0 : affinity_pin(task->core);

	if (ret == 0)
		return EX_OK;
	log_write(LOG_LEVEL_ERROR, "queue %u: cannot stay on core %d: %s", task->queue_num,
		  task->core, strerror(-ret));
	return EX_OSERR;
}

/* A supervisor that is gone takes its workers with it: there is no error to tell. */
static void report(const struct worker_task *task, enum worker_stage stage, struct vm *vm)
{
	struct worker_report report;

	memset(&report, 0, sizeof(report));
	report.stage = stage;
	report.settings = session_settings(task->options, vm);
	(void)send(task->channel, &report, sizeof(report), MSG_NOSIGNAL);
}

static bool wait_until_bound(const struct worker_task *task)
{
	ssize_t len;
	char go;

	do
		len = recv(task->channel, &go, sizeof(go), 0);
	while (len < 0 && errno == EINTR);
	return len > 0;
}

static int judge(const struct worker_task *task, struct session *session, struct vm *vm)
{
	char name[32];
	int code;

	snprintf(name, sizeof(name), "queue %u", task->queue_num);
	ipq_queue_spin(task->queue, task->options->spin_us);
	code = session_start(session, vm, ipq_queue_source(task->queue));
	if (code != EX_OK)
		return code;
	report(task, WORKER_RUNNING, vm);
	return session_run(session, name);
}

int worker_run(const struct worker_task *task)
{
	const struct options *options = task->options;
	struct session session;
	struct vm *vm = NULL;
	int code = session_open(&session, task->batch, SIGNALS_WORKER);

	sigprocmask(SIG_SETMASK, task->signals, NULL);
	if (code == EX_OK)
		code = pin(task);
	if (code == EX_OK)
		code = session_exit_code(
			vm_new(&vm, options->script, options->argc, options->argv));
	if (code == EX_OK) {
		report(task, WORKER_LOADED, vm);
		if (wait_until_bound(task))
			code = judge(task, &session, vm);
	}
	vm_free(vm);
	return code;
}
