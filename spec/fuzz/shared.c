/* Shared tables: operations against a plain list, and regions in which anything stands. */
#include "fuzz.h"

#include "lib/flow/shared.h"

#include <errno.h>
#include <sys/mman.h>

enum { SIZE = IPQ_SHARED_SIZE_LEAST, KEYS = 64, VALUE = 200, GUARD = 4096 };

/* What the list has of a key. */
struct kept {
	bool is_there;
	double number;
	uint32_t len; /* of a text, plus 1; 0: it is a number */
	int64_t expiry;
};

static struct kept list[KEYS];
static uint8_t *region;

/* Between two pages that nobody may touch, and all zeros. */
static void region_clear(void)
{
	if (!region) {
		uint8_t *all =
			mmap(NULL, SIZE + 2 * GUARD, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		CHECK(all != MAP_FAILED);
		region = all + GUARD;
		CHECK(mprotect(region, SIZE, PROT_READ | PROT_WRITE) == 0);
	} else {
		CHECK(madvise(region, SIZE, MADV_REMOVE) == 0);
	}
	CHECK(ipq_shared_format(region, SIZE) == 0);
	memset(list, 0, sizeof(list));
}

/* Text of that length, by which it is known. */
static const char *text_of(uint32_t len)
{
	static char text[VALUE + 1];

	memset(text, 'a' + (int)(len % 26), len);
	return text;
}

static void key_of(uint32_t i, struct ipq_shared_key *key)
{
	static char text[KEYS][80];
	int len;

	if (i % 3 == 0) {
		ipq_shared_key_number(key, i);
		return;
	}
	len = snprintf(text[i], sizeof(text[i]),
		       i % 3 == 1 ? "10.0.0.%u" : "a key that is longer than 16: %u", i);
	CHECK(ipq_shared_key_text(key, text[i], (size_t)len) == 0);
}

static struct ipq_shared_value value_of(uint8_t choice)
{
	struct ipq_shared_value value = {.kind = IPQ_SHARED_NUMBER, .number = choice};

	if (choice & 1) {
		value.kind = IPQ_SHARED_TEXT;
		value.len = choice % (VALUE + 1);
		value.text = text_of(value.len);
	}
	return value;
}

static void look(struct ipq_shared_table *table, uint32_t i, int64_t now)
{
	const struct kept *kept = &list[i];
	struct ipq_shared_value value;
	struct ipq_shared_key key;
	bool is_there = kept->is_there && (kept->expiry == 0 || kept->expiry > now);
	int kind;

	key_of(i, &key);
	kind = ipq_shared_get(table, &key, now, &value);
	if (!is_there) {
		CHECK(kind == IPQ_SHARED_NONE);
	} else if (kept->len) {
		CHECK(kind == IPQ_SHARED_TEXT && value.len == kept->len - 1 &&
		      memcmp(value.text, text_of(value.len), value.len) == 0);
	} else {
		CHECK(kind == IPQ_SHARED_NUMBER && value.number == kept->number);
	}
}

static void keep(uint32_t i, const struct ipq_shared_value *value, int64_t expiry)
{
	list[i] = (struct kept){true, value->number,
				value->kind == IPQ_SHARED_TEXT ? value->len + 1 : 0, expiry};
}

static void set_one(struct ipq_shared_table *table, struct input *in, uint32_t i, int64_t now)
{
	struct ipq_shared_value value = value_of(take8(in));
	uint8_t choice = take8(in);
	int64_t ttl = choice >> 2;
	bool is_there = list[i].is_there && (list[i].expiry == 0 || list[i].expiry > now);
	uint32_t mode = choice % 3;
	struct ipq_shared_key key;
	int ret;

	key_of(i, &key);
	ret = ipq_shared_set(table, &key, now, &value, ttl, mode);
	if (mode == IPQ_SHARED_ADD && is_there)
		CHECK(ret == -EEXIST);
	else if (mode == IPQ_SHARED_REPLACE && !is_there)
		CHECK(ret == -ENOENT);
	else
		CHECK(ret == 0);
	if (ret == 0)
		keep(i, &value, ttl ? now + ttl : 0);
}

static void incr_one(struct ipq_shared_table *table, uint32_t i, int64_t now)
{
	struct kept *kept = &list[i];
	bool is_there = kept->is_there && (kept->expiry == 0 || kept->expiry > now);
	const double initial = 3;
	struct ipq_shared_key key;
	double sum;
	int ret;

	key_of(i, &key);
	ret = ipq_shared_incr(table, &key, now, 2, &initial, 0, &sum);
	if (is_there && kept->len) {
		CHECK(ret == -EINVAL);
		return;
	}
	if (!is_there)
		*kept = (struct kept){.is_there = true, .number = initial};
	kept->number += 2;
	CHECK(ret == 0 && sum == kept->number);
}

static void delete_one(struct ipq_shared_table *table, uint32_t i, int64_t now)
{
	struct ipq_shared_key key;

	key_of(i, &key);
	CHECK(ipq_shared_delete(table, &key, now) >= 0);
	list[i].is_there = false;
}

static struct ipq_shared_table *open_table(struct ipq_shared *shared)
{
	struct ipq_shared_table *table = NULL;
	int ret = ipq_shared_open(shared, "fuzz", 4, 1000, VALUE, 0, &table);

	return ret == 0 ? table : NULL;
}

static void run(struct input *in, struct ipq_shared_table *table)
{
	int64_t now = 1;

	while (in->len > 0) {
		uint8_t choice = take8(in);
		uint32_t i = take8(in) % KEYS;

		switch (choice % 6) {
		case 0:
		case 1: set_one(table, in, i, now); break;
		case 2: incr_one(table, i, now); break;
		case 3: delete_one(table, i, now); break;
		case 4: now += choice >> 4; break;
		default: look(table, i, now);
		}
	}
	for (uint32_t i = 0; i < KEYS; i++)
		look(table, i, now);
}

/* Any answer will do, if only it comes. */
static void run_hostile(struct input *in, struct ipq_shared *shared)
{
	struct ipq_shared_table *table = open_table(shared);
	struct ipq_shared_value value = value_of(151);
	struct ipq_shared_key key;
	uint64_t cursor = 0;
	int64_t left;

	for (uint32_t i = 0; i < KEYS && table; i++) {
		const double initial = 0;
		double sum;

		key_of(i, &key);
		(void)ipq_shared_set(table, &key, 1, &value, i & 1 ? 5 : 0, IPQ_SHARED_SET);
		for (int n = 0; n < 4 && in->len > 0; n++) {
			/* Near the beginning: the head, the directory, the index; or where sets are. */
			uint8_t choice = take8(in);
			uint32_t at = take16(in) * (choice & 1 ? 4 : 16) % (SIZE - 4),
				 word = take16(in);

			if (choice & 2)
				word |= 0xffff0000;
			if (at >= 128)
				memcpy(region + at, &word, sizeof(word));
		}
		if (ipq_shared_get(table, &key, 1, &value) == IPQ_SHARED_NUMBER)
			CHECK(value.number == value.number ||
			      memcmp(&value.number, "\0\0\0\0\0\0\xf8\x7f", 8) == 0);
		(void)ipq_shared_incr(table, &key, 1, 1, &initial, 0, &sum);
		(void)ipq_shared_bucket(table, &key, 1, 10, 5, 1);
		(void)ipq_shared_ttl(table, &key, 1, &left);
		value = value_of(151);
	}
	for (uint32_t worker = 0; worker < IPQ_SHARED_WORKERS; worker += 85)
		(void)ipq_shared_repair(region, SIZE, worker);
	if (table)
		while (ipq_shared_next(table, 1, &cursor, &key) > 0)
			;
	if (table)
		(void)ipq_shared_clear(table);
	ipq_shared_close(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = {bytes, len};
	struct ipq_shared *shared;

	region_clear();
	CHECK(ipq_shared_attach(&shared, region, SIZE, 0) == 0);
	if (take8(&in) & 1) {
		run_hostile(&in, shared);
	} else {
		struct ipq_shared_table *table = open_table(shared);

		CHECK(table);
		run(&in, table);
		ipq_shared_close(table);
	}
	ipq_shared_detach(shared);
	return 0;
}
