/* Writing DNS messages. */
#include "dns.h"
#include "lib/bytes.h"

#include <errno.h>

enum { LABEL_MOST = 63, POINTER = 0xc000, FAR = 0x3fff };

void ipq_dns_begin(struct ipq_dns_writer *writer)
{
	writer->len = IPQ_DNS_HEADER;
	writer->is_full = 0;
	writer->count = 0;
	memset(writer->bytes, 0, IPQ_DNS_HEADER);
}

void ipq_dns_put(struct ipq_dns_writer *writer, const void *bytes, size_t len)
{
	if (len > IPQ_DNS_MOST - writer->len) {
		writer->is_full = 1;
		return;
	}
	memcpy(writer->bytes + writer->len, bytes, len);
	writer->len += (uint32_t)len;
}

void ipq_dns_put16(struct ipq_dns_writer *writer, uint32_t value)
{
	uint8_t bytes[2];

	ipq_store16(bytes, value);
	ipq_dns_put(writer, bytes, sizeof(bytes));
}

void ipq_dns_put32(struct ipq_dns_writer *writer, uint32_t value)
{
	uint8_t bytes[4];

	ipq_store32(bytes, value);
	ipq_dns_put(writer, bytes, sizeof(bytes));
}

/* Takes note of the names that a name of size bytes is of, from each of its labels on. */
static void remember(struct ipq_dns_writer *writer, uint32_t at, uint32_t size)
{
	while (size > 1 && writer->count < IPQ_DNS_SUFFIXES && at <= FAR) {
		uint32_t label = writer->bytes[at] + 1U;

		if (label > LABEL_MOST + 1 || label >= size)
			return;
		writer->at[writer->count] = (uint16_t)at;
		writer->size[writer->count++] = (uint16_t)size;
		at += label;
		size -= label;
	}
}

