/* A batch: packets and the memory they lie in. */
#include "ipq.h"

#include <errno.h>
#include <sys/mman.h>

enum { CACHE_LINE = 64, PAGE = 4096 };

#define ALIGNED(size, to) (((size) + (to)-1) / (to) * (to))

/* One mapping: the batch, its packets, and from the next page on slots and spares. */
struct layout {
	size_t packets, slots, spares, end; /* offsets */
};

static struct layout layout_of(uint32_t capacity, uint32_t slot_size)
{
	struct layout at = {.packets = ALIGNED(sizeof(struct ipq_batch), CACHE_LINE)};

	at.slots = ALIGNED(at.packets + capacity * sizeof(struct ipq_packet), PAGE);
	at.spares = at.slots + (size_t)capacity * slot_size;
	at.end = at.spares + (size_t)capacity * IPQ_PACKET_MAX;
	return at;
}

int ipq_batch_new(struct ipq_batch **batch, uint32_t capacity, uint32_t slot_size)
{
	struct layout at = layout_of(capacity, slot_size);
	struct ipq_batch *b;
	uint8_t *base;

	if (capacity < 1 || capacity > IPQ_BATCH_MAX || slot_size < 1)
		return -EINVAL;
	/* Pages that no packet ever reaches stay unbacked: large slots and spares cost address
	 * space only. */
	base = mmap(NULL, at.end, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return -ENOMEM;
	b = (struct ipq_batch *)base;
	*b = (struct ipq_batch){
		.packets = (struct ipq_packet *)(base + at.packets),
		.capacity = capacity,
		.slot_size = slot_size,
		.default_verdict = IPQ_ACCEPT,
		.error_verdict = IPQ_DROP,
		.slots = base + at.slots,
		.spares = base + at.spares,
	};
	for (uint32_t i = 0; i < capacity; i++)
		b->packets[i].spare = b->spares + (size_t)i * IPQ_PACKET_MAX;
	*batch = b;
	return 0;
}

void ipq_batch_repair(struct ipq_batch *batch, const struct ipq_batch *made)
{
	batch->packets = made->packets;
	batch->slots = made->slots;
	batch->spares = made->spares;
	batch->capacity = made->capacity;
	batch->slot_size = made->slot_size;
	batch->default_verdict = made->default_verdict;
	batch->error_verdict = made->error_verdict;
	if (batch->count > batch->capacity)
		batch->count = batch->capacity;
	if (batch->current > batch->count)
		batch->current = batch->count;
	for (uint32_t i = 0; i < batch->capacity; i++)
		batch->packets[i].spare = batch->spares + (size_t)i * IPQ_PACKET_MAX;
}

bool ipq_batch_holds(const struct ipq_batch *batch, const uint8_t *bytes, uint32_t len)
{
	uintptr_t start = (uintptr_t)batch->slots;
	uintptr_t size =
		(uintptr_t)batch->spares + (size_t)batch->capacity * IPQ_PACKET_MAX - start;
	uintptr_t offset = (uintptr_t)bytes - start;

	return offset <= size && len <= size - offset;
}

void ipq_batch_free(struct ipq_batch *batch)
{
	if (batch)
		munmap(batch, layout_of(batch->capacity, batch->slot_size).end);
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
