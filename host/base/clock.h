/* CLOCK_MONOTONIC */
#ifndef HOST_CLOCK_H
#define HOST_CLOCK_H

#include <stdint.h>

int64_t clock_ms(void);
double clock_seconds(void);

#endif
