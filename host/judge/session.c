#include "session.h"
#include "host/base/log.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

int session_exit_code(enum vm_result result)
{
	switch (result) {
	case VM_OK: return EX_OK;
	case VM_NO_FILE: return EX_NOINPUT;
	default: return EX_DATAERR;
	}
}

static int cannot_start(int error)
{
	log_write(LOG_LEVEL_ERROR, "cannot start: %s", strerror(-error));
	return EX_OSERR;
}

struct ipq_queue_options session_settings(const struct options *options, struct vm *vm)
{
	struct ipq_queue_options settings = options->queue;

	vm_queue_options(vm, &settings);
	if (options->copy_range_given)
		settings.copy_range = options->queue.copy_range;
	return settings;
}

int session_batch_new(struct ipq_batch **batch, const struct options *options, uint32_t slot_size)
{
	int ret = ipq_batch_new(batch, IPQ_BATCH_MAX, slot_size);

	if (ret < 0)
		return cannot_start(ret);
	(*batch)->default_verdict = options->default_verdict;
	(*batch)->error_verdict = options->error_verdict;
	(*batch)->default_reject = options->default_reject;
	(*batch)->error_reject = options->error_reject;
	ipq_batch_limit_held(*batch, options->queue.maxlen);
	return EX_OK;
}

int session_open(struct session *session, const struct options *options, struct ipq_batch *batch,
		 enum signals_role role)
{
	int ret;

	*session = (struct session){.options = options, .driver.batch = batch};
	ret = signals_init(&session->driver.interrupt, role);
	return ret < 0 ? cannot_start(ret) : EX_OK;
}

int session_start(struct session *session, struct vm *vm, struct ipq_source *source, bool is_live)
{
	int code;

	session->vm = vm;
	session->driver.source = source;
	code = sender_open(&session->sender, session->options, vm, session->driver.batch, is_live);
	session->driver.outbox = session->sender.outbox;
	if (session->sender.raw)
		ipq_own_range(session->sender.outbox->own,
			      session_settings(session->options, vm).copy_range);
	return code == EX_OK ? session_exit_code(vm_start(vm, &session->driver)) : code;
}

void session_close(struct session *session)
{
	sender_close(&session->sender);
	session->driver.outbox = NULL;
}

/* The Lua state is broken: what it has not judged is an error, and the rest is for another one. */
static int give_up(struct ipq_driver *driver, int error)
{
	ipq_batch_fail_rest(driver->batch);
	driver->source->commit(driver->source, driver->batch);
	ipq_batch_tally(driver->batch);
	ipq_batch_clear(driver->batch);
	return error;
}

/* Judges packets until there are no more to judge here. */
static int judge(struct session *session)
{
	struct ipq_driver *driver = &session->driver;
	int ret, asked;

	for (;;) {
		signals_interrupt(true);
		ret = vm_run(session->vm);
		signals_interrupt(false);
		if (ret == -ENOTRECOVERABLE)
			return give_up(driver, ret);
		if (ret != -EINTR)
			return ret;
		asked = signals_take();
		session->has_left = asked & SIGNALS_LEAVE;
		if (session->has_left)
			return 0;
		/* The source ends by itself from here on, when what waits is judged. */
		ret = asked & SIGNALS_STOP ? driver->source->stop(driver->source) : 0;
		if (ret < 0)
			return ret;
		if (asked & SIGNALS_RELOAD && session->hand_over && !session->has_handed)
			session->has_handed = session->hand_over(session);
	}
}

int session_run(struct session *session, const char *name)
{
	int ret = judge(session);
	enum vm_result stopped = vm_stop(session->vm, session->has_handed ? "reload" : "exit",
					 !session->has_handed && !session->has_left);

	/* What a broken Lua state could give no verdict. */
	ipq_driver_commit_all_held(&session->driver, session->driver.batch->error_verdict);
	if (session->driver.outbox)
		ipq_outbox_flush(session->driver.outbox);

	if (ret == 0)
		return session_exit_code(stopped);
	log_write(LOG_LEVEL_ERROR, "%s: %s", name, strerror(-ret));
	return EX_UNAVAILABLE;
}
