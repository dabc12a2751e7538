/* DNS messages: all of them that can be read is read, and written again. */
#include "fuzz.h"

#include "lib/names/dns.h"

/* The bytes of a name, written from its text, are read as that text again. */
static void write_name(const char *text, uint32_t len)
{
	static struct ipq_dns_writer writer;
	static struct ipq_dns message;
	char again[IPQ_DNS_NAME_TEXT];
	uint32_t again_len;
	int32_t behind;

	ipq_dns_begin(&writer);
	CHECK(ipq_dns_put_name(&writer, text, len, true) == 0);
	CHECK(ipq_dns_put_name(&writer, text, len, true) == 0);
	CHECK(!writer.is_full && writer.len <= IPQ_DNS_HEADER + IPQ_DNS_NAME_WIRE + 2);
	CHECK(ipq_dns_parse(&message, writer.bytes, writer.len) == 0);
	behind = ipq_dns_name(&message, IPQ_DNS_HEADER, message.len, again, &again_len);
	CHECK(behind > 0 && again_len == len && memcmp(again, text, len) == 0);
	behind = ipq_dns_name(&message, (uint32_t)behind, message.len, again, &again_len);
	CHECK(behind == (int32_t)message.len && again_len == len && memcmp(again, text, len) == 0);
}

/* Whether all of a section can be read, which is written behind what there is. */
static bool read_section(const struct ipq_dns *message, uint32_t section,
			 struct ipq_dns_writer *writer)
{
	int32_t at = ipq_dns_section(message, section);
	struct ipq_dns_record record;

	for (uint32_t i = 0; i < message->counts[section] && at >= 0; i++) {
		CHECK((uint32_t)at <= message->len);
		at = section ? ipq_dns_record(message, (uint32_t)at, &record)
			     : ipq_dns_question(message, (uint32_t)at, &record);
		if (at < 0)
			return false;
		CHECK(record.name_len > 0 && record.name_len < IPQ_DNS_NAME_TEXT);
		CHECK(record.data <= message->len && record.data_len <= message->len - record.data);
		if (i < 8)
			write_name(record.name, record.name_len);
		ipq_dns_put_name(writer, record.name, record.name_len, true);
		if (section && ipq_dns_put_data(writer, message, &record) < 0)
			return false;
	}
	return at >= 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct ipq_dns message;
	static struct ipq_dns_writer writer;
	uint8_t *copy = own(bytes, len);
	uint32_t size, flags;
	int ret = ipq_dns_parse(&message, copy, len);

	free(copy);
	if (ret < 0) {
		CHECK(message.len == 0 && *ipq_dns_strerror(ret));
		return 0;
	}
	CHECK(message.slot < IPQ_DNS_NAME_SLOTS || !message.counts[0]);
	if (ipq_dns_edns(&message, &size, &flags))
		CHECK(size <= UINT16_MAX && message.counts[IPQ_DNS_SECTIONS - 1] > 0);
	if (ipq_dns_begin_with(&writer, &message) < 0)
		ipq_dns_begin(&writer);
	else
		CHECK(memcmp(writer.bytes, message.bytes, writer.len) == 0);
	for (uint32_t section = 0; section < IPQ_DNS_SECTIONS; section++)
		if (!read_section(&message, section, &writer))
			break;
	CHECK(writer.len <= IPQ_DNS_MOST);
	return 0;
}
