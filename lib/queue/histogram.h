/* How often values of what size were seen. */
#ifndef IPQ_HISTOGRAM_H
#define IPQ_HISTOGRAM_H

#include "lib/ipq_abi.h"

/* The least value of a bucket. That of the next one, exclusive, is the end of it; the last bucket
 * takes all that are too large. */
uint64_t ipq_histogram_least(uint32_t bucket);

/* Counts count values, not 0, whose sum is known: each is taken for the mean. */
void ipq_histogram_add(struct ipq_histogram *histogram, uint64_t sum, uint32_t count);
/* Adds what another one has. */
void ipq_histogram_join(struct ipq_histogram *histogram, const struct ipq_histogram *more);
/* Leaves what was counted since before, a copy of the same histogram. */
void ipq_histogram_subtract(struct ipq_histogram *histogram, const struct ipq_histogram *before);

/* The value that so much of all (0.5 for half of it) is not above: the middle of its bucket, which
 * is less than 1/16 from it. 0 where nothing was counted. */
uint64_t ipq_histogram_quantile(const struct ipq_histogram *histogram, double quantile);

#endif
