/* What became of a packet, as a line: for programs, and for people. */
#include "core_calls.h"
#include "lib/json.h"
#include "lib/packet/packet.h"
#include "lib/queue/queue.h"
#include "lib/send/send.h"
#include "lib/text.h"

#include <stdbool.h>
#include <time.h>

static char *put_verdict(char *to, const struct ipq_packet *packet)
{
	return to + ipq_judged_text(packet, to);
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

static char *put_time(char *to, const struct ipq_packet *packet)
{
	to = ipq_put_number(ipq_put_text(to, "\"time\":\""), packet->timestamp_sec);
	return ipq_put_padded(ipq_put_text(to, "."), packet->timestamp_usec, 6);
}

/* What a packet is called needs no escape. */
size_t ipq_record_json(struct ipq_packet *packet, const char *why, size_t why_len, char *to)
{
	char *at = to;

	at = ipq_put_number(ipq_put_text(at, "{\"number\":"), packet->packet_id);
	at = put_time(ipq_put_text(at, ","), packet);
	at = put_verdict(ipq_put_text(at, "\",\"verdict\":\""), packet);
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
	at = put_verdict(ipq_put_text(at, "  "), packet);
	if (is_changed(packet))
		at = ipq_put_text(at, ", changed");
	if (packet->set & IPQ_SET_MARK)
		at = ipq_put_hex(ipq_put_text(at, ", mark 0x"), packet->mark, 1);
	if (why)
		at = put_first_line(ipq_put_text(at, ", error: "), why, why_len);
	*at++ = '\n';
	return (size_t)(at - to);
}

/* What was sent */

enum { US = 1000000 };

/* As a packet of a capture: with its bytes and its time. */
static struct ipq_packet packet_of(const struct ipq_sent *sent)
{
	return (struct ipq_packet){
		.data = sent->data,
		.data_len = sent->len,
		.len = sent->len,
		.packet_id = sent->cause_id,
		.timestamp_sec = (uint64_t)sent->time_us / US,
		.timestamp_usec = (uint64_t)sent->time_us % US,
	};
}

static char *put_sent_json(char *to, struct ipq_packet *packet, bool has_cause)
{
	to = ipq_put_text(to, "{");
	if (has_cause) {
		to = ipq_put_number(ipq_put_text(to, "\"number\":"), packet->packet_id);
		to = ipq_put_text(to, ",");
	}
	to = ipq_put_text(put_time(to, packet), "\",\"sent\":true,\"packet\":\"");
	to += ipq_packet_summary(packet, to);
	return ipq_put_text(to, "\"}\n");
}

static char *put_sent_line(char *to, struct ipq_packet *packet)
{
	to = put_clock(to, packet);
	to += ipq_packet_summary(packet, to);
	return ipq_put_text(to, "  sent\n");
}

size_t ipq_record_sent(struct ipq_sent *sent, bool is_json, char *to)
{
	struct ipq_packet packet = packet_of(sent);

	sent->is_told = 1;
	return (size_t)((is_json ? put_sent_json(to, &packet, sent->has_cause)
				 : put_sent_line(to, &packet)) -
			to);
}

/* Which of what was sent has the packet, or no packet, for its cause; and is not told of. */
static bool is_to_tell(const struct ipq_sent *sent, const struct ipq_packet *cause)
{
	if (sent->is_told)
		return false;
	return cause ? sent->has_cause && sent->cause_id == cause->packet_id : !sent->has_cause;
}

struct ipq_sent *ipq_record_next(struct ipq_outbox *outbox, const struct ipq_packet *cause)
{
	for (uint32_t i = outbox->told; i < outbox->count; i++) {
		struct ipq_sent *sent = &outbox->sent[i];

		if (is_to_tell(sent, cause))
			return sent;
		if (sent->is_told && i == outbox->told)
			outbox->told++;
	}
	return NULL;
}

void ipq_record_rest(struct ipq_outbox *outbox, bool is_json)
{
	char line[IPQ_RECORD_SIZE];

	for (uint32_t i = outbox->told; i < outbox->count; i++)
		if (!outbox->sent[i].is_told)
			ipq_stdout_write(line, ipq_record_sent(&outbox->sent[i], is_json, line));
}
