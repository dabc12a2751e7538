#include "engine.h"
#include "signals.h"

#include <errno.h>

static int judge(struct ipq_source *source, struct ipq_batch *batch, struct vm *vm)
{
	int ret;

	if (!vm_judge(vm))
		ipq_batch_fail_rest(batch);
	ret = source->commit(source, batch);
	ipq_batch_tally(batch);
	return ret;
}

int engine_run(struct ipq_source *source, struct ipq_batch *batch, struct vm *vm)
{
	bool stopped = false;
	int ret;

	for (;;) {
		ret = source->receive(source, batch);
		if (ret > 0)
			ret = judge(source, batch, vm);
		else if (ret == 0)
			return 0;
		if (ret < 0 && ret != -EINTR && ret != -EAGAIN)
			return ret;
		if (signals_stopping() && !stopped) {
			stopped = true;
			ret = source->stop(source);
			if (ret < 0)
				return ret;
		}
	}
}
