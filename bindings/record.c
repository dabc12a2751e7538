/* What became of a packet, as a line: for programs, and for people. */
#include "core_calls.h"
#include "lib/json.h"
#include "lib/packet/packet.h"
#include "lib/queue/queue.h"
#include "lib/text.h"

#include <stdbool.h>
#include <time.h>

static char *put_verdict(char *to, uint32_t verdict)
{
	return to + ipq_verdict_text(verdict, to);
}

/* Whether it goes on otherwise than it came. */
static bool is_changed(const struct ipq_packet *packet)
{
	return packet->verdict != IPQ_DROP && packet->set & (IPQ_SET_PAYLOAD | IPQ_SET_LINK);
}

/* JSON */

/* Without the quotes around it. */
static char *put_escaped(char *to, const char *text, size_t len)
{
	const uint8_t *bytes = (const uint8_t *)text;
	char escape[IPQ_JSON_ESCAPE_SIZE];
	size_t size;

	while (len) {
		size = ipq_json_plain(bytes, len);
		memcpy(to, bytes, size);
		to += size;
		bytes += size;
		len -= size;
		if (!len)
			break;
		size = ipq_json_escape(escape, bytes, len);
		to = ipq_put_text(to, escape);
		bytes += size;
		len -= size;
	}
	return to;
}

/* What a packet is called needs no escape. */
size_t ipq_record_json(struct ipq_packet *packet, const char *why, size_t why_len, char *to)
{
	char *at = to;

	at = ipq_put_number(ipq_put_text(at, "{\"number\":"), packet->packet_id);
	at = ipq_put_number(ipq_put_text(at, ",\"time\":\""), packet->timestamp_sec);
	at = ipq_put_padded(ipq_put_text(at, "."), packet->timestamp_usec, 6);
	at = put_verdict(ipq_put_text(at, "\",\"verdict\":\""), packet->verdict);
	at = ipq_put_number(ipq_put_text(at, "\",\"mark\":"), packet->mark);
	at = ipq_put_text(at, ",\"changed\":");
	at = ipq_put_text(at, is_changed(packet) ? "true" : "false");
	at = ipq_put_text(at, ",\"packet\":\"");
	at += ipq_packet_summary(packet, at);
	if (why) {
		at = ipq_put_text(at, "\",\"error\":\"");
		at = put_escaped(at, why, why_len);
	}
	return (size_t)(ipq_put_text(at, "\"}\n") - to);
}

/* Lines for people */

/* A time that no calendar has is taken for one of its first day. */
static char *put_clock(char *to, const struct ipq_packet *packet)
{
	time_t seconds = (time_t)packet->timestamp_sec;
	struct tm time;

	if (!localtime_r(&seconds, &time))
		time = (struct tm){.tm_sec = (int)(packet->timestamp_sec % 60)};
	to = ipq_put_padded(to, (uint64_t)time.tm_hour, 2);
	to = ipq_put_padded(ipq_put_text(to, ":"), (uint64_t)time.tm_min, 2);
	to = ipq_put_padded(ipq_put_text(to, ":"), (uint64_t)time.tm_sec, 2);
	to = ipq_put_padded(ipq_put_text(to, "."), packet->timestamp_usec, 6);
	*to++ = ' ';
	return to;
}

/* The first line of a text that strangers may have written. */
static char *put_first_line(char *to, const char *text, size_t len)
{
	const uint8_t *bytes = (const uint8_t *)text;
	size_t size;

	for (; len && *bytes != '\n'; bytes += size, len -= size) {
		size = ipq_utf8_printable(bytes, len);
		if (size) {
			memcpy(to, bytes, size);
			to += size;
		} else {
			size = 1;
			to = ipq_put_hex(ipq_put_text(to, "\\x"), *bytes, 2);
		}
	}
	return to;
}

size_t ipq_record_print(struct ipq_packet *packet, const char *why, size_t why_len, char *to)
{
	char *at = put_clock(to, packet);

	at += ipq_packet_summary(packet, at);
	at = put_verdict(ipq_put_text(at, "  "), packet->verdict);
	if (is_changed(packet))
		at = ipq_put_text(at, ", changed");
	if (packet->set & IPQ_SET_MARK)
		at = ipq_put_hex(ipq_put_text(at, ", mark 0x"), packet->mark, 1);
	if (why)
		at = put_first_line(ipq_put_text(at, ", error: "), why, why_len);
	*at++ = '\n';
	return (size_t)(at - to);
}
