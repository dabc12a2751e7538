#include "reload.h"
#include "host/base/log.h"

static void tell_failure(const struct session *session)
{
	log_write(LOG_LEVEL_ERROR, "%s was not reloaded: the one that runs goes on",
		  session->options->script);
}

/* What takes too long is interrupted, whoever it is. */
static struct vm *load(struct session *session)
{
	const struct options *options = session->options;
	struct vm *vm = vm_new(options->is_sandboxed);

	if (!vm)
		return NULL;
	signals_on_overtime(vm_overtime, vm);
	if (vm_load(vm, session->driver.batch->script_counters, options->script, options->argc,
		    options->argv) == VM_OK)
		return vm;
	signals_on_overtime(vm_overtime, session->vm);
	vm_free(vm);
	return NULL;
}

/* Ends old, and starts vm with what it leaves. */
static bool change(struct session *session, struct vm *vm, struct vm *old)
{
	/* What is to go may go wrong. */
	signals_on_overtime(vm_overtime, old);
	(void)vm_stop(old);
	signals_on_overtime(vm_overtime, vm);
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
	if (change(session, vm, old)) {
		session->vm = vm;
	} else {
		tell_failure(session);
		signals_on_overtime(vm_overtime, old);
		/* Where that fails too, it goes on as it is. */
		(void)vm_start(old, &session->driver);
		old = vm;
	}
	vm_free(old);
	return session->vm == vm;
}
