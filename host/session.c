#include "session.h"
#include "engine.h"
#include "log.h"
#include "signals.h"

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

int session_open(struct session *session, struct vm *vm, const struct options *options,
		 uint32_t slot_size)
{
	int ret;

	*session = (struct session){.vm = vm};
	ret = ipq_batch_new(&session->driver.batch, IPQ_BATCH_MAX, slot_size);
	if (ret == 0)
		ret = signals_init(&session->driver.interrupt);
	if (ret < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot start: %s", strerror(-ret));
		return EX_OSERR;
	}
	session->driver.batch->default_verdict = options->default_verdict;
	session->driver.batch->error_verdict = options->error_verdict;
	return EX_OK;
}

int session_start(struct session *session, struct ipq_source *source)
{
	session->driver.source = source;
	return session_exit_code(vm_start(session->vm, &session->driver));
}

int session_run(struct session *session, const char *name)
{
	int ret = engine_run(&session->driver, session->vm);
	enum vm_result stopped = vm_stop(session->vm);

	if (ret == 0)
		return session_exit_code(stopped);
	log_write(LOG_LEVEL_ERROR, "%s: %s", name, strerror(-ret));
	return EX_UNAVAILABLE;
}

void session_close(struct session *session)
{
	ipq_batch_free(session->driver.batch);
	session->driver.batch = NULL;
}
