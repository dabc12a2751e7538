#include "worker.h"
#include "affinity.h"
#include "landlock.h"
#include "reload.h"
#include "sandbox.h"
#include "session.h"
#include "host/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

static int pin(const struct worker_task *task)
{
	int ret = task->core < 0 ? 0 : affinity_pin(task->core);

	if (ret == 0)
		return EX_OK;
	log_queue(LOG_LEVEL_ERROR, task->queue_num, ": cannot stay on core %d: %s", task->core,
		  strerror(-ret));
	return EX_OSERR;
}

/* What a script allocates within one look of the supervisor's must not take the machine's memory:
 * beyond twice the limit it gets none. */
static void limit_memory(const struct options *options)
{
	struct rlimit limit = {.rlim_cur = (rlim_t)options->memory_limit_mb << 21,
			       .rlim_max = (rlim_t)options->memory_limit_mb << 21};

	if (options->memory_limit_mb)
		(void)setrlimit(RLIMIT_DATA, &limit);
}

/* A supervisor that is gone takes its workers with it: there is no error to tell. */
static void tell(const struct worker_task *task, const struct worker_message *message)
{
	(void)send(task->channel, message, sizeof(*message), MSG_NOSIGNAL);
}

static void tell_file(void *data, const char *path)
{
	struct worker_message message;

	memset(&message, 0, sizeof(message));
	message.news = WORKER_FILE;
	snprintf(message.path, sizeof(message.path), "%s", path);
	tell(data, &message);
}

