/* A batch: packets and the memory they lie in. */
#include "ipq.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static size_t slots_bytes(const struct ipq_batch *batch)
{
	return (size_t)batch->capacity * batch->slot_size;
}

static size_t spares_bytes(const struct ipq_batch *batch)
{
	return (size_t)batch->capacity * IPQ_PACKET_MAX;
}

int ipq_batch_new(struct ipq_batch **batch, uint32_t capacity, uint32_t slot_size)
{
	struct ipq_batch *b;
	void *slots;

	if (capacity < 1 || capacity > IPQ_BATCH_MAX || slot_size < 1)
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->packets = calloc(capacity, sizeof(*b->packets));
	if (!b->packets)
		goto cleanup;
	b->capacity = capacity;
	b->slot_size = slot_size;
	/* Pages that no packet ever reaches stay unbacked: large slots and spares cost address
	 * space only. */
	slots = mmap(NULL, slots_bytes(b) + spares_bytes(b), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (slots == MAP_FAILED)
		goto cleanup;
	b->slots = slots;
	b->spares = b->slots + slots_bytes(b);
	for (uint32_t i = 0; i < capacity; i++)
		b->packets[i].spare = b->spares + (size_t)i * IPQ_PACKET_MAX;
	b->default_verdict = IPQ_ACCEPT;
	b->error_verdict = IPQ_DROP;
	*batch = b;
	return 0;

cleanup:
	ipq_batch_free(b);
	return -ENOMEM;
}

void ipq_batch_free(struct ipq_batch *batch)
{
	if (!batch)
		return;
	if (batch->slots)
		munmap(batch->slots, slots_bytes(batch) + spares_bytes(batch));
	free(batch->packets);
	free(batch);
}

void ipq_batch_clear(struct ipq_batch *batch)
{
	batch->count = 0;
	batch->current = 0;
}

struct ipq_packet *ipq_batch_add(struct ipq_batch *batch)
{
	struct ipq_packet *packet = &batch->packets[batch->count++];

	packet->verdict = batch->default_verdict;
	packet->set = 0;
	packet->parsed = 0;
	packet->dirty = 0;
	packet->as_is = 0;
	return packet;
}

void ipq_batch_drop_last(struct ipq_batch *batch)
{
	batch->count--;
}

void ipq_batch_fail_rest(struct ipq_batch *batch)
{
	for (; batch->current < batch->count; batch->current++) {
		struct ipq_packet *packet = &batch->packets[batch->current];

		packet->verdict = batch->error_verdict;
		packet->set = 0;
		batch->counters.errors++;
	}
}

void ipq_batch_tally(struct ipq_batch *batch)
{
	struct ipq_counters *counters = &batch->counters;

	counters->batches++;
	counters->packets += batch->count;
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct ipq_packet *packet = &batch->packets[i];

		counters->bytes += packet->data_len;
		counters->marked += (packet->set & IPQ_SET_MARK) != 0;
		switch (packet->verdict & IPQ_VERDICT_MASK) {
		case IPQ_ACCEPT: counters->accepted++; break;
		case IPQ_DROP: counters->dropped++; break;
		case IPQ_QUEUE: counters->queued++; break;
		case IPQ_REPEAT: counters->repeated++; break;
		case IPQ_STOP: counters->stopped++; break;
		default: break;
		}
	}
}
