#include "sent.h"
#include "lib/send/send.h"

#include <inttypes.h>
#include <stdio.h>

uint64_t sent_not(const struct ipq_counters *counters)
{
	uint64_t sum = 0;

	for (int reason = 1; reason < IPQ_UNSENT_REASONS; reason++)
		sum += counters->unsent[reason];
	return sum;
}

bool sent_is_any(const struct ipq_counters *counters)
{
	return counters->sent || counters->rejected || sent_not(counters);
}

/* Each number has 20 digits at most, and each word less: there is room for all. */
const char *sent_text(const struct ipq_counters *counters, char text[SENT_TEXT_SIZE])
{
	const char *separator = " (";
	int at = snprintf(text, SENT_TEXT_SIZE,
			  "%" PRIu64 " packets sent, %" PRIu64 " rejects, %" PRIu64 " not sent",
			  counters->sent, counters->rejected, sent_not(counters));

	for (int reason = 1; reason < IPQ_UNSENT_REASONS; reason++) {
		if (!counters->unsent[reason])
			continue;
		at += snprintf(text + at, (size_t)(SENT_TEXT_SIZE - at), "%s%s %" PRIu64, separator,
			       ipq_unsent_word(reason), counters->unsent[reason]);
		separator = ", ";
	}
	if (sent_not(counters))
		snprintf(text + at, (size_t)(SENT_TEXT_SIZE - at), ")");
	return text;
}

const char *sent_why_not(int reason)
{
	switch (reason) {
	case IPQ_UNSENT_RULE: return "the RFCs forbid answers to such packets";
	case IPQ_UNSENT_RATE:
		return "they are more rejects a second than --reject-rate allows; what helps: a "
		       "larger number there";
	case IPQ_UNSENT_ROOM:
		return "a batch has sent more than 1,024 packets or 8 MiB, which is the most; send "
		       "less for each packet";
	case IPQ_UNSENT_MALFORMED:
		return "they are no whole IP packets, or their headers are malformed; ipq.send() "
		       "tells the script";
	case IPQ_UNSENT_LENGTH:
		return "they are too large for their way, and may not be cut; what helps: smaller "
		       "ones, or pkt.ip.df = false";
	case IPQ_UNSENT_BUFFER:
		return "the kernel had no room for them: the interface that they leave by is "
		       "slower than the filter; send less, or make its queue longer "
		       "(ip link set DEV txqueuelen N)";
	case IPQ_UNSENT_ROUTE: return "there is no way to their destination (ip route get ADDRESS)";
	default:
		return "the kernel refuses them, as a rule of the OUTPUT hook that drops them "
		       "would; "
		       "look for one that matches them (nft list ruleset)";
	}
}
