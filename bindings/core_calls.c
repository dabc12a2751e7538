#include "core_calls.h"
#include "lib/clock.h"

#include <string.h>

double ipq_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

double ipq_monotonic_us(void)
{
	/* NOLINTNEXTLINE(bugprone-integer-division): whole microseconds */
	return (double)(ipq_monotonic_ns() / 1000);
}

int ipq_find(const uint8_t *haystack, uint32_t haystack_len, const char *needle,
	     uint32_t needle_len)
{
	const uint8_t *found = memmem(haystack, haystack_len, needle, needle_len);

	return found ? (int)(found - haystack) : -1;
}
