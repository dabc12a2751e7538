/* What is done with shared tables. */
#include "shared_layout.h"

#include <errno.h>
#include <math.h>

enum {
	READS = 2000, /* tries of a reader, some 50 microseconds */
	SPLITS = 64,
	BUSY_MOST = 16 /* sets that somebody waits for in vain before the others are left, too */
};

/* A window of a bucket, in nanoseconds, beside which the coarse clock's steps are nothing. */
static const double window_of_coarse = 1e8;

static void relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

/* Empties the set, where what stands in it cannot be. Gives why the caller has nothing. */
static int damaged(struct ipq_shared_table *table, uint64_t hash)
{
	struct set *set;
	int ret = ipq_set_lock(table, hash, &set);

	if (ret < 0)
		return ret;
	ipq_set_empty(table, set);
	ipq_set_unlock(set);
	return -EBADMSG;
}

/* Numbers: one NaN of all. LuaJIT takes a number's bits for what they are, and the bits of other NaNs for
 * pointers. */

static uint64_t bits_of_number(double number)
{
	uint64_t bits;

	if (isnan(number))
		return VALUE_NAN;
	memcpy(&bits, &number, sizeof(bits));
	return bits;
}

static double number_of(uint64_t bits)
{
	double number;

	memcpy(&number, &bits, sizeof(number));
	if (isnan(number)) {
		bits = VALUE_NAN;
		memcpy(&number, &bits, sizeof(number));
	}
	return number;
}

static bool is_nan(const uint8_t bytes[sizeof(double)])
{
	double number;

	memcpy(&number, bytes, sizeof(number));
	return isnan(number);
}

/* Reading */

/* What an entry has; text in the view's memory. */
static int value_get(struct ipq_shared *shared, const struct set *set, uint64_t bits,
		     struct ipq_shared_value *value)
{
	const uint8_t *text;

	if ((bits & VALUE_KIND) == VALUE_BOOLEAN) {
		value->kind = bits & 1 ? IPQ_SHARED_TRUE : IPQ_SHARED_FALSE;
	} else if (value_is_text(bits)) {
		value->len = value_len(bits);
		text = ipq_shared_heap_at(shared, set, value_place(bits), value->len);
		if (!text || value->len > sizeof(shared->text))
			return -EBADMSG;
		memcpy(shared->text, text, value->len);
		value->text = shared->text;
		value->kind = IPQ_SHARED_TEXT;
	} else {
		value->number = number_of(bits);
		value->kind = IPQ_SHARED_NUMBER;
	}
	return (int)value->kind;
}

/* The entry's value in a set that nobody changes meanwhile, or IPQ_SHARED_NONE. */
static int set_read(const struct ipq_shared_table *table, const struct set *set,
		    const struct sought *sought, int64_t *now, struct ipq_shared_value *value,
		    int64_t *expiry, int *way)
{
	const struct entry *entry;

	*way = ipq_set_find(table->shared, set, sought);
	if (*way < 0)
		return *way == -ENOENT ? IPQ_SHARED_NONE : *way;
	entry = &set->entries[*way];
	*expiry = LOAD(entry->expiry);
	if (!entry_is_live(entry, sought->kind, now))
		return IPQ_SHARED_NONE;
	return value_get(table->shared, set, LOAD(entry->value), value);
}

static int table_read(struct ipq_shared_table *table, const struct sought *sought, int64_t *now,
		      struct ipq_shared_value *value, int64_t *expiry)
{
	for (int i = 0; i < READS; i++) {
		struct set *set = ipq_set_of(table, sought->hash);
		uint32_t sequence;
		int ret, way;

		if (!set)
			return damaged(table, sought->hash);
		sequence = ACQUIRE(set->sequence);
		if (sequence & 1) {
			relax();
			continue;
		}
		/* Its keys may have gone into a new set before that. */
		if (set != ipq_set_of(table, sought->hash))
			continue;
		ret = set_read(table, set, sought, now, value, expiry, &way);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (LOAD(set->sequence) != sequence)
			continue;
		if (ret > 0)
			set_touch(set, way);
		return ret < 0 ? damaged(table, sought->hash) : ret;
	}
	return -EBUSY;
}

