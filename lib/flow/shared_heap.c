/* The heap of a set: values and keys that are text. What is in use is what the set's entries refer to, so that there
 * is nothing beside them to keep right: an entry that goes has freed its text. */
#include "shared_layout.h"

#include <errno.h>

enum {
	WORD = 8,
	SIZE_FIRST = 256, /* bytes */
	OVERHEAD = sizeof(struct heap)
};

/* From a word on, so many words. */
struct extent {
	uint32_t begin, count;
};

static uint32_t words_of(uint32_t len)
{
	return (len + WORD - 1) / WORD;
}

/* How large a heap may be: twice what 16 of the largest texts and of their keys take, for the gaps between them. */
static uint32_t size_most(uint32_t value)
{
	return 2 * WAYS * (value + IPQ_SHARED_KEY_MAX + 1);
}

static struct heap *heap_of(const struct ipq_shared *shared, uint32_t place, uint32_t *size)
{
	struct heap *heap = place ? ipq_region_at(shared, place, 1) : NULL;

	/* Whole lines: what is behind the last one may be behind the region. */
	*size = heap ? LOAD(heap->size) / LINE * LINE : 0;
	if (*size < LINE || !ipq_region_at(shared, place, *size / LINE))
		return NULL;
	return heap;
}

uint8_t *ipq_shared_heap_at(const struct ipq_shared *shared, const struct set *set, uint32_t place,
			    uint32_t len)
{
	uint32_t size, at = place * WORD;
	struct heap *heap = heap_of(shared, LOAD(set->heap), &size);

	if (!heap || at < OVERHEAD || at > size || len > size - at)
		return NULL;
	return (uint8_t *)heap + at;
}

static int extents_add(struct extent *extents, int count, uint32_t place, uint32_t len)
{
	int i = count;

	for (; i > 0 && extents[i - 1].begin > place; i--)
		extents[i] = extents[i - 1];
	extents[i] = (struct extent){place, words_of(len)};
	return count + 1;
}

/* What is in use, in the order of places. */
static int extents_of(const struct set *set, struct extent extents[2 * WAYS])
{
	int count = 0;

	for (int i = 0; i < WAYS; i++) {
		const struct entry *entry = &set->entries[i];
		uint64_t value = entry->value;

		if (!set->tags[i])
			continue;
		if (kind_is_long(set->kinds[i])) {
			struct long_key key = long_key_of(entry);

			count = extents_add(extents, count, key.place, key.len);
		}
		if (!(set->kinds[i] & BUCKET) && value_is_text(value))
			count = extents_add(extents, count, value_place(value), value_len(value));
	}
	return count;
}

/* So many words that are in no extent: where the first of them are, or 0. */
static uint32_t gap_find(const struct set *set, uint32_t size, uint32_t words)
{
	struct extent extents[2 * WAYS];
	int count = extents_of(set, extents);
	uint64_t at = words_of(OVERHEAD);

	for (int i = 0; i < count; i++) {
		if (extents[i].begin >= at + words)
			break;
		if ((uint64_t)extents[i].begin + extents[i].count > at)
			at = (uint64_t)extents[i].begin + extents[i].count;
	}
	return at + words <= size / WORD ? (uint32_t)at : 0;
}

static uint32_t heap_make(struct ipq_shared *shared, const struct heap *from, uint32_t from_size,
			  uint32_t size)
{
	uint32_t place = ipq_region_take(shared, size / LINE);
	struct heap *heap = place ? ipq_region_at(shared, place, size / LINE) : NULL;

	if (!heap)
		return 0;
	if (from)
		memcpy(heap->bytes, from->bytes, from_size - OVERHEAD);
	STORE(heap->size, size);
	return place;
}

/* The smallest size above that one in which so many words have room: 0, there is none. */
static uint32_t size_above(const struct ipq_shared_table *table, const struct set *set,
			   uint32_t size, uint32_t words)
{
	uint32_t most = size_most(LOAD(table->entry->value) % (IPQ_SHARED_VALUE_MAX + 1));

	while (size < most) {
		size = size ? size * 2 : SIZE_FIRST;
		if (gap_find(set, size, words))
			return size;
	}
	return 0;
}

uint32_t ipq_shared_heap_reserve(struct ipq_shared_table *table, struct set *set, uint32_t len)
{
	uint32_t words = words_of(len ? len : 1), size, larger, place, at;
	struct heap *heap = heap_of(table->shared, set->heap, &size);

	at = heap ? gap_find(set, size, words) : 0;
	if (at)
		return at;
	larger = size_above(table, set, heap ? size : 0, words);
	place = larger ? heap_make(table->shared, heap, size, larger) : 0;
	if (!place)
		return 0;
	RELEASE(set->heap, place);
	return gap_find(set, larger, words);
}

int ipq_shared_heap_copy(struct ipq_shared *shared, const struct set *set, uint32_t *copy)
{
	uint32_t size;
	struct heap *heap = heap_of(shared, LOAD(set->heap), &size);

	*copy = heap ? heap_make(shared, heap, size, size) : 0;
	return heap && !*copy ? -ENOSPC : 0;
}
