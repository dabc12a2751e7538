#include "clock.h"
#include "lib/clock.h"

int64_t clock_ms(void)
{
	return ipq_monotonic_ns() / 1000000;
}

double clock_seconds(void)
{
	return (double)ipq_monotonic_ns() * 1e-9;
}
