#include "worker.h"
#include "affinity.h"
#include "edits.h"
#include "landlock.h"
#include "sandbox.h"
#include "session.h"
#include "bindings/value.h"
#include "host/base/base.h"
#include "lib/flow/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/resource.h>

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
	ssize_t ret;

	do
		ret = write(task->news, message, sizeof(*message));
	while (ret < 0 && errno == EINTR);
}

static void tell_text(const struct worker_task *task, enum worker_news news, const char *text)
{
	struct worker_message message;

	memset(&message, 0, sizeof(message));
	message.news = news;
	snprintf(message.text, sizeof(message.text), "%s", text);
	tell(task, &message);
}

static void tell_file(void *data, const char *path)
{
	tell_text(data, WORKER_FILE, path);
}

static void tell_news(const struct worker_task *task, enum worker_news news, size_t saved)
{
	struct worker_message message;

	memset(&message, 0, sizeof(message));
	message.news = news;
	message.saved = saved;
	tell(task, &message);
}

static void tell_loaded(const struct worker_task *task, struct vm *vm)
{
	struct worker_message message;

	if (task->options->watch)
		vm_files(vm, tell_file, (void *)task);
	memset(&message, 0, sizeof(message));
	message.news = WORKER_LOADED;
	message.settings = session_settings(task->options, vm);
	tell(task, &message);
}

/* False where the channel has ended. */
static bool take_order(const struct worker_task *task, struct worker_command *command)
{
	ssize_t len;

	do
		len = read(task->orders, command, sizeof(*command));
	while (len < 0 && errno == EINTR);
	return len == sizeof(*command);
}

_Static_assert((int)WORKER_SAVED_MAX == (int)VALUE_SIZE_MAX, "what can be saved has room");

static bool hand_over(struct session *session)
{
	const struct worker_task *task = session->data;
	struct worker_command command;
	ssize_t len = vm_save(session->vm, task->saved, WORKER_SAVED_MAX);

	if (len < 0)
		log_queue(LOG_LEVEL_WARN, task->queue_num,
			  ": the new script begins without what save() was to give it");
	tell_news(task, WORKER_HANDED, len < 0 ? 0 : (size_t)len);
	if (!take_order(task, &command) || command.order != WORKER_RETIRE)
		return false;
	vm_unfollow(session->vm);
	ipq_queue_retire(task->queue, task->retires_ms);
	return true;
}

/* What another process wrote there, or one that it forked still writes, in memory of its own. */
static int restore(const struct worker_task *task, struct vm *vm, size_t len)
{
	uint8_t *saved = len && len <= WORKER_SAVED_MAX ? malloc(len) : NULL;
	int code;

	if (!saved) {
		log_queue(LOG_LEVEL_ERROR, task->queue_num, ": cannot take what was saved: %s",
			  strerror(ENOMEM));
		return EX_OSERR;
	}
	memcpy(saved, task->saved, len);
	code = session_exit_code(vm_restore(vm, saved, len));
	free(saved);
	if (code == EX_OK)
		tell_news(task, WORKER_RESTORED, 0);
	return code;
}

/* The process that takes too much memory while another one judges is this one. *before is what is
 * to be set again. */
static int set_oom_score(const char *score, char *before, size_t size)
{
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	ssize_t len = 0;

	if (fd < 0)
		return -errno;
	if (before)
		len = read(fd, before, size - 1);
	if (before)
		before[len > 0 ? len : 0] = '\0';
	len = pwrite(fd, score, strlen(score), 0);
	close(fd);
	return len < 0 ? -errno : 0;
}

static int cannot(const struct worker_task *task, const char *what, const char *whom, int error)
{
	const char *why = strerror(-error);

	if (error == -EBUSY)
		why = "the script has started threads; see --no-sandbox";
	else if (error == -EPERM && *whom)
		why = "not permitted; it needs root, or CAP_SETUID and CAP_SETGID";
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

/* What descriptors stand for, as messages in pipes, is memory of the kernel's that --memory-limit does
 * not see. */
static int limit_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	limit.rlim_max = limit.rlim_cur;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

/* Landlock first: its system calls are not among the sandbox's. */
static int enter_sandbox(const struct options *options, const struct sender *sender,
			 const char **folder)
{
	int probes[SANDBOX_PROBES] = {-1, -1};
	int version = landlock_version();
	int ret = close_input();

	if (ret == 0)
		ret = limit_descriptors();
	if (ret == 0)
		ret = landlock_enter(options, folder);
	if (ret == 0 && prctl(PR_SET_DUMPABLE, 0) < 0)
		ret = -errno;
	if (sender && sender->raw)
		ipq_raw_probes(sender->raw, probes);
	/* Where the kernel has no landlock, nothing is kept from a file's content anyway. */
	return ret == 0 ? sandbox_enter(version == LANDLOCK_NONE || version >= LANDLOCK_TRUNCATES,
					probes)
			: ret;
}

/* vm is NULL where there is no script. After start(), so that a script can open and connect what it
 * needs: until then nobody but its owner has had a word. */
static int lock_down(const struct worker_task *task, struct vm *vm, const struct sender *sender)
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
		ret = enter_sandbox(options, sender, &folder);
	if (ret < 0 && folder)
		return cannot(task, "have --writable ", folder, ret);
	return ret < 0 ? cannot(task, "enter the sandbox, see --no-sandbox", "", ret) : EX_OK;
}

