#include "reload.h"
#include "log.h"

static void tell_failure(const struct session *session)
{
	log_write(LOG_LEVEL_ERROR, "%s was not reloaded: the one that runs goes on",
		  session->options->script);
}

static struct vm *load(struct session *session)
{
	const struct options *options = session->options;
	struct vm *vm = NULL;

	(void)vm_new(&vm, session->driver.batch->script_counters, options->script, options->argc,
		     options->argv, options->is_sandboxed);
	return vm;
}

/* Ends old, and starts vm with what it leaves. */
static bool change(struct session *session, struct vm *vm, struct vm *old)
{
	/* What is to go may go wrong. */
	(void)vm_stop(old);
	return vm_carry(vm, old) && vm_start(vm, &session->driver) == VM_OK;
}

bool reload(struct session *session)
{
	struct vm *old = session->vm;
	struct vm *vm = load(session);

	if (!vm) {
		tell_failure(session);
		return false;
	}
	signals_on_overtime(NULL, NULL);
	if (change(session, vm, old)) {
		session->vm = vm;
	} else {
		tell_failure(session);
		/* Where that fails too, it goes on as it is. */
		(void)vm_start(old, &session->driver);
		old = vm;
	}
	vm_free(old);
	signals_on_overtime(vm_overtime, session->vm);
	return session->vm == vm;
}
