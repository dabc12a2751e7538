/* Reading DNS messages. */
#include "dns.h"
#include "lib/bytes.h"
#include "lib/packet/packet.h"

#include <netinet/in.h>

enum { POINTER = 0xc0, LABEL_MOST = 63, OPT = 41 };

/* A byte as it stands in a name's text; 0 where it is escaped. */
static char plain(uint8_t byte)
{
	if (byte <= ' ' || byte > '~' || byte == '.' || byte == '\\')
		return 0;
	return (char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
}

static char *put_label(char *to, const uint8_t *label, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = label[i];
		char c = plain(byte);

		if (c) {
			*to++ = c;
			continue;
		}
		*to++ = '\\';
		*to++ = (char)('0' + byte / 100);
		*to++ = (char)('0' + byte / 10 % 10);
		*to++ = (char)('0' + byte % 10);
	}
	return to;
}

int32_t ipq_dns_name(const struct ipq_dns *message, uint32_t at, uint32_t end, char *text,
		     uint32_t *text_len)
{
	const uint8_t *bytes = message->bytes;
	uint32_t before = at, behind = 0, wire = 1;
	char *to = text;

	for (;;) {
		uint8_t size;

		if (at >= end)
			return -IPQ_DNS_CUT;
		size = bytes[at];
		if (size == 0)
			break;
		if (size >= POINTER) {
			uint32_t target;

			if (end - at < 2)
				return -IPQ_DNS_CUT;
			target = ipq_load16(bytes + at) & 0x3fff;
			if (target >= before || target < IPQ_DNS_HEADER)
				return -IPQ_DNS_LOOP;
			if (!behind)
				behind = at + 2;
			before = at = target;
			end = message->len;
			continue;
		}
		if (size > LABEL_MOST)
			return -IPQ_DNS_LABEL;
		if (end - at <= size)
			return -IPQ_DNS_CUT;
		wire += size + 1U;
		if (wire > IPQ_DNS_NAME_WIRE)
			return -IPQ_DNS_LONG;
		if (to > text)
			*to++ = '.';
		to = put_label(to, bytes + at + 1, size);
		at += size + 1U;
	}
	if (to == text)
		*to++ = '.';
	*text_len = (uint32_t)(to - text);
	return (int32_t)(behind ? behind : at + 1);
}

/* Type, class and, of a record, the rest, behind the name. */
static int32_t read_fields(const struct ipq_dns *message, uint32_t at, bool is_question,
			   struct ipq_dns_record *record)
{
	const uint8_t *p = message->bytes + at;
	uint32_t size = is_question ? 4 : 10;

	if (message->len - at < size)
		return -IPQ_DNS_CUT;
	record->type = ipq_load16(p);
	record->class = ipq_load16(p + 2);
	record->ttl = is_question ? 0 : ipq_load32(p + 4);
	record->data = at + size;
	record->data_len = is_question ? 0 : ipq_load16(p + 8);
	if (message->len - record->data < record->data_len)
		return -IPQ_DNS_CUT;
	return (int32_t)(record->data + record->data_len);
}

int32_t ipq_dns_question(const struct ipq_dns *message, uint32_t at, struct ipq_dns_record *record)
{
	int32_t behind = ipq_dns_name(message, at, message->len, record->name, &record->name_len);

	return behind < 0 ? behind : read_fields(message, (uint32_t)behind, true, record);
}

int32_t ipq_dns_record(const struct ipq_dns *message, uint32_t at, struct ipq_dns_record *record)
{
	int32_t behind = ipq_dns_name(message, at, message->len, record->name, &record->name_len);

	return behind < 0 ? behind : read_fields(message, (uint32_t)behind, false, record);
}

/* The offset behind a name, of which what it refers to is not looked at; or the error. */
static int32_t skip_name(const struct ipq_dns *message, uint32_t at)
{
	for (;;) {
		uint8_t size;

		if (at >= message->len)
			return -IPQ_DNS_CUT;
		size = message->bytes[at];
		if (size == 0)
			return (int32_t)at + 1;
		if (size >= POINTER)
			return message->len - at < 2 ? -IPQ_DNS_CUT : (int32_t)at + 2;
		if (size > LABEL_MOST)
			return -IPQ_DNS_LABEL;
		if (message->len - at <= size)
			return -IPQ_DNS_CUT;
		at += size + 1U;
	}
}

