/* What operations on shared tables cost in C, above the same loop without them: a markdown table. Keys are numbers, in
 * random order; times are given by the caller; figures are the least of some rounds. */
#include "lib/flow/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { ROUNDS = 15, OPERATIONS = 1 << 18, REGION = 64 << 20 };

static uint32_t order[OPERATIONS];
static struct ipq_shared_table *table;
static int64_t now = 1000000000;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int none(const struct ipq_shared_key *key)
{
	__asm__ volatile("" : : "r"(key) : "memory");
	return 0;
}

static int get(const struct ipq_shared_key *key)
{
	struct ipq_shared_value value;

	return ipq_shared_get(table, key, now, &value);
}

static int miss(const struct ipq_shared_key *key)
{
	struct ipq_shared_key other = *key;
	struct ipq_shared_value value;

	other.bytes[12] = 1;
	return ipq_shared_get(table, &other, now, &value);
}

static int set(const struct ipq_shared_key *key)
{
	struct ipq_shared_value value = {.kind = IPQ_SHARED_NUMBER, .number = 7};

	return ipq_shared_set(table, key, now, &value, 0, IPQ_SHARED_SET);
}

static int incr(const struct ipq_shared_key *key)
{
	const double initial = 0;
	double result;

	return ipq_shared_incr(table, key, now, 1, &initial, 0, &result);
}

static int bucket(const struct ipq_shared_key *key)
{
	now += 100;
	return ipq_shared_bucket(table, key, now, 100, 20, 1);
}

/* fill: what makes an entry of each key before. */
static const struct {
	const char *name;
	int (*work)(const struct ipq_shared_key *key);
	int (*fill)(const struct ipq_shared_key *key);
} rows[] = {{"get a number", get, set},
	    {"miss", miss, set},
	    {"set", set, set},
	    {"incr", incr, set},
	    {"bucket", bucket, bucket}};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static double run(int (*work)(const struct ipq_shared_key *key))
{
	double best = 1;

	for (int round = 0; round < ROUNDS; round++) {
		double start = seconds(), took;

		for (int i = 0; i < OPERATIONS; i++) {
			struct ipq_shared_key key;

			ipq_shared_key_number(&key, order[i]);
			if (work(&key) < 0)
				abort();
		}
		took = seconds() - start;
		if (took < best)
			best = took;
	}
	return best / OPERATIONS * 1e9;
}

static struct ipq_shared *attach(void *region, uint32_t worker)
{
	struct ipq_shared *shared;

	if (ipq_shared_attach(&shared, region, REGION, worker) < 0 ||
	    ipq_shared_open(shared, "bench", 5, 200000, 0, 0, &table) < 0)
		abort();
	return shared;
}

static void *region_new(void)
{
	void *region =
		mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (region == MAP_FAILED || ipq_shared_format(region, REGION) < 0)
		abort();
	return region;
}

static double measure(uint32_t keys, int row, double *bytes)
{
	void *region = region_new();
	struct ipq_shared *shared = attach(region, 0);
	struct ipq_shared_figures figures;
	double empty, ns;

	srandom(1);
	for (int i = 0; i < OPERATIONS; i++)
		order[i] = (uint32_t)random() % keys;
	ipq_shared_figures(region, REGION, &figures);
	*bytes = -(double)figures.used;
	for (uint32_t i = 0; i < keys; i++) {
		struct ipq_shared_key key;

		ipq_shared_key_number(&key, i);
		rows[row].fill(&key);
	}
	ipq_shared_figures(region, REGION, &figures);
	*bytes = (*bytes + (double)figures.used) / keys;
	empty = run(none);
	ns = run(rows[row].work) - empty;
	ipq_shared_close(table);
	ipq_shared_detach(shared);
	munmap(region, REGION);
	return ns;
}

/* Two processes that add to one key at the same time: nanoseconds of one of their additions. */
static double contended(void)
{
	void *region = region_new();
	double *took = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int *ready = (int *)(took + 2);

	if (took == MAP_FAILED)
		abort();
	memset(order, 0, sizeof(order));
	for (uint32_t worker = 0; worker < 2; worker++) {
		if (fork() == 0) {
			attach(region, worker);
			__atomic_fetch_add(ready, 1, __ATOMIC_ACQ_REL);
			while (__atomic_load_n(ready, __ATOMIC_ACQUIRE) < 2)
				;
			took[worker] = run(incr);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	munmap(region, REGION);
	return took[0] > took[1] ? took[0] : took[1];
}

int main(void)
{
	double bytes;

	printf("## Shared tables, in C\n\n| ns above an empty loop | 1,000 keys | 100,000 keys |\n"
	       "| --- | ---: | ---: |\n");
	for (int row = 0; row < ROWS; row++) {
		double few = measure(1000, row, &bytes);

		printf("| %s | %.1f | %.1f |\n", rows[row].name, few, measure(100000, row, &bytes));
	}
	printf("| incr, two processes on one key | %.0f | |\n| bytes a key, of 100,000 | | %.0f "
	       "|\n\n",
	       contended(), bytes);
	return 0;
}
