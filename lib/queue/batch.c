/* A batch: packets and the memory they lie in. */
#include "batch.h"

#include <errno.h>
#include <unistd.h>
#include <sys/mman.h>

enum {
	CACHE_LINE = 64,
	PAGE = 4096,
	HELD_DEFAULT = 512 /* half of what ipq_queue_defaults() lets wait */
};

#define ALIGNED(size, to) (((size) + (to)-1) / (to) * (to))

/* One mapping: the batch, its packets, the held ones' ids, what is counted, and from the next page
 * on slots and spares. */
struct layout {
	size_t packets, held, filter, script, inherited, slots, spares, end; /* offsets */
};

static struct layout layout_of(uint32_t capacity, uint32_t slot_size)
{
	struct layout at = {.packets = ALIGNED(sizeof(struct ipq_batch), CACHE_LINE)};

	at.held = ALIGNED(at.packets + capacity * sizeof(struct ipq_packet), CACHE_LINE);
	at.filter = ALIGNED(at.held + IPQ_HELD_MAX * sizeof(uint64_t), CACHE_LINE);
	at.script = ALIGNED(at.filter + sizeof(struct ipq_histogram), CACHE_LINE);
	at.inherited = at.script + IPQ_SCRIPT_COUNTERS_MAX * sizeof(struct ipq_counter);
	at.slots =
		ALIGNED(at.inherited + IPQ_SCRIPT_COUNTERS_MAX * sizeof(struct ipq_counter), PAGE);
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
		.held = (uint64_t *)(base + at.held),
		.held_limit = HELD_DEFAULT,
		.filter_ns = (struct ipq_histogram *)(base + at.filter),
		.script_counters = (struct ipq_counter *)(base + at.script),
		.inherited = (struct ipq_counter *)(base + at.inherited),
	};
	for (uint32_t i = 0; i < capacity; i++)
		b->packets[i].spare = b->spares + (size_t)i * IPQ_PACKET_MAX;
	*batch = b;
	return 0;
}

bool ipq_batch_holds(const struct ipq_batch *batch, const uint8_t *bytes, uint32_t len)
{
	uintptr_t start = (uintptr_t)batch->slots;
	uintptr_t size =
		(uintptr_t)batch->spares + (size_t)batch->capacity * IPQ_PACKET_MAX - start;
	uintptr_t offset = (uintptr_t)bytes - start;

	return offset <= size && len <= size - offset;
}

size_t ipq_resident(const void *memory, size_t size)
{
	unsigned char pages[256] = {0};
	size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;

	for (size_t at = 0; at < size; at += sizeof(pages) * page) {
		size_t len = size - at < sizeof(pages) * page ? size - at : sizeof(pages) * page;

		if (mincore((uint8_t *)memory + at, len, pages) < 0)
			return 0;
		for (size_t i = 0; i < (len + page - 1) / page; i++)
			count += pages[i] & 1;
	}
	return count * page;
}

size_t ipq_batch_resident(const struct ipq_batch *batch, const struct ipq_batch *made)
{
	return ipq_resident(batch, layout_of(made->capacity, made->slot_size).end);
}

void ipq_batch_unmap(struct ipq_batch *batch, const struct ipq_batch *made)
{
	if (batch)
		munmap(batch, layout_of(made->capacity, made->slot_size).end);
}

void ipq_batch_free(struct ipq_batch *batch)
{
	ipq_batch_unmap(batch, batch);
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
	packet->fix = 1;
	packet->held = 0;
	packet->decided = 0;
	packet->reject = (uint8_t)batch->default_reject;
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

		ipq_batch_release(batch, packet);
		packet->verdict = batch->error_verdict;
		packet->reject = IPQ_REJECT_NOT; /* nobody is there to tell */
		packet->set = 0;
		batch->counters.errors++;
	}
}

static void count_verdict(struct ipq_counters *counters, uint32_t verdict)
{
	switch (verdict & IPQ_VERDICT_MASK) {
	case IPQ_ACCEPT: counters->accepted++; break;
	case IPQ_DROP: counters->dropped++; break;
	case IPQ_QUEUE: counters->queued++; break;
	case IPQ_REPEAT: counters->repeated++; break;
	case IPQ_STOP: counters->stopped++; break;
	default: break;
	}
}

