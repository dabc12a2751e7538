/* The best C loop on this project's lib, accepting everything: best_loop QUEUE */
#include "lib/queue/queue.h"

#include <errno.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct ipq_queue_options options;
	struct ipq_source *source;
	struct ipq_queue *queue;
	struct ipq_batch *batch;
	int ret;

	ipq_queue_defaults(&options);
	options.flags &= ~(uint32_t)IPQ_QUEUE_GSO;
	options.queue_num = (uint16_t)(argc > 1 ? atoi(argv[1]) : 0);
	if (ipq_batch_new(&batch, IPQ_BATCH_MAX, ipq_queue_slot_size(&options)) < 0 ||
	    ipq_queue_open(&queue, &options) < 0)
		return 1;
	source = ipq_queue_source(queue);
	for (;;) {
		ret = source->receive(source, batch);
		if (ret < 0 && ret != -EAGAIN && ret != -EINTR)
			return 1;
		for (uint32_t i = 0; i < batch->count; i++)
			batch->packets[i].verdict = IPQ_ACCEPT;
		if (ret > 0 && source->commit(source, batch) < 0)
			return 1;
	}
}