int ipq_shared_get(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		   struct ipq_shared_value *value)
{
	struct sought sought;
	int64_t expiry;
	int ret;

	ipq_sought_make(table->shared, key, 0, &sought);
	ret = table_read(table, &sought, &now, value, &expiry);
	value->kind = ret > 0 ? (uint32_t)ret : IPQ_SHARED_NONE;
	return ret;
}

int ipq_shared_ttl(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		   int64_t *left)
{
	struct ipq_shared_value value;
	struct sought sought;
	int64_t expiry;
	int ret;

	ipq_sought_make(table->shared, key, 0, &sought);
	ret = table_read(table, &sought, &now, &value, &expiry);
	if (ret <= 0)
		return ret < 0 ? ret : -ENOENT;
	*left = expiry ? expiry - time_of(&now) : 0;
	return 0;
}

/* Writing */

static int64_t expiry_of(const struct ipq_shared_table *table, int64_t *now, int64_t ttl)
{
	int64_t expiry;

	if (ttl < 0)
		ttl = table->ttl;
	if (ttl == 0)
		return 0;
	if (__builtin_add_overflow(time_of(now), ttl, &expiry))
		return INT64_MAX;
	return expiry;
}

/* Locks the key's set and finds its entry: its number in *way, -ENOENT where it has none. */
static int table_lock(struct ipq_shared_table *table, const struct sought *sought, struct set **set,
		      int *way)
{
	int ret = ipq_set_lock(table, sought->hash, set);

	if (ret < 0)
		return ret;
	*way = ipq_set_find(table->shared, *set, sought);
	if (*way >= 0 || *way == -ENOENT)
		return 0;
	ipq_set_empty(table, *set);
	ipq_set_unlock(*set);
	return *way;
}

/* Room in the heap, if need be in the place of what was used the longest time ago: *at is where, looked up
 * once, as another process may change the heap's size meanwhile. */
static uint32_t room_make(struct ipq_shared_table *table, struct set *set, int way, uint32_t len,
			  uint8_t **at)
{
	/* Whoever writes here without the lock must not make this endless. */
	for (int i = 0; i <= WAYS; i++) {
		uint32_t place = ipq_shared_heap_reserve(table, set, len);

		*at = place ? ipq_shared_heap_at(table->shared, set, place, len) : NULL;
		if (*at)
			return place;
		if (!ipq_set_forget_text(set, way))
			return 0;
	}
	return 0;
}

/* Text for the entry's value, where it had one that is no longer wanted. */
static int text_replace(struct ipq_shared_table *table, struct set *set, int way,
			const struct ipq_shared_value *value, int64_t expiry)
{
	struct entry *entry = &set->entries[way];
	uint8_t *at;
	uint32_t place = room_make(table, set, way, value->len, &at);

	if (!place)
		return -ENOSPC;
	memcpy(at, value->text, value->len);
	RELEASE(entry->value, value_text(place, value->len));
	STORE(entry->expiry, expiry);
	return 0;
}

/* What follows a key in the heap begins with a word. */
static uint32_t aligned(uint32_t len)
{
	return (len + 7) & ~(uint32_t)7;
}

/* A new entry, whose tag comes last: until then it is not there. bits are its value unless text is. */
static int entry_write(struct ipq_shared_table *table, struct set *set, int way,
		       const struct sought *sought, uint64_t bits,
		       const struct ipq_shared_value *text, int64_t expiry)
{
	struct entry *entry = &set->entries[way];
	uint32_t key_len = kind_is_long(sought->kind) ? aligned(sought->len) : 0;
	uint32_t place = 0;

	STORE(set->tags[way], 0);
	if (key_len || text) {
		uint32_t len = key_len + (text ? text->len : 0);
		uint8_t *at;

		place = room_make(table, set, way, len, &at);
		if (!place)
			return -ENOSPC;
		if (key_len)
			memcpy(at, sought->text, sought->len);
		if (text) {
			memcpy(at + key_len, text->text, text->len);
			bits = value_text(place + key_len / 8, text->len);
		}
	}
	memcpy(entry->key, sought->words, sizeof(entry->key));
	if (key_len) {
		struct long_key key = {sought->hash, place, sought->len};

		memcpy(entry->key, &key, sizeof(key));
	}
	STORE(entry->value, bits);
	STORE(entry->expiry, expiry);
	STORE(set->kinds[way], sought->kind);
	RELEASE(set->tags[way], sought->tag);
	return 0;
}