int32_t ipq_dns_section(const struct ipq_dns *message, uint32_t section)
{
	uint32_t at = IPQ_DNS_HEADER, size;

	for (uint32_t which = 0; which < section; which++)
		for (uint32_t i = 0; i < message->counts[which]; i++) {
			int32_t behind = skip_name(message, at);

			if (behind < 0)
				return behind;
			at = (uint32_t)behind;
			size = which == 0 ? 4 : 10;
			if (message->len - at < size)
				return -IPQ_DNS_CUT;
			if (which > 0)
				size += ipq_load16(message->bytes + at + 8);
			if (message->len - at < size)
				return -IPQ_DNS_CUT;
			at += size;
		}
	return (int32_t)at;
}

bool ipq_dns_edns(const struct ipq_dns *message, uint32_t *size, uint32_t *flags)
{
	uint32_t count = message->counts[IPQ_DNS_SECTIONS - 1];
	int32_t at = count ? ipq_dns_section(message, IPQ_DNS_SECTIONS - 1) : -1;
	struct ipq_dns_record record;

	for (; count > 0 && at >= 0; count--) {
		at = ipq_dns_record(message, (uint32_t)at, &record);
		if (at >= 0 && record.type == OPT) {
			*size = record.class;
			*flags = record.ttl;
			return true;
		}
	}
	return false;
}

/* Which of the names that are kept a name would take the place of. */
static uint32_t slot_of(const char *name, size_t len)
{
	uint64_t hash = len, word;

	for (; len >= sizeof(word); name += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, name, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15;
	}
	word = 0;
	memcpy(&word, name, len);
	hash = (hash ^ word) * 0x9e3779b97f4a7c15;
	return (uint32_t)(hash >> 32) % IPQ_DNS_NAME_SLOTS;
}

static int read_head(struct ipq_dns *message)
{
	const uint8_t *p = message->bytes;
	uint32_t name_len;
	int32_t behind;

	message->id = ipq_load16(p);
	message->flags = ipq_load16(p + 2);
	for (uint32_t i = 0; i < IPQ_DNS_SECTIONS; i++)
		message->counts[i] = ipq_load16(p + 4 + i * sizeof(uint16_t));
	message->type = 0;
	message->class = 0;
	message->name_len = 0;
	if (message->counts[0] == 0)
		return 0;
	behind = ipq_dns_name(message, IPQ_DNS_HEADER, message->len, message->name, &name_len);
	if (behind < 0)
		return behind;
	if (message->len - (uint32_t)behind < 4)
		return -IPQ_DNS_CUT;
	message->type = ipq_load16(p + behind);
	message->class = ipq_load16(p + behind + 2);
	message->name_len = (uint16_t)name_len;
	message->slot = slot_of(message->name, name_len);
	return 0;
}

int ipq_dns_parse(struct ipq_dns *message, const uint8_t *bytes, size_t len)
{
	int ret;

	message->serial++;
	message->len = 0;
	if (len < IPQ_DNS_HEADER)
		return -IPQ_DNS_SHORT;
	if (len > IPQ_DNS_MOST)
		return -IPQ_DNS_LARGE;
	memcpy(message->bytes, bytes, len);
	message->len = (uint32_t)len;
	ret = read_head(message);
	if (ret < 0)
		message->len = 0;
	return ret;
}

int ipq_dns_parse_packet(struct ipq_dns *message, struct ipq_packet *packet)
{
	if (!packet->parsed)
		ipq_header_parse(packet);
	if (packet->protocol != IPPROTO_UDP || !packet->l4 || packet->end < packet->body)
		return -IPQ_DNS_NO_UDP;
	return ipq_dns_parse(message, packet->data + packet->body,
			     (size_t)(packet->end - packet->body));
}

const char *ipq_dns_strerror(int error)
{
	switch (-error) {
	case IPQ_DNS_NO_UDP: return "the packet carries no UDP";
	case IPQ_DNS_SHORT: return "there is no whole DNS header";
	case IPQ_DNS_LARGE: return "there are more bytes than a DNS message has";
	case IPQ_DNS_CUT: return "the message ends within a name, a question or a record";
	case IPQ_DNS_LABEL: return "a label is of a kind that there is not";
	case IPQ_DNS_LOOP: return "a name refers to what is not before it";
	case IPQ_DNS_LONG: return "a name has more than 255 bytes";
	default: return "the data of a record is not what its type wants";
	}
}