void ipq_counters_count(struct ipq_counters *counters, const struct ipq_packet *packet)
{
	counters->packets++;
	counters->bytes += packet->data_len;
	counters->marked += (packet->set & IPQ_SET_MARK) != 0;
	counters->oversized += (packet->set & IPQ_SET_OVERSIZED) != 0;
	count_verdict(counters, packet->verdict);
}

void ipq_counters_add(struct ipq_counters *to, const struct ipq_counters *from)
{
	to->batches += from->batches;
	to->packets += from->packets;
	to->bytes += from->bytes;
	to->accepted += from->accepted;
	to->dropped += from->dropped;
	to->queued += from->queued;
	to->repeated += from->repeated;
	to->stopped += from->stopped;
	to->marked += from->marked;
	to->errors += from->errors;
	to->oversized += from->oversized;
	to->settled += from->settled;
	to->malformed += from->malformed;
	to->refused += from->refused;
	to->overruns += from->overruns;
	to->rejected += from->rejected;
	to->sent += from->sent;
	to->own += from->own;
	for (uint32_t i = 0; i < IPQ_UNSENT_REASONS; i++)
		to->unsent[i] += from->unsent[i];
	for (uint32_t i = 0; i < IPQ_STREAMS_COUNTS; i++)
		to->streams[i] += from->streams[i];
	if (from->refused)
		to->last_refusal = from->last_refusal;
}

void ipq_batch_tally(struct ipq_batch *batch)
{
	struct ipq_counters *counters = &batch->counters;
	uint64_t packets = batch->count, bytes = 0, marked = 0, oversized = 0;

	for (uint32_t i = 0; i < batch->count; i++) {
		const struct ipq_packet *packet = &batch->packets[i];

		if (packet->held) {
			packets--;
			continue;
		}
		bytes += packet->data_len;
		marked += (packet->set & IPQ_SET_MARK) != 0;
		oversized += (packet->set & IPQ_SET_OVERSIZED) != 0;
		count_verdict(counters, packet->verdict);
	}
	counters->batches++;
	counters->packets += packets;
	counters->bytes += bytes;
	counters->marked += marked;
	counters->oversized += oversized;
}

void ipq_batch_limit_held(struct ipq_batch *batch, uint32_t maxlen)
{
	batch->held_limit = maxlen / 2 < IPQ_HELD_MAX ? maxlen / 2 : IPQ_HELD_MAX;
}

/* Where entry is in the table, or the first free place (entry 0). It is looked for where the id
 * points to: ids ascend, so that as long as few are held it is there. NULL where it is nowhere. */
static uint64_t *held_find(const struct ipq_batch *batch, uint32_t packet_id, uint64_t entry)
{
	for (uint32_t i = 0; i < IPQ_HELD_MAX; i++) {
		uint64_t *place = &batch->held[(packet_id + i) % IPQ_HELD_MAX];

		if (*place == entry)
			return place;
	}
	return NULL;
}

int ipq_batch_hold(struct ipq_batch *batch, struct ipq_packet *packet)
{
	uint64_t *place = NULL;

	if (batch->held_count < batch->held_limit)
		place = held_find(batch, packet->packet_id, 0);
	if (!place)
		return -ENOSPC;
	*place = (uint64_t)packet->packet_id + 1;
	batch->held_count++;
	packet->held = 1;
	return 0;
}

void ipq_batch_forget(struct ipq_batch *batch, uint32_t packet_id)
{
	uint64_t *place = held_find(batch, packet_id, (uint64_t)packet_id + 1);

	if (!place)
		return;
	*place = 0;
	batch->held_count--;
}

void ipq_batch_release(struct ipq_batch *batch, struct ipq_packet *packet)
{
	if (packet->held)
		ipq_batch_forget(batch, packet->packet_id);
	packet->held = 0;
}