/* Gives the key a new entry, or a text. */
static int entry_change(struct ipq_shared_table *table, struct set *set, int way, bool is_new,
			const struct sought *sought, uint64_t bits,
			const struct ipq_shared_value *text, int64_t expiry)
{
	int ret = -ENOSPC;

	ipq_set_begin(set);
	if (!is_new && text)
		ret = text_replace(table, set, way, text, expiry);
	/* Perhaps there is room without what it had. */
	if (ret < 0)
		ret = entry_write(table, set, way, sought, bits, text, expiry);
	ipq_set_end(set);
	return ret;
}

static uint64_t bits_of(const struct ipq_shared_value *value)
{
	if (value->kind == IPQ_SHARED_NUMBER)
		return bits_of_number(value->number);
	return VALUE_BOOLEAN | (value->kind == IPQ_SHARED_TRUE);
}

/* Writes into the locked set, and unlocks it. way is the entry that the key has, -ENOENT: none.
 * -EAGAIN: it is to be tried again. */
static int value_write(struct ipq_shared_table *table, struct set *set, int way,
		       const struct sought *sought, uint64_t bits,
		       const struct ipq_shared_value *text, int64_t now, int64_t expiry)
{
	bool is_new = way < 0;
	int ret = 0;

	if (is_new) {
		way = ipq_set_place(table, set, now);
		if (way < 0)
			return way;
	}
	if (is_new || text) {
		ret = entry_change(table, set, way, is_new, sought, bits, text, expiry);
	} else {
		/* Each of both is whole by itself: an entry whose time had come stays so until the last. */
		RELEASE(set->entries[way].value, bits);
		STORE(set->entries[way].expiry, expiry);
	}
	if (ret == 0)
		set_touch(set, way);
	ipq_set_unlock(set);
	return ret;
}

static int set_once(struct ipq_shared_table *table, const struct sought *sought, int64_t now,
		    const struct ipq_shared_value *value, int64_t expiry, uint32_t mode)
{
	const struct ipq_shared_value *text = value->kind == IPQ_SHARED_TEXT ? value : NULL;
	struct set *set;
	bool is_there;
	int way, ret = table_lock(table, sought, &set, &way);

	if (ret < 0)
		return ret;
	is_there = mode != IPQ_SHARED_SET && way >= 0 &&
		   entry_is_live(&set->entries[way], sought->kind, &now);
	if (mode == IPQ_SHARED_ADD && is_there)
		ret = -EEXIST;
	if (mode == IPQ_SHARED_REPLACE && !is_there)
		ret = -ENOENT;
	if (ret < 0) {
		ipq_set_unlock(set);
		return ret;
	}
	return value_write(table, set, way, sought, text ? 0 : bits_of(value), text, now, expiry);
}

int ipq_shared_set(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		   const struct ipq_shared_value *value, int64_t ttl, uint32_t mode)
{
	int64_t expiry = expiry_of(table, &now, ttl);
	struct sought sought;
	int ret = -EAGAIN;

	if (value->kind == IPQ_SHARED_TEXT && value->len > LOAD(table->entry->value))
		return -EMSGSIZE;
	if (value->kind == IPQ_SHARED_TEXT && value->len > IPQ_SHARED_VALUE_MAX)
		return -EMSGSIZE;
	ipq_sought_make(table->shared, key, 0, &sought);
	for (int i = 0; i < SPLITS && ret == -EAGAIN; i++)
		ret = set_once(table, &sought, now, value, expiry, mode);
	return ret == -EAGAIN ? -EBUSY : ret;
}

