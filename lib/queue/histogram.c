/* Values by size. A value below 8 has a bucket of its own; above, each power of two is cut in 8. */
#include "histogram.h"

enum { PART_BITS = 3, PARTS = 1 << PART_BITS };

/* The bucket that a value is counted in. */
static uint32_t bucket_of(uint64_t value)
{
	uint32_t power, bucket;

	if (value < PARTS)
		return (uint32_t)value;
	power = 63 - (uint32_t)__builtin_clzll(value) - PART_BITS;
	/* The bits behind the first one, which is PARTS, tell the part. */
	bucket = power * PARTS + (uint32_t)(value >> power);
	return bucket < IPQ_HISTOGRAM_BUCKETS ? bucket : IPQ_HISTOGRAM_BUCKETS - 1;
}

uint64_t ipq_histogram_least(uint32_t bucket)
{
	uint32_t power = bucket / PARTS;

	if (power == 0)
		return bucket;
	return (uint64_t)(bucket % PARTS + PARTS) << (power - 1);
}

void ipq_histogram_add(struct ipq_histogram *histogram, uint64_t sum, uint32_t count)
{
	histogram->buckets[bucket_of(sum / count)] += count;
	histogram->sum += sum;
	histogram->count += count;
}

void ipq_histogram_join(struct ipq_histogram *histogram, const struct ipq_histogram *more)
{
	for (uint32_t i = 0; i < IPQ_HISTOGRAM_BUCKETS; i++)
		histogram->buckets[i] += more->buckets[i];
	histogram->sum += more->sum;
	histogram->count += more->count;
}

void ipq_histogram_subtract(struct ipq_histogram *histogram, const struct ipq_histogram *before)
{
	for (uint32_t i = 0; i < IPQ_HISTOGRAM_BUCKETS; i++)
		histogram->buckets[i] -= before->buckets[i];
	histogram->sum -= before->sum;
	histogram->count -= before->count;
}

uint64_t ipq_histogram_quantile(const struct ipq_histogram *histogram, double quantile)
{
	uint64_t total = 0, seen = 0;
	double rank;

	/* Not count: the writer may be between the two. */
	for (uint32_t i = 0; i < IPQ_HISTOGRAM_BUCKETS; i++)
		total += histogram->buckets[i];
	rank = (double)total * quantile;
	for (uint32_t i = 0; i < IPQ_HISTOGRAM_BUCKETS && total; i++) {
		seen += histogram->buckets[i];
		if (histogram->buckets[i] && (double)seen >= rank)
			return (ipq_histogram_least(i) + ipq_histogram_least(i + 1)) / 2;
	}
	return 0;
}
