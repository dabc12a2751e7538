/* Checksums over a full-sized packet, against the loops that people write: a markdown table. */
#include "lib/packet/checksum.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SIZE = 1500, ROUNDS = 20000, REPETITIONS = 21 };

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint32_t byte_pairs(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (len & 1)
		sum += (uint32_t)(p[len - 1] << 8);
	return sum;
}

static uint32_t eights(const uint8_t *p, size_t len)
{
	return ipq_checksum_add(0, p, len);
}

static uint32_t crc_table(const uint8_t *p, size_t len)
{
	return ipq_crc32c_portable(p, len);
}

static uint32_t crc(const uint8_t *p, size_t len)
{
	return ipq_crc32c(p, len);
}

static const struct {
	const char *name;
	uint32_t (*sum)(const uint8_t *p, size_t len);
	int base; /* the row that it is compared with */
} rows[] = {
	{"byte-pair loop", byte_pairs, 0},
	{"ipq_checksum_add", eights, 0},
	{"ipq_crc32c_portable", crc_table, 2},
	{"ipq_crc32c", crc, 2},
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static double once(int row, const uint8_t *bytes)
{
	uint32_t sum = 0;
	uint64_t start = now_ns();

	for (int i = 0; i < ROUNDS; i++) {
		sum += rows[row].sum(bytes, SIZE);
		/* The compiler must take sum as used and the bytes as new. */
		__asm__ volatile("" : "+r"(sum) : : "memory");
	}
	return (double)(now_ns() - start) / ROUNDS;
}

int main(void)
{
	static double ns[ROWS][REPETITIONS];
	uint8_t bytes[SIZE];

	for (int i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)rand();
	for (int repetition = 0; repetition < REPETITIONS; repetition++)
		for (int row = 0; row < ROWS; row++)
			ns[row][repetition] = once(row, bytes);
	for (int row = 0; row < ROWS; row++)
		qsort(ns[row], REPETITIONS, sizeof(double), by_value);
	printf("## Checksums\n\n| %d bytes | ns | times as fast |\n| --- | ---: | ---: |\n", SIZE);
	for (int row = 0; row < ROWS; row++)
		printf("| %s | %.1f | %.1f |\n", rows[row].name, ns[row][REPETITIONS / 2],
		       ns[rows[row].base][REPETITIONS / 2] / ns[row][REPETITIONS / 2]);
	return 0;
}