static int incr_once(struct ipq_shared_table *table, const struct sought *sought, int64_t now,
		     double n, const double *initial, int64_t ttl, double *result)
{
	struct ipq_shared_value value = {.kind = IPQ_SHARED_NONE};
	struct set *set;
	int way, ret = table_lock(table, sought, &set, &way);
	struct entry *entry;

	if (ret < 0)
		return ret;
	entry = way >= 0 ? &set->entries[way] : NULL;
	if (!entry || !entry_is_live(entry, sought->kind, &now)) {
		if (initial) {
			*result = number_of(bits_of_number(*initial + n));
			return value_write(table, set, way, sought, bits_of_number(*result), NULL,
					   now, expiry_of(table, &now, ttl));
		}
		ret = -ENOENT;
	} else if (value_get(table->shared, set, LOAD(entry->value), &value) != IPQ_SHARED_NUMBER) {
		ret = -EINVAL;
	} else {
		*result = number_of(bits_of_number(value.number + n));
		RELEASE(entry->value, bits_of_number(*result));
		set_touch(set, way);
	}
	ipq_set_unlock(set);
	return ret;
}

int ipq_shared_incr(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		    double n, const double *initial, int64_t ttl, double *result)
{
	struct sought sought;
	int ret = -EAGAIN;

	ipq_sought_make(table->shared, key, 0, &sought);
	for (int i = 0; i < SPLITS && ret == -EAGAIN; i++)
		ret = incr_once(table, &sought, now, n, initial, ttl, result);
	return ret == -EAGAIN ? -EBUSY : ret;
}

/* Buckets. Their numbers are in eighths of a nanosecond. */

struct request {
	uint64_t now;
	double window; /* in which an empty bucket becomes full */
	double need;
};

/* How long the bucket that the entry is takes to be full. Where time went back, or it has become smaller, it
 * is empty now. */
static double full_in(const struct request *request, struct entry *entry)
{
	uint64_t full = LOAD(entry->value);
	double in = full > request->now ? (double)(full - request->now) : 0;

	if (in <= request->window)
		return in;
	RELEASE(entry->value, request->now + (uint64_t)request->window);
	return request->window;
}

static int bucket_once(struct ipq_shared_table *table, const struct sought *sought, int64_t now,
		       const struct request *request)
{
	struct set *set;
	int way, ret = table_lock(table, sought, &set, &way);
	double in;
	uint64_t full;

	if (ret < 0)
		return ret;
	in = way >= 0 ? full_in(request, &set->entries[way]) : 0;
	/* Half a unit is what rounding may have added. */
	if (in + request->need > request->window + 0.5) {
		if (way >= 0)
			set_touch(set, way);
		ipq_set_unlock(set);
		return 0;
	}
	full = request->now + (uint64_t)(in + request->need + 0.5);
	ret = value_write(table, set, way, sought, full, NULL, now, 0);
	return ret < 0 ? ret : 1;
}

int ipq_shared_bucket(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		      double per_second, double burst, double cost)
{
	const double most = 0x1p62;
	double token = 1e9 / per_second, window = burst * token;
	struct request request;
	struct sought sought;
	int ret = -EAGAIN;

	if (now < 0 && window < window_of_coarse)
		now = ipq_monotonic_ns();
	request.now = (uint64_t)time_of(&now) * BUCKET_UNITS;
	request.window = window * BUCKET_UNITS < most ? window * BUCKET_UNITS : most;
	request.need = cost * token * BUCKET_UNITS;
	ipq_sought_make(table->shared, key, BUCKET, &sought);
	for (int i = 0; i < SPLITS && ret == -EAGAIN; i++)
		ret = bucket_once(table, &sought, now, &request);
	return ret == -EAGAIN ? -EBUSY : ret;
}

/* Forgetting */

static int delete_one(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		      uint8_t bucket)
{
	struct sought sought;
	struct set *set;
	int way, ret;

	ipq_sought_make(table->shared, key, bucket, &sought);
	ret = table_lock(table, &sought, &set, &way);
	if (ret < 0)
		return ret;
	if (way >= 0) {
		ret = entry_is_live(&set->entries[way], sought.kind, &now);
		STORE(set->tags[way], 0);
	}
	ipq_set_unlock(set);
	return ret;
}

int ipq_shared_delete(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now)
{
	int value = delete_one(table, key, now, 0), bucket = delete_one(table, key, now, BUCKET);

	if (value < 0 || bucket < 0)
		return value < 0 ? value : bucket;
	return value || bucket;
}

