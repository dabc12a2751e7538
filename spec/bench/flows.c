/* What a flow table costs, in nanoseconds a packet above those of an empty loop: flows FLOWS WHAT [ROUNDS].
 *
 *   hit       packets of FLOWS flows in random order, in batches of 64
 *   single    the same, one packet at a time
 *   create    packets of ever new flows, to a table of FLOWS that is full
 *   sweep     a record is looked at, of FLOWS
 *   collide   packets of ever new flows that all have the same two buckets and the same tag, as who knows the
 *             key could make them
 *   attach    the table is looked over by a successor: milliseconds
 *   rebuild   and its index is built anew: milliseconds
 *   lost      of as many flows as half the table, which were answered, percent that a flood of 17 new ones an
 *             entry costs
 *   size      bytes a flow
 *
 * Writes the least of ROUNDS: 200, of those that take milliseconds 10. */
#include "lib/flow/table.h"
#include "lib/clock.h"
#include "lib/packet/packet.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { SIZE = 64, BATCH = IPQ_BATCH_MAX, PACKETS = 1 << 15, COPY = 128 };

enum what { EMPTY, HIT, SINGLE, CREATE, COLLIDE };

struct bench {
	struct ipq_flows flows;
	struct ipq_batch batch;
	struct ipq_packet packets[BATCH];
	uint8_t bytes[BATCH][COPY];
	void *memory;
	size_t size;
	uint32_t count;	 /* of flows */
	uint64_t random; /* the state of a generator */
	uint64_t next;	 /* the flow that is made next */
	int64_t now_us;
};

static uint32_t random_of(struct bench *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return (uint32_t)(b->random >> 16);
}

/* Makes a packet that of a flow: UDP, 10.0.0.0/8 and 4 source ports. */
static void set_flow(struct bench *b, uint32_t i, uint32_t flow)
{
	uint32_t address = htonl(10U << 24 | (flow & 0xffffff));
	uint16_t port = htons((uint16_t)(1024 + (flow >> 24)));

	memcpy(b->bytes[i] + 12, &address, sizeof(address));
	memcpy(b->bytes[i] + 20, &port, sizeof(port));
	b->packets[i].parsed = 0;
}

