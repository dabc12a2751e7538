/* What was done with the connections that a script reads, in words. */
#ifndef HOST_STREAMS_H
#define HOST_STREAMS_H

#include <stdbool.h>

#include "lib/ipq_abi.h"

/* Bytes of the longest text, and its end. */
enum { STREAMS_TEXT_SIZE = 384 };

/* Whether there is anything to tell. */
bool streams_is_any(const struct ipq_counters *counters);

/* "streams: 7 read, 5 edited, 1 one_sided": those that there are. Gives text. */
const char *streams_text(const struct ipq_counters *counters, char text[STREAMS_TEXT_SIZE]);

#endif
