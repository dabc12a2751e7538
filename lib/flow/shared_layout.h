/* Shared tables, for the files of this room: what stands in a region, and what a process knows of it. */
#ifndef IPQ_FLOW_LAYOUT_H
#define IPQ_FLOW_LAYOUT_H

#include "shared.h"
#include "lib/clock.h"

#include <string.h>

enum {
	LINE = 64, /* bytes of a cache line; places in a region are counted in them */
	WAYS = 16,
	BUCKET_UNITS = 8, /* of a bucket's time in a nanosecond */
	BUCKET = 0x80,	  /* beside a key's kind: it is a bucket's */
	LONG_TEXT = 7,	  /* a key's kind: text that is in the heap */
	SHORT_TEXT = 16	  /* and its length: text that is in the entry */
};

/* One key and its value. */
struct entry {
	/* The key's bytes; of LONG_TEXT its hash (8 bytes), its place in the heap (4), its length (4). */
	uint8_t key[16];
	/* A number, or what no number is: see value_* below. Of a bucket the time at which it is full, in
	 * eighths of a nanosecond. */
	uint64_t value;
	int64_t expiry; /* nanoseconds; 0: never */
};

/* The first 64 bytes of a set are all that a miss reads. */
struct set {
	uint32_t lock;	    /* 0, or its owner's number + 1; with LOCK_WAITERS */
	uint32_t sequence;  /* odd: it is being changed */
	uint8_t tags[WAYS]; /* of the hash; 0: there is no entry */
	uint8_t kinds[WAYS];
	uint64_t order; /* the numbers of the entries, 4 bits each, the one used last lowest */
	/* A split that is not complete: the new set's place, how many bits of the hash tell both apart from
	 * others then, and the entries that are in the new one. 0: there is none. */
	uint32_t split;
	uint32_t prefix; /* the lowest bits of the hashes that are here */
	uint32_t heap;	 /* its place; 0: there is none */
	uint16_t moved;
	uint8_t depth;	/* how many bits of prefix count */
	uint8_t target; /* depth, when the split is complete */
	struct entry entries[WAYS];
};

enum { SET_LINES = sizeof(struct set) / LINE };

_Static_assert(offsetof(struct set, entries) == LINE && sizeof(struct set) % LINE == 0,
	       "the head of a set is a cache line");

struct heap {
	uint32_t size; /* bytes, with these */
	uint32_t unused;
	uint8_t bytes[];
};

/* A table of the directory. */
struct table {
	char name[IPQ_SHARED_NAME_MAX +
		  1];	/* empty: there is none. Its first byte is written last. */
	uint32_t index; /* its place: 1 << depth places of sets, 0: the first */
	uint32_t depth;
	uint32_t first; /* the place of the first set */
	uint32_t limit; /* sets that it may have */
	uint32_t sets;	/* that it has */
	uint32_t value; /* bytes of a text */
	uint32_t mask;	/* of the places in the index: the others repeat these */
	uint32_t unused[9];
};

/* What a process is about to lock: the number of the table, and the set's place; or NOTE_DIRECTORY. */
struct note {
	uint64_t place;
	uint64_t unused[7];
};

#define NOTE_DIRECTORY UINT64_MAX

struct region {
	uint64_t magic; /* written last */
	uint32_t version;
	uint32_t unused;
	uint64_t size;
	uint64_t key[4]; /* of the hash */
	uint64_t unused_too;
	uint32_t used; /* lines that are given out */
	uint32_t lock; /* of the directory */
	uint32_t damaged;
	uint32_t unused_also[13];
	struct table tables[IPQ_SHARED_TABLES];
	struct note notes[IPQ_SHARED_WORKERS];
};

_Static_assert(offsetof(struct region, tables) % LINE == 0 && sizeof(struct table) % LINE == 0 &&
		       sizeof(struct note) == LINE,
	       "no two of them share a cache line");

struct ipq_shared {
	struct region *region;
	uint32_t lines; /* of the region */
	uint32_t owner; /* the process's number + 1 */
	uint32_t users;
	bool is_private;
	uint64_t key[4];
	char text[IPQ_SHARED_VALUE_MAX];
};

