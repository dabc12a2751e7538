/* A set of a shared table: finding, locking, splitting. */
#include "shared_layout.h"

#include <endian.h>
#include <errno.h>

enum { TRIES = 64 };

static const int64_t wait_ns = 100000;

static inline struct set *set_at(const struct ipq_shared_table *table, uint32_t slot)
{
	uint32_t place = ACQUIRE(table->index[slot]);

	return ipq_region_at(table->shared, place ? place : table->first, SET_LINES);
}

static inline uint32_t mask_of(uint32_t depth)
{
	return ((uint32_t)1 << depth) - 1;
}

static inline uint32_t slot_of(const struct ipq_shared_table *table, uint64_t hash)
{
	return (uint32_t)hash & LOAD(table->entry->mask) & mask_of(table->depth);
}

struct set *ipq_set_of(const struct ipq_shared_table *table, uint64_t hash)
{
	return set_at(table, slot_of(table, hash));
}

uint32_t ipq_set_slots(const struct ipq_shared_table *table)
{
	return (LOAD(table->entry->mask) & mask_of(table->depth)) + 1;
}

struct set *ipq_set_in_slot(const struct ipq_shared_table *table, uint32_t slot)
{
	struct set *set = set_at(table, slot);
	uint32_t depth = set ? LOAD(set->depth) : 0;

	if (!set || depth > table->depth || slot != (slot & mask_of(depth)))
		return NULL;
	return set;
}

/* Whether the entry's key is the one that is sought: 1, 0, or -EBADMSG. */
static inline int entry_is(const struct ipq_shared *shared, const struct set *set, int way,
			   const struct sought *sought)
{
	const struct entry *entry = &set->entries[way];
	uint64_t words[2];
	const uint8_t *text;
	struct long_key key;

	if (set->kinds[way] != sought->kind)
		return 0;
	memcpy(words, entry->key, sizeof(words));
	if (!kind_is_long(sought->kind))
		return words[0] == sought->words[0] && words[1] == sought->words[1];
	key = long_key_of(entry);
	if (key.hash != sought->hash || key.len != sought->len)
		return 0;
	text = ipq_shared_heap_at(shared, set, key.place, key.len);
	if (!text)
		return -EBADMSG;
	return memcmp(text, sought->text, sought->len) == 0;
}

/* A bit for each of the 8 tags that is that one, and perhaps for others above one that is. */
static inline uint32_t tags_match(const uint8_t *tags, uint8_t tag)
{
	const uint64_t ones = 0x0101010101010101, gather = 0x0102040810204080;
	uint64_t word;

	memcpy(&word, tags, sizeof(word));
	word = le64toh(word) ^ (ones * tag);
	word = (word - ones) & ~word & (ones << 7);
	return (uint32_t)((word >> 7) * gather >> 56);
}

int ipq_set_find(const struct ipq_shared *shared, const struct set *set,
		 const struct sought *sought)
{
	uint32_t match = tags_match(set->tags, sought->tag) | tags_match(set->tags + 8, sought->tag)
								      << 8;

	for (; match; match &= match - 1) {
		int way = __builtin_ctz(match), ret;

		if (set->tags[way] != sought->tag)
			continue;
		ret = entry_is(shared, set, way, sought);
		if (ret)
			return ret < 0 ? ret : way;
	}
	return -ENOENT;
}

/* Locks */

int ipq_set_lock_it(struct ipq_shared_table *table, struct set *set)
{
	uint64_t place = (uint64_t)table->number << 32 | ipq_region_place(table->shared, set);
	int ret = ipq_lock_take(table->shared, &set->lock, place, wait_ns);

	if (ret == 0 && (LOAD(set->sequence) & 1 || LOAD(set->split)))
		ipq_set_mend(table, set);
	return ret;
}

int ipq_set_lock(struct ipq_shared_table *table, uint64_t hash, struct set **set)
{
	for (int i = 0; i < TRIES; i++) {
		int ret;

		*set = ipq_set_of(table, hash);
		if (!*set) {
			/* Its keys are lost; the first set takes new ones. */
			STORE(table->index[slot_of(table, hash)], 0);
			__atomic_fetch_add(&table->shared->region->damaged, 1, __ATOMIC_RELAXED);
			return -EBADMSG;
		}
		ret = ipq_set_lock_it(table, *set);
		if (ret < 0)
			return ret;
		if (*set == ipq_set_of(table, hash))
			return 0;
		ipq_set_unlock(*set);
	}
	return -EBUSY;
}

void ipq_set_unlock(struct set *set)
{
	ipq_lock_leave(&set->lock);
}