static void make(struct bench *b, uint32_t count, enum what what)
{
	static const uint8_t first[] = {0x45, 0, 0, SIZE, 0, 0,		0x40, 0, 64, 17,
					0,    0, 0, 0,	  0, 0,		192,  0, 2,  1,
					0,    0, 0, 53,	  0, SIZE - 20, 0,    0};
	uint64_t key[11];

	b->random = 88172645463325252;
	b->count = count;
	b->now_us = 1000000;
	for (int i = 0; i < 11; i++)
		key[i] = what == COLLIDE ? 0 : (uint64_t)random_of(b) << 32 | random_of(b);
	b->size = ipq_flows_size(count);
	b->memory = mmap(NULL, b->size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (b->memory == MAP_FAILED || ipq_flows_init(b->memory, b->size, count, key) != 0 ||
	    ipq_flows_attach(b->memory, b->size, &b->flows) != 0)
		abort();
	b->batch.packets = b->packets;
	for (uint32_t i = 0; i < BATCH; i++) {
		memcpy(b->bytes[i], first, sizeof(first));
		b->packets[i] = (struct ipq_packet){
			.data = b->bytes[i], .data_len = SIZE, .len = SIZE, .family = 2};
	}
}

static void fill(struct bench *b)
{
	for (b->next = 0; b->next < b->count; b->next++) {
		set_flow(b, 0, (uint32_t)b->next);
		ipq_flows_packet(&b->flows, &b->packets[0], b->now_us);
	}
}

static uint32_t next_flow(struct bench *b, enum what like)
{
	if (like == CREATE || like == COLLIDE)
		return (uint32_t)b->next++ & 0x3ffffff;
	return (uint32_t)((uint64_t)random_of(b) * b->count >> 32);
}

static double run(struct bench *b, enum what what, enum what like)
{
	double sum = 0;
	int64_t start = ipq_monotonic_ns();

	for (uint32_t n = 0; n < PACKETS; n += BATCH) {
		for (uint32_t i = 0; i < BATCH; i++)
			set_flow(b, i, next_flow(b, like));
		b->batch.count = BATCH;
		if (what != EMPTY && what != SINGLE)
			ipq_flows_batch(&b->flows, &b->batch, b->now_us);
		for (uint32_t i = 0; i < BATCH && what != EMPTY; i++) {
			struct ipq_flow *flow =
				ipq_flows_packet(&b->flows, &b->packets[i], b->now_us);

			flow->fields[0] += 1;
			sum += flow->fields[0];
		}
		b->now_us += BATCH;
		__asm__ volatile("" : : "r"(b->bytes) : "memory");
	}
	__asm__ volatile("" : : "x"(sum));
	return (double)(ipq_monotonic_ns() - start) / PACKETS;
}

static double sweep(struct bench *b)
{
	int64_t start = ipq_monotonic_ns();

	for (uint32_t n = 0; n < PACKETS; n++)
		ipq_flows_sweep(&b->flows, b->now_us, 1);
	return (double)(ipq_monotonic_ns() - start) / PACKETS;
}

/* The packet that answers the one at 0. */
static void answer(struct bench *b)
{
	uint8_t *p = b->bytes[0], ends[8];

	memcpy(ends, p + 12, 8);
	memcpy(p + 12, ends + 4, 4);
	memcpy(p + 16, ends, 4);
	memcpy(ends, p + 20, 4);
	memcpy(p + 20, ends + 2, 2);
	memcpy(p + 22, ends, 2);
	b->packets[0].parsed = 0;
	ipq_flows_packet(&b->flows, &b->packets[0], b->now_us);
}

static double lost(struct bench *b)
{
	uint8_t before[COPY];
	uint32_t found = 0;

	memcpy(before, b->bytes[0], COPY);
	for (uint32_t i = 0; i < b->count / 2; i++) {
		memcpy(b->bytes[0], before, COPY);
		set_flow(b, 0, i);
		ipq_flows_packet(&b->flows, &b->packets[0], b->now_us);
		answer(b);
	}
	memcpy(b->bytes[0], before, COPY);
	for (uint32_t i = 0; i < 17 * b->count; i++) {
		set_flow(b, 0, b->count + i);
		ipq_flows_packet(&b->flows, &b->packets[0], b->now_us);
	}
	for (uint32_t i = 0; i < b->count / 2; i++) {
		set_flow(b, 0, i);
		ipq_flows_packet(&b->flows, &b->packets[0], b->now_us);
		found += !(b->packets[0].flow_bits & IPQ_FLOW_IS_NEW);
	}
	return 100.0 - 200.0 * found / b->count;
}

/* Milliseconds. */
static double attach(struct bench *b, uint32_t sequence)
{
	struct ipq_flows again;
	int64_t start;

	b->flows.head->sequence = sequence;
	start = ipq_monotonic_ns();
	if (ipq_flows_attach(b->memory, b->size, &again) != (int)(sequence & 1))
		abort();
	return (double)(ipq_monotonic_ns() - start) / 1e6;
}

static double least(struct bench *b, const char *what, enum what of, int rounds)
{
	double best = 1e9, ns;

	for (int i = 0; i < rounds; i++) {
		if (strcmp(what, "sweep") == 0)
			ns = sweep(b);
		else if (strcmp(what, "attach") == 0 || strcmp(what, "rebuild") == 0)
			ns = attach(b, what[0] == 'r');
		else
			ns = run(b, of,
				 strcmp(what, "single") == 0	? HIT
				 : strcmp(what, "create") == 0	? CREATE
				 : strcmp(what, "collide") == 0 ? COLLIDE
								: HIT);
		best = ns < best ? ns : best;
	}
	return best;
}

static enum what what_of(const char *name)
{
	static const char *const names[] = {"empty", "hit", "single", "create", "collide"};

	for (int i = HIT; i <= COLLIDE; i++)
		if (strcmp(name, names[i]) == 0)
			return (enum what)i;
	return EMPTY;
}

int main(int argc, char **argv)
{
	struct bench *b = calloc(1, sizeof(*b));
	uint32_t count = argc > 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
	enum what of = argc > 2 ? what_of(argv[2]) : EMPTY;
	double empty = 0;
	int rounds;

	if (!b || !ipq_flows_size(count))
		return 64;
	rounds = strcmp(argv[2], "attach") == 0 || strcmp(argv[2], "rebuild") == 0 ? 10 : 200;
	if (argc > 3)
		rounds = atoi(argv[3]);
	if (strcmp(argv[2], "size") == 0) {
		printf("%.1f\n", (double)ipq_flows_size(count) / count);
		return 0;
	}
	make(b, count, of);
	if (strcmp(argv[2], "lost") == 0) {
		printf("%.2f\n", lost(b));
		return 0;
	}
	fill(b);
	if (of != EMPTY)
		empty = least(b, argv[2], EMPTY, rounds);
	printf("%.1f\n", least(b, argv[2], of, rounds) - empty);
	return 0;
}
