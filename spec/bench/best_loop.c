/* The best C loop on this project's lib: best_loop QUEUE [TTL]. It accepts everything, with that TTL
 * where one is given. */
#include "lib/packet/packet.h"
#include "lib/queue/queue.h"

#include <errno.h>
#include <stdlib.h>

static void judge(struct ipq_batch *batch, const uint8_t *ttl)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct ipq_packet *packet = &batch->packets[i];

		packet->verdict = IPQ_ACCEPT;
		if (!ttl)
			continue;
		ipq_header_parse(packet);
		if (packet->ip_version == 4 &&
		    ipq_rewrite_store(packet, packet->l3 + 8U, ttl, 1) == IPQ_REWRITE_OK &&
		    ipq_rewrite_finish(packet) < 0)
			packet->set = 0;
	}
}

int main(int argc, char **argv)
{
	uint8_t ttl = (uint8_t)(argc > 2 ? atoi(argv[2]) : 0);

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
		judge(batch, argc > 2 ? &ttl : NULL);
		if (ret > 0 && source->commit(source, batch) < 0)
			return 1;
	}
}
