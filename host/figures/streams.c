#include "streams.h"
#include "lib/stream/stream.h"

#include <inttypes.h>
#include <stdio.h>

bool streams_is_any(const struct ipq_counters *counters)
{
	for (uint32_t i = 0; i < IPQ_STREAMS_COUNTS; i++)
		if (counters->streams[i])
			return true;
	return false;
}

/* Each number has 20 digits at most, and each word less: there is room for all. */
const char *streams_text(const struct ipq_counters *counters, char text[STREAMS_TEXT_SIZE])
{
	const char *separator = ":";
	int at = snprintf(text, STREAMS_TEXT_SIZE, "streams");

	for (uint32_t i = 0; i < IPQ_STREAMS_COUNTS; i++) {
		if (!counters->streams[i])
			continue;
		at += snprintf(text + at, (size_t)(STREAMS_TEXT_SIZE - at), "%s %" PRIu64 " %s",
			       separator, counters->streams[i], ipq_streams_word(i));
		separator = ",";
	}
	return text;
}