void ipq_set_begin(struct set *set)
{
	STORE(set->sequence, LOAD(set->sequence) | 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

void ipq_set_end(struct set *set)
{
	RELEASE(set->sequence, (LOAD(set->sequence) | 1) + 1);
}

/* Splitting */

/* From target, prefix, split and moved, which stay until all is done: any number of times does the same. */
static void split_finish(struct ipq_shared_table *table, struct set *set)
{
	uint32_t own = ipq_region_place(table->shared, set), new = LOAD(set->split),
		 target = set->target;

	if (ipq_region_at(table->shared, new, SET_LINES) && target > 0 && target <= table->depth) {
		uint32_t step = (uint32_t)1 << target, half = step / 2;
		uint32_t slot = (LOAD(set->prefix) & (half - 1)) | half;

		/* Before the index: who has looked with fewer bits looks again. */
		__atomic_fetch_or(&table->entry->mask, mask_of(target), __ATOMIC_RELEASE);
		for (; slot <= mask_of(table->depth); slot += step) {
			uint32_t place = LOAD(table->index[slot]);

			if (place == own || (place == 0 && own == table->first))
				RELEASE(table->index[slot], new);
		}
		for (int i = 0; i < WAYS; i++)
			if (set->moved >> i & 1)
				STORE(set->tags[i], 0);
		STORE(set->depth, (uint8_t)target);
	}
	RELEASE(set->split, 0);
}

void ipq_set_mend(struct ipq_shared_table *table, struct set *set)
{
	if (LOAD(set->split)) {
		ipq_set_begin(set);
		split_finish(table, set);
	}
	if (LOAD(set->sequence) & 1)
		ipq_set_end(set);
}

/* Makes the new set, of those entries whose hash has that bit. */
static uint16_t split_copy(struct ipq_shared_table *table, const struct set *set, struct set *new,
			   uint32_t heap)
{
	uint32_t bit = (uint32_t)1 << set->depth;
	uint16_t moved = 0;

	memcpy(new, set, sizeof(*new));
	new->lock = new->sequence = new->split = 0;
	new->moved = 0;
	new->heap = heap;
	new->prefix = (set->prefix & (bit - 1)) | bit;
	new->depth++;
	for (int i = 0; i < WAYS; i++) {
		if (set->tags[i] &&
		    ipq_sought_hash(table->shared, &set->entries[i], set->kinds[i]) & bit)
			moved |= (uint16_t)(1 << i);
		else
			new->tags[i] = 0;
	}
	return moved;
}

/* Splits the set, which is locked. False: it may not be split, or there is no memory. */
static bool set_split(struct ipq_shared_table *table, struct set *set)
{
	uint32_t heap, place;

	if (set->depth >= table->depth || LOAD(table->entry->sets) >= LOAD(table->entry->limit))
		return false;
	place = ipq_region_take(table->shared, SET_LINES);
	if (!place || ipq_shared_heap_copy(table->shared, set, &heap) < 0)
		return false;
	__atomic_fetch_add(&table->entry->sets, 1, __ATOMIC_RELAXED);
	set->moved = split_copy(table, set, ipq_region_at(table->shared, place, SET_LINES), heap);
	set->target = (uint8_t)(set->depth + 1);
	ipq_set_begin(set);
	RELEASE(set->split, place);
	split_finish(table, set);
	ipq_set_end(set);
	return true;
}

/* Places */

static int way_oldest(const struct set *set)
{
	return (int)(LOAD(set->order) >> 60);
}

int ipq_set_place(struct ipq_shared_table *table, struct set *set, int64_t now)
{
	for (int i = 0; i < WAYS; i++)
		if (!set->tags[i])
			return i;
	for (int i = 0; i < WAYS; i++)
		if (!entry_is_live(&set->entries[i], set->kinds[i], &now))
			return i;
	if (!set_split(table, set))
		return way_oldest(set);
	ipq_set_unlock(set);
	return -EAGAIN;
}

static bool has_text(const struct set *set, int way)
{
	if (!set->tags[way])
		return false;
	return kind_is_long(set->kinds[way]) ||
	       (!(set->kinds[way] & BUCKET) && value_is_text(set->entries[way].value));
}

bool ipq_set_forget_text(struct set *set, int but)
{
	for (int shift = 60; shift >= 0; shift -= 4) {
		int way = (int)(LOAD(set->order) >> shift & 0xf);

		if (way != but && has_text(set, way)) {
			STORE(set->tags[way], 0);
			return true;
		}
	}
	return false;
}

void ipq_set_empty(struct ipq_shared_table *table, struct set *set)
{
	ipq_set_begin(set);
	memset(set->tags, 0, sizeof(set->tags));
	STORE(set->heap, 0);
	ipq_set_end(set);
	__atomic_fetch_add(&table->shared->region->damaged, 1, __ATOMIC_RELAXED);
}
