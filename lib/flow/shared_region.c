/* The region of shared tables: its head, its directory, its locks, and what the dead leave behind. */
#include "shared_layout.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>

#define MAGIC	     0x1a7b6c2f49505153 /* no text, and no number that memory is filled with */
#define LOCK_WAITERS 0x80000000

enum {
	SPINS = 64,
	DEPTH_LEAST = 16, /* of an index: so large that a table may become many times as large */
	DEPTH_MOST = 24,
	ENTRIES_A_SET = 8 /* half of a set's: splitting leaves sets filled by two thirds */
};

static const int64_t directory_wait_ns = 1000000000;

/* Locks */

static void futex_wake(uint32_t *lock, int count)
{
	syscall(SYS_futex, lock, FUTEX_WAKE, count, NULL, NULL, 0);
}

static void futex_wait(uint32_t *lock, uint32_t value, int64_t ns)
{
	struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	syscall(SYS_futex, lock, FUTEX_WAIT, value, &time, NULL, 0);
}

static bool lock_swap(uint32_t *lock, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(lock, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

/* Whether what stands in a lock keeps this process from taking it: not if it is its own number, which a
 * process before it had, and not if nobody has such a number. */
static bool is_taken(const struct ipq_shared *shared, uint32_t value)
{
	uint32_t owner = value & ~LOCK_WAITERS;

	return owner != 0 && owner != shared->owner && owner <= IPQ_SHARED_WORKERS;
}

static bool lock_spin(struct ipq_shared *shared, uint32_t *lock)
{
	for (int i = 0; i < SPINS; i++) {
		if (LOAD(*lock) == 0 && lock_swap(lock, 0, shared->owner))
			return true;
#ifdef __x86_64__
		__builtin_ia32_pause();
#endif
	}
	return false;
}

static int lock_wait(struct ipq_shared *shared, uint32_t *lock, int64_t wait_ns)
{
	int64_t deadline = ipq_monotonic_ns() + wait_ns;

	if (lock_spin(shared, lock))
		return 0;
	for (;;) {
		uint32_t value = LOAD(*lock);
		int64_t left;

		if (!is_taken(shared, value)) {
			/* Whoever waits beside it would not be woken otherwise. */
			if (lock_swap(lock, value, shared->owner | LOCK_WAITERS))
				return 0;
			continue;
		}
		left = deadline - ipq_monotonic_ns();
		if (left <= 0)
			return -EBUSY;
		if (value & LOCK_WAITERS || lock_swap(lock, value, value | LOCK_WAITERS))
			futex_wait(lock, value | LOCK_WAITERS, left);
	}
}

int ipq_lock_take(struct ipq_shared *shared, uint32_t *lock, uint64_t place, int64_t wait_ns)
{
	STORE(shared->region->notes[shared->owner - 1].place, place);
	if (lock_swap(lock, 0, shared->owner))
		return 0;
	return lock_wait(shared, lock, wait_ns);
}

void ipq_lock_leave(uint32_t *lock)
{
	if (__atomic_exchange_n(lock, 0, __ATOMIC_ACQ_REL) & LOCK_WAITERS)
		futex_wake(lock, 1);
}

/* Making, attaching */

static bool size_is_right(size_t size)
{
	return size >= IPQ_SHARED_SIZE_LEAST && size / LINE <= UINT32_MAX;
}

int ipq_shared_format(void *region, size_t size)
{
	struct region *head = region;

	if (!size_is_right(size) || (uintptr_t)region % LINE)
		return -EINVAL;
	if (getrandom(head->key, sizeof(head->key), 0) != sizeof(head->key))
		return -errno;
	head->version = IPQ_SHARED_VERSION;
	head->size = size;
	head->used = sizeof(*head) / LINE;
	RELEASE(head->magic, MAGIC);
	return 0;
}

int ipq_shared_check(const void *region, size_t size)
{
	const struct region *head = region;

	if (!size_is_right(size) || ACQUIRE(head->magic) != MAGIC)
		return -EBADMSG;
	if (LOAD(head->version) != IPQ_SHARED_VERSION)
		return -EPROTO;
	return LOAD(head->size) == size ? 0 : -EBADMSG;
}

bool ipq_shared_mend(void *region, size_t size)
{
	struct region *head = region;

	if (!size_is_right(size) || ipq_shared_check(region, size) == 0)
		return false;
	STORE(head->version, IPQ_SHARED_VERSION);
	STORE(head->size, size);
	RELEASE(head->magic, MAGIC);
	return true;
}

/* Without looking at what is in it. */
static struct ipq_shared view(void *region, size_t size, uint32_t worker)
{
	return (struct ipq_shared){
		.region = region, .lines = (uint32_t)(size / LINE), .owner = worker + 1};
}

int ipq_shared_attach(struct ipq_shared **shared, void *region, size_t size, uint32_t worker)
{
	int ret = ipq_shared_check(region, size);

	if (ret < 0)
		return ret;
	if (worker >= IPQ_SHARED_WORKERS)
		return -EINVAL;
	*shared = malloc(sizeof(**shared));
	if (!*shared)
		return -ENOMEM;
	**shared = view(region, size, worker);
	memcpy((*shared)->key, (*shared)->region->key, sizeof((*shared)->key));
	(*shared)->users = 1;
	return 0;
}

void ipq_shared_detach(struct ipq_shared *shared)
{
	if (!shared || --shared->users > 0)
		return;
	if (shared->is_private)
		munmap(shared->region, (size_t)shared->lines * LINE);
	free(shared);
}

int ipq_shared_private(struct ipq_shared **shared, size_t size)
{
	void *region;
	int ret;

	size = size / LINE * LINE;
	if (!size_is_right(size))
		return -EINVAL;
	region = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (region == MAP_FAILED)
		return -errno;
	ret = ipq_shared_format(region, size);
	if (ret == 0)
		ret = ipq_shared_attach(shared, region, size, 0);
	if (ret < 0)
		munmap(region, size);
	else
		(*shared)->is_private = true;
	return ret;
}

uint32_t ipq_region_take(struct ipq_shared *shared, uint32_t lines)
{
	uint32_t *used = &shared->region->used;
	uint32_t place = LOAD(*used);

	do {
		if (!ipq_region_at(shared, place, lines))
			return 0;
	} while (!__atomic_compare_exchange_n(used, &place, place + lines, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return place;
}

void ipq_shared_figures(const void *region, size_t size, struct ipq_shared_figures *figures)
{
	const struct region *head = region;

	*figures = (struct ipq_shared_figures){.size = size};
	if (!size_is_right(size))
		return;
	figures->used = (uint64_t)LOAD(head->used) * LINE;
	if (figures->used > size)
		figures->used = size;
	figures->damaged = LOAD(head->damaged);
	for (int i = 0; i < IPQ_SHARED_TABLES; i++)
		figures->tables += LOAD(head->tables[i].name[0]) != 0;
}

/* The directory */

int ipq_region_table(struct ipq_shared *shared, uint32_t number, struct ipq_shared_table *table)
{
	struct table *entry = &shared->region->tables[number];
	uint32_t depth = LOAD(entry->depth);
	uint32_t lines;

	if (depth < DEPTH_LEAST || depth > DEPTH_MOST)
		return -EBADMSG;
	lines = (uint32_t)(sizeof(uint32_t) << depth) / LINE;
	*table =
		(struct ipq_shared_table){.shared = shared,
					  .entry = entry,
					  .index = ipq_region_at(shared, LOAD(entry->index), lines),
					  .depth = depth,
					  .first = LOAD(entry->first),
					  .number = number};
	return table->index && ipq_region_at(shared, table->first, SET_LINES) ? 0 : -EBADMSG;
}

static uint32_t sets_for(uint32_t entries)
{
	return (entries + ENTRIES_A_SET - 1) / ENTRIES_A_SET;
}

static uint32_t depth_for(uint32_t entries)
{
	uint32_t depth = DEPTH_LEAST;

	while (depth < DEPTH_MOST && (uint32_t)1 << depth < sets_for(entries) * 4)
		depth++;
	return depth;
}

/* Whether all tables' sets would fit if one had so many more of them. */
static bool has_room(struct ipq_shared *shared, uint64_t more)
{
	uint64_t lines = more * SET_LINES + sizeof(struct region) / LINE;

	for (int i = 0; i < IPQ_SHARED_TABLES; i++) {
		const struct table *table = &shared->region->tables[i];

		if (LOAD(table->name[0]))
			lines += ((uint64_t)LOAD(table->limit) * SET_LINES) +
				 ((sizeof(uint32_t) << (LOAD(table->depth) & 31)) / LINE);
	}
	return lines <= shared->lines;
}

static int table_make(struct ipq_shared *shared, struct table *entry, const char *name, size_t len,
		      uint32_t entries, uint32_t value)
{
	uint32_t depth = depth_for(entries), sets = sets_for(entries);
	uint32_t lines = (uint32_t)(sizeof(uint32_t) << depth) / LINE, first, index;

	if (!has_room(shared, sets + lines / SET_LINES + 1))
		return -ENOSPC;
	/* What is taken where one of both has no room is lost; but then there is hardly any. */
	first = ipq_region_take(shared, SET_LINES);
	index = first ? ipq_region_take(shared, lines) : 0;
	if (!index)
		return -ENOSPC;
	memset(ipq_region_at(shared, first, SET_LINES), 0, sizeof(struct set));
	entry->first = first;
	entry->index = index;
	entry->depth = depth;
	entry->limit = sets;
	entry->sets = 1;
	entry->mask = 0;
	entry->value = value;
	memset(entry->name, 0, sizeof(entry->name));
	memcpy(entry->name + 1, name + 1, len - 1);
	RELEASE(entry->name[0], name[0]);
	return 0;
}

static int table_grow(struct ipq_shared *shared, struct table *entry, uint32_t entries,
		      uint32_t value)
{
	uint32_t sets = sets_for(entries), limit = LOAD(entry->limit);

	if (sets > limit) {
		if (!has_room(shared, sets - limit))
			return -ENOSPC;
		STORE(entry->limit, sets);
	}
	if (value > LOAD(entry->value))
		STORE(entry->value, value);
	return 0;
}

/* One that is there; where it leads out of the region, it is made anew in its place. */
static int table_known(struct ipq_shared *shared, uint32_t number, const char *name, size_t len,
		       uint32_t entries, uint32_t value)
{
	struct table *entry = &shared->region->tables[number];
	struct ipq_shared_table found;

	if (ipq_region_table(shared, number, &found) == 0)
		return table_grow(shared, entry, entries, value);
	__atomic_fetch_add(&shared->region->damaged, 1, __ATOMIC_RELAXED);
	STORE(entry->limit, 0);
	STORE(entry->depth, 0);
	return table_make(shared, entry, name, len, entries, value);
}

/* The number of the table, which is made where there is none. The directory is locked. */
static int table_find(struct ipq_shared *shared, const char *name, size_t len, uint32_t entries,
		      uint32_t value)
{
	for (int i = 0; i < IPQ_SHARED_TABLES; i++) {
		struct table *entry = &shared->region->tables[i];
		int ret;

		if (!LOAD(entry->name[0]))
			ret = table_make(shared, entry, name, len, entries, value);
		else if (memcmp(entry->name, name, len) == 0 && entry->name[len] == '\0')
			ret = table_known(shared, (uint32_t)i, name, len, entries, value);
		else
			continue;
		return ret < 0 ? ret : i;
	}
	return -EMFILE;
}

int ipq_shared_open(struct ipq_shared *shared, const char *name, size_t len, uint32_t entries,
		    uint32_t value, int64_t ttl, struct ipq_shared_table **table)
{
	struct ipq_shared_table found;
	int ret;

	if (len == 0 || len > IPQ_SHARED_NAME_MAX || memchr(name, '\0', len) || entries == 0 ||
	    entries > IPQ_SHARED_ENTRIES_MAX || value > IPQ_SHARED_VALUE_MAX || ttl < 0)
		return -EINVAL;
	ret = ipq_lock_take(shared, &shared->region->lock, NOTE_DIRECTORY, directory_wait_ns);
	if (ret < 0)
		return ret;
	ret = table_find(shared, name, len, entries, value);
	ipq_lock_leave(&shared->region->lock);
	if (ret >= 0)
		ret = ipq_region_table(shared, (uint32_t)ret, &found);
	if (ret < 0)
		return ret;
	*table = malloc(sizeof(**table));
	if (!*table)
		return -ENOMEM;
	**table = found;
	(*table)->ttl = ttl;
	shared->users++;
	return 0;
}

void ipq_shared_close(struct ipq_shared_table *table)
{
	if (!table)
		return;
	ipq_shared_detach(table->shared);
	free(table);
}

/* Repair */

/* Frees the lock if it is that owner's. */
static bool lock_free(uint32_t *lock, uint32_t owner)
{
	uint32_t value = LOAD(*lock);

	if ((value & ~LOCK_WAITERS) != owner)
		return false;
	/* Another one may say meanwhile that it waits. */
	__atomic_exchange_n(lock, 0, __ATOMIC_ACQ_REL);
	futex_wake(lock, INT_MAX);
	return true;
}

bool ipq_shared_repair(void *region, size_t size, uint32_t worker)
{
	struct ipq_shared_table table;
	struct ipq_shared shared;
	struct set *set;
	uint64_t place;

	if (worker >= IPQ_SHARED_WORKERS || ipq_shared_check(region, size) < 0)
		return false;
	shared = view(region, size, worker);
	place = LOAD(shared.region->notes[worker].place);
	if (place == NOTE_DIRECTORY)
		return lock_free(&shared.region->lock, shared.owner);
	set = ipq_region_at(&shared, (uint32_t)place, SET_LINES);
	if (!set || place >> 32 >= IPQ_SHARED_TABLES ||
	    (LOAD(set->lock) & ~LOCK_WAITERS) != shared.owner)
		return false;
	if (ipq_region_table(&shared, (uint32_t)(place >> 32), &table) == 0)
		ipq_set_mend(&table, set);
	return lock_free(&set->lock, shared.owner);
}

const char *ipq_shared_strerror(int error)
{
	switch (error) {
	case -EBUSY: return "busy";
	case -EBADMSG: return "damaged, and emptied";
	case -ENOENT: return "not found";
	case -EEXIST: return "exists";
	case -EINVAL: return "not a number";
	case -ENOSPC: return "no room in the memory for shared tables: --shared-memory gives more";
	case -EMFILE: return "there are too many tables";
	case -EMSGSIZE: return "too long";
	default: return strerror(-error);
	}
}
