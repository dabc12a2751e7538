/* The time that deadlines and durations are measured by, and that of a packet. */
#ifndef IPQ_CLOCK_H
#define IPQ_CLOCK_H

#include "ipq_abi.h"

#include <stdint.h>
#include <time.h>

static inline int64_t ipq_clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* CLOCK_MONOTONIC in nanoseconds. */
static inline int64_t ipq_monotonic_ns(void)
{
	return ipq_clock_ns(CLOCK_MONOTONIC);
}

/* The same as of the last tick, some milliseconds ago: it costs less. */
static inline int64_t ipq_coarse_ns(void)
{
	return ipq_clock_ns(CLOCK_MONOTONIC_COARSE);
}

/* When the packet came, in microseconds since 1970; 0 where nobody has told. */
static inline int64_t ipq_packet_us(const struct ipq_packet *packet)
{
	return (int64_t)(packet->timestamp_sec * 1000000 + packet->timestamp_usec);
}

#endif
