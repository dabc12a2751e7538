#include "engine.h"
#include "signals.h"

#include <errno.h>

/* The Lua state is broken: what it has not judged is an error, and the rest is for another one. */
static int give_up(struct ipq_driver *driver, int error)
{
	ipq_batch_fail_rest(driver->batch);
	driver->source->commit(driver->source, driver->batch);
	ipq_batch_tally(driver->batch);
	ipq_batch_clear(driver->batch);
	return error;
}

int engine_run(struct ipq_driver *driver, struct vm *vm)
{
	int ret;

	for (;;) {
		ret = vm_run(vm);
		if (ret == -ENOTRECOVERABLE)
			return give_up(driver, ret);
		if (ret != -EINTR)
			return ret;
		if (!driver->interrupt)
			continue;
		/* To stop: the source ends by itself from here on, when what waits is judged. */
		signals_interrupt_end();
		driver->interrupt = 0;
		ret = driver->source->stop(driver->source);
		if (ret < 0)
			return ret;
	}
}
