/* What the filter loop calls when it has judged a batch. */
#include "ipq.h"

#include <errno.h>

int ipq_driver_next(struct ipq_driver *driver)
{
	struct ipq_batch *batch = driver->batch;
	int ret;

	if (batch->count) {
		ret = driver->source->commit(driver->source, batch);
		ipq_batch_tally(batch);
		ipq_batch_clear(batch);
		if (ret < 0)
			return ret;
	}
	do {
		if (driver->interrupt)
			return -EINTR;
		ret = driver->source->receive(driver->source, batch);
	} while (ret == -EAGAIN);
	return ret;
}