static void tell_news(const struct worker_task *task, enum worker_news news, struct vm *vm)
{
	struct worker_message message;

	if ((news == WORKER_LOADED || news == WORKER_RELOADED) && task->options->watch)
		vm_files(vm, tell_file, (void *)task);
	memset(&message, 0, sizeof(message));
	message.news = news;
	message.settings = session_settings(task->options, vm);
	tell(task, &message);
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

/* What the queue was bound for may have been another version of the script's. */
static void copy_as_needed(const struct worker_task *task, struct vm *vm)
{
	struct ipq_queue_options settings = session_settings(task->options, vm);
	int ret = ipq_queue_copy(task->queue, &settings);

	if (ret < 0)
		log_queue(LOG_LEVEL_ERROR, task->queue_num, ": cannot set the copy range: %s",
			  strerror(-ret));
}

static void reload_session(struct session *session)
{
	const struct worker_task *task = session->data;

	tell_news(task, WORKER_RELOADING, session->vm);
	if (!reload(session)) {
		tell_news(task, WORKER_NOT_RELOADED, session->vm);
		return;
	}
	copy_as_needed(task, session->vm);
	tell_news(task, WORKER_RELOADED, session->vm);
}

static int cannot(const struct worker_task *task, const char *what, const char *whom, int error)
{
	const char *why = strerror(-error);

	if (error == -EBUSY)
		why = "the script has started threads; see --no-sandbox";
	else if (error == -EPERM && *whom)
		why = "not permitted; it takes root, or CAP_SETUID and CAP_SETGID";
	log_write(LOG_LEVEL_ERROR, "queue %u: cannot %s%s: %s", task->queue_num, what, whom, why);
	return error == -EPERM ? EX_NOPERM : EX_OSERR;
}

/* What a worker reads from a terminal nobody types for it. */
static int close_input(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), ret = 0;

	if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Landlock first: its system calls are not among the sandbox's. */
static int enter_sandbox(const struct options *options, const char **folder)
{
	int version = landlock_version();
	int ret = close_input();

	if (ret == 0)
		ret = landlock_enter(options, folder);
	if (ret == 0 && prctl(PR_SET_DUMPABLE, 0) < 0)
		ret = -errno;
	/* Where the kernel has no landlock, nothing is kept from a file's content anyway. */
	return ret == 0 ? sandbox_enter(version == LANDLOCK_NONE || version >= LANDLOCK_TRUNCATES)
			: ret;
}

/* vm is NULL where there is no script. After start(), so that a script can open and connect what it
 * needs: until then nobody but its owner has had a word. */
static int lock_down(const struct worker_task *task, struct vm *vm)
{
	const struct options *options = task->options;
	const char *folder = NULL;
	int ret = 0;

	if (options->is_sandboxed && vm && !vm_confine(vm))
		return EX_OSERR;
	/* Landlock, and without a user capabilities, are the calling thread's alone. */
	if (options->is_sandboxed && privileges_has_threads())
		return cannot(task, "enter the sandbox", "", -EBUSY);
	if (options->is_sandboxed || task->user)
		ret = privileges_drop(task->user);
	if (ret < 0 && task->user)
		return cannot(task, "become ", options->user, ret);
	if (ret == 0)
		ret = privileges_seal();
	if (ret < 0)
		return cannot(task, "give privileges up", "", ret);
	if (options->is_sandboxed)
		ret = enter_sandbox(options, &folder);
	if (ret < 0 && folder)
		return cannot(task, "have --writable ", folder, ret);
	return ret < 0 ? cannot(task, "enter the sandbox, see --no-sandbox", "", ret) : EX_OK;
}

static int judge(const struct worker_task *task, struct session *session, struct vm *vm)
{
	char name[32];
	int code;

	snprintf(name, sizeof(name), "queue %u", task->queue_num);
	ipq_queue_spin(task->queue, task->options->spin_us);
	if (task->is_successor)
		copy_as_needed(task, vm);
	code = session_start(session, vm, ipq_queue_source(task->queue));
	if (code == EX_OK)
		code = lock_down(task, vm);
	if (code != EX_OK)
		return code;
	session->reload = reload_session;
	session->data = (void *)task;
	tell_news(task, WORKER_RUNNING, vm);
	return session_run(session, name);
}

static int open_session(const struct worker_task *task, struct session *session)
{
	int code;

	log_set_queue(task->queue_num);
	code = session_open(session, task->options, task->batch, SIGNALS_WORKER);
	sigprocmask(SIG_SETMASK, task->signals, NULL);
	return code == EX_OK ? pin(task) : code;
}

static int load(const struct worker_task *task, struct vm **vm)
{
	const struct options *options = task->options;

	*vm = vm_new(false);
	if (!*vm)
		return EX_OSERR;
	signals_on_overtime(vm_overtime, *vm);
	return session_exit_code(vm_load(*vm, task->batch->script_counters, options->script,
					 options->argc, options->argv));
}

int worker_run(const struct worker_task *task)
{
	const struct options *options = task->options;
	struct session session;
	struct vm *vm = NULL;
	int code = open_session(task, &session);

	limit_memory(options);
	if (code == EX_OK)
		code = load(task, &vm);
	if (code == EX_OK) {
		tell_news(task, WORKER_LOADED, vm);
		if (wait_until_bound(task))
			code = judge(task, &session, vm);
	}
	/* Before it goes: a signal that says that it takes too long may come at any time. */
	signals_on_overtime(NULL, NULL);
	vm_free(session.vm ? session.vm : vm);
	return code;
}

static int receive_all(struct ipq_driver *driver)
{
	int ret;

	while ((ret = ipq_driver_next(driver)) > 0)
		ipq_batch_fail_rest(driver->batch);
	return ret;
}

int worker_run_without(const struct worker_task *task)
{
	struct session session;
	struct ipq_source *source = ipq_queue_source(task->queue);
	int code = open_session(task, &session);
	int ret;

	if (code == EX_OK)
		code = lock_down(task, NULL);
	ret = code == EX_OK ? -EINTR : 0;
	session.driver.source = source;
	while (ret == -EINTR) {
		int asked;

		signals_interrupt(true);
		ret = receive_all(&session.driver);
		if (ret != -EINTR)
			break;
		asked = signals_take();
		if (asked & (SIGNALS_LEAVE | SIGNALS_RELOAD))
			ret = 0;
		else if (asked & SIGNALS_STOP && (ret = source->stop(source)) == 0)
			ret = -EINTR;
	}
	return code == EX_OK && ret < 0 ? EX_UNAVAILABLE : code;
}