int ipq_shared_expire(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		      int64_t ttl)
{
	int64_t expiry = expiry_of(table, &now, ttl);
	struct sought sought;
	struct set *set;
	int way, ret;

	ipq_sought_make(table->shared, key, 0, &sought);
	ret = table_lock(table, &sought, &set, &way);
	if (ret < 0)
		return ret;
	if (way >= 0 && entry_is_live(&set->entries[way], sought.kind, &now))
		STORE(set->entries[way].expiry, expiry);
	else
		ret = -ENOENT;
	ipq_set_unlock(set);
	return ret;
}

int ipq_shared_clear(struct ipq_shared_table *table)
{
	int busy = 0;

	for (uint32_t slot = 0; slot < ipq_set_slots(table) && busy < BUSY_MOST; slot++) {
		struct set *set = ipq_set_in_slot(table, slot);

		if (!set)
			continue;
		if (ipq_set_lock_it(table, set) < 0) {
			busy++;
			continue;
		}
		ipq_set_begin(set);
		memset(set->tags, 0, sizeof(set->tags));
		ipq_set_end(set);
		ipq_set_unlock(set);
	}
	return busy ? -EBUSY : 0;
}

/* Keys */

/* The key of an entry in a set that nobody changes meanwhile: 1, 0: it is none, or -EBADMSG. */
static int key_read(struct ipq_shared *shared, const struct set *set, int way, int64_t *now,
		    struct ipq_shared_key *key)
{
	const struct entry *entry = &set->entries[way];
	uint8_t kind = set->kinds[way] & (uint8_t)~BUCKET;

	if (!set->tags[way] || !entry_is_live(entry, set->kinds[way], now))
		return 0;
	*key = (struct ipq_shared_key){.kind = kind};
	if (kind == LONG_TEXT) {
		struct long_key found = long_key_of(entry);
		const uint8_t *text = ipq_shared_heap_at(shared, set, found.place, found.len);

		if (!text || found.len > IPQ_SHARED_KEY_MAX)
			return -EBADMSG;
		memcpy(shared->text, text, found.len);
		*key = (struct ipq_shared_key){
			.kind = IPQ_SHARED_TEXT, .text = shared->text, .len = found.len};
		return 1;
	}
	memcpy(key->bytes, entry->key, sizeof(key->bytes));
	if (kind == IPQ_SHARED_NUMBER && is_nan(key->bytes))
		return -EBADMSG;
	if (kind >= SHORT_TEXT && kind <= SHORT_TEXT + SHORT_TEXT) {
		key->kind = IPQ_SHARED_TEXT;
		key->len = kind - SHORT_TEXT;
	} else if (kind != IPQ_SHARED_NUMBER && kind != IPQ_SHARED_ADDRESS4 &&
		   kind != IPQ_SHARED_ADDRESS6) {
		return -EBADMSG;
	}
	return 1;
}

/* *tries are those of one call, whatever number of sets is being changed. */
static int key_at(struct ipq_shared_table *table, uint32_t slot, int way, int64_t *now, int *tries,
		  struct ipq_shared_key *key)
{
	do {
		struct set *set = ipq_set_in_slot(table, slot);
		uint32_t sequence;
		int ret;

		if (!set)
			return 0;
		sequence = ACQUIRE(set->sequence);
		if (sequence & 1) {
			relax();
			continue;
		}
		ret = key_read(table->shared, set, way, now, key);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (LOAD(set->sequence) == sequence)
			return ret;
	} while (--*tries > 0);
	*tries = 1;
	return 0;
}

int ipq_shared_next(struct ipq_shared_table *table, int64_t now, uint64_t *cursor,
		    struct ipq_shared_key *key)
{
	int tries = READS;

	for (; *cursor / WAYS < ipq_set_slots(table); ++*cursor) {
		uint32_t slot = (uint32_t)(*cursor / WAYS);
		int way = (int)(*cursor % WAYS);

		if (way == 0 && !ipq_set_in_slot(table, slot)) {
			*cursor += WAYS - 1;
			continue;
		}
		if (key_at(table, slot, way, &now, &tries, key) > 0) {
			++*cursor;
			return 1;
		}
	}
	return 0;
}
