/* A packet's line, and the records of what became of it: within their memory, each one line, and
 * nothing in them that a terminal would obey, whatever the bytes and the error say. */
#include "fuzz.h"
#include "bindings/core_calls.h"
#include "lib/utf8.h"

#include <stdbool.h>
#include <linux/netfilter.h>

static void ascii_check(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		CHECK(text[i] >= ' ' && text[i] < 0x7f);
}

/* Ends with its only newline, and is text. */
static void line_check(const char *text, size_t len)
{
	size_t size;

	CHECK(len > 0 && text[len - 1] == '\n');
	for (size_t at = 0; at < len - 1; at += size) {
		size = ipq_utf8_printable((const uint8_t *)text + at, len - 1 - at);
		CHECK(size > 0);
	}
}

static void summary_check(struct ipq_packet *packet)
{
	char *text = own("", IPQ_SUMMARY_SIZE);

	ascii_check(text, ipq_packet_summary(packet, text));
	free(text);
}

typedef size_t record(struct ipq_packet *packet, const char *why, size_t why_len, char *to);

static void record_check(record *make, struct ipq_packet *packet, const char *why, size_t why_len)
{
	char *text = malloc(IPQ_RECORD_SIZE + IPQ_RECORD_ESCAPE * why_len);

	CHECK(text);
	line_check(text, make(packet, why, why_len, text));
	free(text);
}

/* As a filter changes it. */
static void change(struct ipq_packet *packet, struct input *in)
{
	uint16_t offset = take16(in), len = take8(in);
	size_t new_len = take8(in);
	const uint8_t *bytes = take(in, &new_len);

	(void)ipq_rewrite_replace(packet, offset, len, bytes, (uint32_t)new_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const uint16_t types[] = {0x0800, 0x86dd, 0x0806, 0x8100};
	struct input in = {bytes, len};
	uint8_t flags = take8(&in);
	size_t why_len = take8(&in), data_len = take16(&in);
	const char *why = (const char *)take(&in, &why_len);
	const uint8_t *data = take(&in, &data_len);
	struct ipq_packet packet = {
		.family = flags & 1 ? NFPROTO_BRIDGE : take8(&in),
		.hw_protocol = types[flags >> 1 & 3],
		.present = flags & 8 ? IPQ_HAS_PAYLOAD : 0,
		.data_len = (uint32_t)data_len,
		.len = (uint32_t)data_len + (flags & 16 ? take16(&in) : 0),
		.verdict = take16(&in) | (uint32_t)take8(&in) << 16,
		.set = take8(&in),
		.mark = flags & 32 ? UINT32_MAX : 7,
		.packet_id = flags & 32 ? UINT32_MAX : 1,
		.timestamp_sec = flags & 64 ? UINT64_MAX : 1700000000,
		.timestamp_usec = flags & 64 ? UINT64_MAX : 1,
	};
	void *sent = own(why, why_len);

	packet.data = own(data, data_len);
	packet.spare = malloc(IPQ_PACKET_MAX);
	data = packet.data;
	CHECK(packet.spare);
	summary_check(&packet);
	if (flags & 128)
		change(&packet, &in);
	summary_check(&packet);
	record_check(ipq_record_json, &packet, why_len ? sent : NULL, why_len);
	record_check(ipq_record_print, &packet, why_len ? sent : NULL, why_len);
	free(sent);
	free((void *)(uintptr_t)data);
	free(packet.spare);
	return 0;
}