/* From the loaded script to the last packet. */
static int judge(const struct worker_task *task, struct session *session, struct vm *vm,
		 const char *oom_score)
{
	struct worker_command command;
	char name[32];
	int code;

	snprintf(name, sizeof(name), "queue %u", task->queue_num);
	ipq_queue_spin(task->queue, task->options->spin_us);
	code = session_start(session, vm, ipq_queue_source(task->queue), true);
	if (task->is_beside && *oom_score)
		(void)set_oom_score(oom_score, NULL, 0);
	if (code == EX_OK)
		code = lock_down(task, vm, &session->sender);
	if (code != EX_OK)
		return code;
	session->hand_over = hand_over;
	session->data = (void *)task;
	tell_news(task, WORKER_READY, 0);
	if (!take_order(task, &command))
		return EX_OK;
	if (command.order == WORKER_RESTORE) {
		code = restore(task, vm, command.saved);
		if (code != EX_OK || !take_order(task, &command))
			return code;
	}
	if (!vm_follow(vm, &task->flows, &task->streams))
		return EX_OSERR;
	vm_tell_flows(vm);
	if (task->queue_num == task->options->queue.queue_num)
		edits_tell(task->options, vm);
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
	*vm = vm_new();
	if (!*vm)
		return EX_OSERR;
	signals_on_overtime(vm_overtime, *vm);
	/* Another worker must not be the end of all that come after it. */
	if (task->shared.memory && ipq_shared_mend(task->shared.memory, task->shared.size))
		log_queue(LOG_LEVEL_WARN, task->queue_num,
			  ": a worker has overwritten the head of the shared tables' memory");
	if (!vm_share(*vm, task->shared.memory, task->shared.size, task->number))
		return EX_OSERR;
	return session_exit_code(vm_load(*vm, task->options, task->queue_num,
					 task->batch->script_counters, task->batch->inherited));
}

int worker_run(const struct worker_task *task)
{
	const struct options *options = task->options;
	struct session session;
	struct worker_command command;
	struct vm *vm = NULL;
	char oom_score[16] = "";
	int code = open_session(task, &session);

	exit_guard(options->script);
	limit_memory(options);
	if (task->is_beside)
		(void)set_oom_score("1000", oom_score, sizeof(oom_score));
	if (code == EX_OK)
		code = load(task, &vm);
	if (code == EX_OK) {
		tell_loaded(task, vm);
		if (take_order(task, &command))
			code = judge(task, &session, vm, oom_score);
	}
	if (code != EX_OK)
		tell_text(task, WORKER_FAILED, log_error());
	/* Before it goes: a signal that says that it takes too long may come at any time. */
	signals_on_overtime(NULL, NULL);
	vm_free(session.vm ? session.vm : vm);
	session_close(&session);
	signals_forget();
	return code;
}

static int receive_all(struct ipq_driver *driver)
{
	int ret;

	while ((ret = ipq_driver_next(driver)) > 0)
		ipq_batch_fail_rest(driver->batch);
	return ret;
}

/* There is nothing to save. */
static bool is_replaced(const struct worker_task *task)
{
	struct worker_command command;

	tell_news(task, WORKER_HANDED, 0);
	return take_order(task, &command) && command.order == WORKER_RETIRE;
}

static int judge_without(const struct worker_task *task, struct session *session)
{
	struct ipq_source *source = ipq_queue_source(task->queue);
	int ret;

	session->driver.source = source;
	for (;;) {
		int asked;

		signals_interrupt(true);
		ret = receive_all(&session->driver);
		if (ret != -EINTR)
			return ret < 0 ? EX_UNAVAILABLE : EX_OK;
		asked = signals_take();
		if (asked & SIGNALS_LEAVE)
			return EX_OK;
		if (asked & SIGNALS_STOP && source->stop(source) < 0)
			return EX_UNAVAILABLE;
		if (asked & SIGNALS_RELOAD && is_replaced(task))
			return EX_OK;
	}
}

int worker_run_without(const struct worker_task *task)
{
	struct session session;
	struct worker_command command;
	int code = open_session(task, &session);

	if (code == EX_OK)
		code = lock_down(task, NULL, NULL);
	if (code == EX_OK) {
		tell_news(task, WORKER_READY, 0);
		if (take_order(task, &command))
			code = judge_without(task, &session);
	}
	signals_forget();
	return code;
}
