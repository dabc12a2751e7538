/* Timers by their times, in a binary heap. */
#include "core_calls.h"

static bool is_before(const struct ipq_due *a, const struct ipq_due *b)
{
	return a->due < b->due || (a->due == b->due && a->number < b->number);
}

static void put(struct ipq_heap *heap, uint32_t index, struct ipq_due due)
{
	heap->dues[index] = due;
	heap->places[due.slot] = index + 1;
}

static void sift_up(struct ipq_heap *heap, uint32_t index, struct ipq_due due)
{
	while (index > 0 && is_before(&due, &heap->dues[(index - 1) / 2])) {
		put(heap, index, heap->dues[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	put(heap, index, due);
}

/* The hole at index goes down to a leaf, and up again with what is put there: what comes from the end
 * of the heap mostly belongs near it, so that half of the comparisons are spared. */
static void fill(struct ipq_heap *heap, uint32_t index, struct ipq_due due)
{
	uint32_t child;

	while ((child = 2 * index + 1) < heap->count) {
		if (child + 1 < heap->count)
			child += is_before(&heap->dues[child + 1], &heap->dues[child]);
		put(heap, index, heap->dues[child]);
		index = child;
	}
	sift_up(heap, index, due);
}

void ipq_heap_add(struct ipq_heap *heap, uint32_t slot, double due, double number)
{
	struct ipq_due added = {.due = due, .number = number, .slot = slot};

	sift_up(heap, heap->count++, added);
}

void ipq_heap_remove(struct ipq_heap *heap, uint32_t slot)
{
	uint32_t place = heap->places[slot];
	struct ipq_due last;

	if (!place)
		return;
	heap->places[slot] = 0;
	last = heap->dues[--heap->count];
	if (place - 1 < heap->count)
		fill(heap, place - 1, last);
}
