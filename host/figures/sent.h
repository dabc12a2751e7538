/* What a queue's filters have sent, and what of it did not go out, in words. */
#ifndef HOST_SENT_H
#define HOST_SENT_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/ipq_abi.h"

/* Bytes of the longest text, and its end. */
enum { SENT_TEXT_SIZE = 384 };

/* Whether there is anything to tell. */
bool sent_is_any(const struct ipq_counters *counters);

/* All that was to be sent, and was not. */
uint64_t sent_not(const struct ipq_counters *counters);

/* "7 packets sent, 2 rejects, 4 not sent (rate 3, route 1)". Gives text. */
const char *sent_text(const struct ipq_counters *counters, char text[SENT_TEXT_SIZE]);

/* What is told of count packets that were not sent for that reason (enum ipq_unsent), with what helps,
 * where something does. */
const char *sent_why_not(int reason);

#endif