struct ipq_shared_table {
	struct ipq_shared *shared;
	struct table *entry; /* of the directory */
	uint32_t *index;
	uint32_t depth;
	uint32_t first;
	uint32_t number; /* in the directory */
	int64_t ttl;
};

/* Numbers in the region that others may change at any time */
#define LOAD(place)	      __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define STORE(place, value)   __atomic_store_n(&(place), value, __ATOMIC_RELAXED)
#define ACQUIRE(place)	      __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define RELEASE(place, value) __atomic_store_n(&(place), value, __ATOMIC_RELEASE)

/* shared_region.c */

/* So many lines that nobody else has, which may hold anything: their place, 0 where there is no room. */
uint32_t ipq_region_take(struct ipq_shared *shared, uint32_t lines);

/* What begins at that place and has so many lines; NULL: that is not in the region. */
static inline void *ipq_region_at(const struct ipq_shared *shared, uint32_t place, uint32_t lines)
{
	const uint32_t begin = sizeof(struct region) / LINE;

	if (place < begin || place > shared->lines || lines > shared->lines - place)
		return NULL;
	return (uint8_t *)shared->region + (size_t)place * LINE;
}

static inline uint32_t ipq_region_place(const struct ipq_shared *shared, const void *at)
{
	return (uint32_t)((size_t)((const uint8_t *)at - (const uint8_t *)shared->region) / LINE);
}

/* The table of that number as the directory has it. -EBADMSG: that cannot be. */
int ipq_region_table(struct ipq_shared *shared, uint32_t number, struct ipq_shared_table *table);

/* Takes the lock of that place (struct note), waiting for so many nanoseconds at most: 0 or -EBUSY. */
int ipq_lock_take(struct ipq_shared *shared, uint32_t *lock, uint64_t place, int64_t wait_ns);
void ipq_lock_leave(uint32_t *lock);

/* shared_key.c */

/* What a key is looked up by. */
struct sought {
	uint64_t hash;
	uint64_t words[2]; /* of struct entry's key; of LONG_TEXT the first is the hash */
	const char *text;  /* of LONG_TEXT */
	uint32_t len;
	uint8_t kind;
	uint8_t tag;
};

void ipq_sought_make(const struct ipq_shared *shared, const struct ipq_shared_key *key,
		     uint8_t bucket, struct sought *sought);

/* The hash of an entry's key, as it stands there. */
uint64_t ipq_sought_hash(const struct ipq_shared *shared, const struct entry *entry, uint8_t kind);

/* shared_heap.c */

/* Room for len bytes in the set's heap, which nothing else of it moves for: its place there, from 1 up; 0: there
 * is none. Takes a larger heap where the set may have one. The room is its own as soon as an entry refers to it. */
uint32_t ipq_shared_heap_reserve(struct ipq_shared_table *table, struct set *set, uint32_t len);

/* len bytes at that place; NULL: that is not in the heap. */
uint8_t *ipq_shared_heap_at(const struct ipq_shared *shared, const struct set *set, uint32_t place,
			    uint32_t len);

/* A copy of the set's heap, with all in its place: 0, where the set has none; -ENOSPC. */
int ipq_shared_heap_copy(struct ipq_shared *shared, const struct set *set, uint32_t *copy);

/* shared_set.c */

/* The set that the hash's keys are in. */
struct set *ipq_set_of(const struct ipq_shared_table *table, uint64_t hash);

/* How many places of the index there are to look at. */
uint32_t ipq_set_slots(const struct ipq_shared_table *table);

/* The set of that number in the index, if it is the first place of the set there; else NULL. */
struct set *ipq_set_in_slot(const struct ipq_shared_table *table, uint32_t slot);

/* The number of the entry, or -ENOENT, -EBADMSG. */
int ipq_set_find(const struct ipq_shared *shared, const struct set *set,
		 const struct sought *sought);