int ipq_dns_begin_with(struct ipq_dns_writer *writer, const struct ipq_dns *message)
{
	int32_t end = ipq_dns_section(message, 1);
	uint32_t at = IPQ_DNS_HEADER;

	if (end < 0)
		return end;
	ipq_dns_begin(writer);
	memcpy(writer->bytes, message->bytes, (size_t)end);
	writer->len = (uint32_t)end;
	if (message->counts[0] == 0)
		return 0;
	while (message->bytes[at] && message->bytes[at] <= LABEL_MOST)
		at += message->bytes[at] + 1U;
	if (message->bytes[at] == 0)
		remember(writer, IPQ_DNS_HEADER, at + 1 - IPQ_DNS_HEADER);
	return 0;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* Whether the name of size bytes is the one that is written at an offset, which may end by
 * referring to another one that is written. */
static bool is_same(const struct ipq_dns_writer *writer, uint32_t at, const uint8_t *name,
		    uint32_t size)
{
	for (uint32_t i = 0; i < size;) {
		uint32_t label = name[i] + 1U;

		if (writer->bytes[at] > LABEL_MOST) {
			at = ipq_load16(writer->bytes + at) & FAR;
			continue;
		}
		for (uint32_t j = 0; j < label; j++)
			if (lower(writer->bytes[at + j]) != lower(name[i + j]))
				return false;
		at += label;
		i += label;
	}
	return true;
}

/* Where the name of size bytes is written; 0 where it is not. */
static uint32_t find(const struct ipq_dns_writer *writer, const uint8_t *name, uint32_t size)
{
	for (uint32_t i = 0; i < writer->count; i++)
		if (writer->size[i] == size && is_same(writer, writer->at[i], name, size))
			return writer->at[i];
	return 0;
}

/* A byte of a name's text, or what stands for one. Gives where the next one begins, or NULL. */
static const char *read_byte(const char *text, const char *end, uint8_t *byte)
{
	uint32_t value = 0;

	*byte = (uint8_t)*text;
	if (*text != '\\')
		return text + 1;
	if (end - text < 4)
		return NULL;
	for (int i = 1; i < 4; i++) {
		if (text[i] < '0' || text[i] > '9')
			return NULL;
		value = value * 10 + (uint32_t)(text[i] - '0');
	}
	*byte = (uint8_t)value;
	return value > 255 ? NULL : text + 4;
}

/* The bytes of a name, at most IPQ_DNS_NAME_WIRE. Gives how many, or the error. */
static int name_bytes(uint8_t name[IPQ_DNS_NAME_WIRE], const char *text, size_t len)
{
	const char *end = text + len;
	uint32_t label = 0, size = 1;

	if (len == 1 && *text == '.')
		end = text;
	while (text && text < end) {
		uint8_t byte;

		if (*text == '.') {
			if (size == label + 1)
				return -EINVAL;
			name[label] = (uint8_t)(size - label - 1);
			label = size++;
			text++;
			if (size > IPQ_DNS_NAME_WIRE)
				return -ENAMETOOLONG;
			continue;
		}
		text = read_byte(text, end, &byte);
		if (size - label > LABEL_MOST || size >= IPQ_DNS_NAME_WIRE)
			return -ENAMETOOLONG;
		name[size++] = byte;
	}
	if (!text)
		return -EINVAL;
	name[label] = (uint8_t)(size - label - 1);
	if (name[label] == 0)
		return (int)size;
	if (size >= IPQ_DNS_NAME_WIRE)
		return -ENAMETOOLONG;
	name[size++] = 0;
	return (int)size;
}

int ipq_dns_put_name(struct ipq_dns_writer *writer, const char *text, size_t len, bool compress)
{
	uint8_t name[IPQ_DNS_NAME_WIRE];
	int ret = name_bytes(name, text, len);
	uint32_t size = (uint32_t)ret, first = writer->len, done = 0, found = 0;

	if (ret < 0)
		return ret;
	while (compress && size - done > 1) {
		found = find(writer, name + done, size - done);
		if (found)
			break;
		done += name[done] + 1U;
	}
	ipq_dns_put(writer, name, found ? done : size);
	if (found)
		ipq_dns_put16(writer, POINTER | found);
	if (compress && !writer->is_full)
		remember(writer, first, size);
	return 0;
}

/* What names in a record's data are behind: "2" and "4" are so many bytes, "s" is a string with its
 * length, "n" a name. The rest is as it is. Those types alone may have compressed names. */
static const char *layout_of(uint16_t type)
{
	switch (type) {
	case 2:			  /* NS */
	case 3:			  /* MD */
	case 4:			  /* MF */
	case 5:			  /* CNAME */
	case 7:			  /* MB */
	case 8:			  /* MG */
	case 9:			  /* MR */
	case 12:		  /* PTR */
	case 39: return "n";	  /* DNAME */
	case 6:			  /* SOA */
	case 14:		  /* MINFO */
	case 17: return "nn";	  /* RP */
	case 15:		  /* MX */
	case 18:		  /* AFSDB */
	case 21:		  /* RT */
	case 36: return "2n";	  /* KX */
	case 26: return "2nn";	  /* PX */
	case 33: return "222n";	  /* SRV */
	case 35: return "22sssn"; /* NAPTR */
	default: return "";
	}
}

/* Writes a name of a message's, as it is there, uncompressed. Gives the offset behind it. */
static int32_t put_name_of(struct ipq_dns_writer *writer, const struct ipq_dns *message,
			   uint32_t at, uint32_t end)
{
	char text[IPQ_DNS_NAME_TEXT];
	uint32_t len;
	int32_t behind = ipq_dns_name(message, at, end, text, &len);

	if (behind >= 0)
		ipq_dns_put_name(writer, text, len, false);
	return behind;
}

int ipq_dns_put_data(struct ipq_dns_writer *writer, const struct ipq_dns *message,
		     const struct ipq_dns_record *record)
{
	uint32_t at = record->data, end = record->data + record->data_len;

	for (const char *part = layout_of(record->type); *part; part++) {
		uint32_t size = *part == '2' ? 2 : 0;

		if (*part == 'n') {
			int32_t behind = put_name_of(writer, message, at, end);

			if (behind < 0)
				return behind;
			at = (uint32_t)behind;
			continue;
		}
		if (*part == 's')
			size = at < end ? message->bytes[at] + 1U : 1;
		if (end - at < size)
			return -IPQ_DNS_DATA;
		ipq_dns_put(writer, message->bytes + at, size);
		at += size;
	}
	ipq_dns_put(writer, message->bytes + at, end - at);
	return 0;
}