/* The set that the hash's keys are in, locked. What another one has left in it is mended. 0, -EBUSY,
 * -EBADMSG. */
int ipq_set_lock(struct ipq_shared_table *table, uint64_t hash, struct set **set);

/* The same of a set that is known. 0 or -EBUSY. */
int ipq_set_lock_it(struct ipq_shared_table *table, struct set *set);
void ipq_set_unlock(struct set *set);

/* A change that readers must not see a part of: of a locked set. */
void ipq_set_begin(struct set *set);
void ipq_set_end(struct set *set);

/* Completes what its lock's owner has begun. */
void ipq_set_mend(struct ipq_shared_table *table, struct set *set);

/* Empties a set that is locked, and counts it as damaged. */
void ipq_set_empty(struct ipq_shared_table *table, struct set *set);

/* A place for a new entry in a locked set: one that is free, or whose time has come, or that was used the longest
 * time ago. -EAGAIN: the set was split instead, and is unlocked. */
int ipq_set_place(struct ipq_shared_table *table, struct set *set, int64_t now);

/* Of the entries but that one, forgets the one with text that was used the longest time ago. False: there
 * is none. Between ipq_set_begin() and ipq_set_end(). */
bool ipq_set_forget_text(struct set *set, int but);

/* Where that is IPQ_SHARED_CLOCK, it becomes the time. */
static inline int64_t time_of(int64_t *now)
{
	if (*now < 0)
		*now = ipq_coarse_ns();
	return *now;
}

/* Whether the entry's time has not come yet. The clock is looked at only where that matters. */
static inline bool entry_is_live(const struct entry *entry, uint8_t kind, int64_t *now)
{
	int64_t expiry = LOAD(entry->expiry);

	if (kind & BUCKET)
		return LOAD(entry->value) > (uint64_t)time_of(now) * BUCKET_UNITS;
	return expiry == 0 || expiry > time_of(now);
}

/* The entry was used just now. */
static inline void set_touch(struct set *set, int way)
{
	const uint64_t ones = 0x1111111111111111;
	uint64_t order = LOAD(set->order), found, below;
	int shift;

	if ((order & 0xf) == (uint64_t)way)
		return;
	found = order ^ (ones * (uint64_t)way);
	found = (found - ones) & ~found & (ones << 3);
	shift = found ? __builtin_ctzll(found) - 3 : 60;
	below = order & (((uint64_t)1 << shift) - 1);
	order = shift == 60 ? 0 : order >> (shift + 4) << (shift + 4);
	STORE(set->order, order | below << 4 | (uint64_t)way);
}

/* Values: numbers as they are, but one NaN of all; the others begin with bits of NaNs that are none. */
#define VALUE_NAN	 0x7ff8000000000000
#define VALUE_BOOLEAN	 0xfff9000000000000
#define VALUE_TEXT	 0xfffa000000000000
#define VALUE_KIND	 0xffff000000000000
#define VALUE_TEXT_SHIFT 24 /* the place in the heap; below it its length */
#define VALUE_TEXT_MASK	 0xffffff

static inline bool value_is_text(uint64_t value)
{
	return (value & VALUE_KIND) == VALUE_TEXT;
}

static inline uint32_t value_place(uint64_t value)
{
	return (uint32_t)(value >> VALUE_TEXT_SHIFT & VALUE_TEXT_MASK);
}

static inline uint32_t value_len(uint64_t value)
{
	return (uint32_t)(value & VALUE_TEXT_MASK);
}

static inline uint64_t value_text(uint32_t place, uint32_t len)
{
	return VALUE_TEXT | (uint64_t)place << VALUE_TEXT_SHIFT | len;
}

/* Of a key that is LONG_TEXT. */
struct long_key {
	uint64_t hash;
	uint32_t place;
	uint32_t len;
};

static inline struct long_key long_key_of(const struct entry *entry)
{
	struct long_key key;

	memcpy(&key, entry->key, sizeof(key));
	return key;
}

static inline bool kind_is_long(uint8_t kind)
{
	return (kind & ~BUCKET) == LONG_TEXT;
}

#endif
