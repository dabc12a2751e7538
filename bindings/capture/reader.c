#include "reader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint16_t ipq_reader_u16(const struct ipq_reader *reader, const uint8_t *p)
{
	uint16_t value;

	memcpy(&value, p, sizeof(value));
	return reader->is_swapped ? __builtin_bswap16(value) : value;
}

uint32_t ipq_reader_u32(const struct ipq_reader *reader, const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return reader->is_swapped ? __builtin_bswap32(value) : value;
}

bool ipq_reader_need(struct ipq_reader *reader, size_t len, bool may_read, enum ipq_read *why)
{
	struct ipq_input *input = &reader->input;

	if (ipq_input_left(input) >= len)
		return true;
	*why = IPQ_READ_MORE;
	if (!may_read)
		return false;
	if (ipq_input_read(input, len))
		return true;
	if (input->is_interrupted)
		*why = IPQ_READ_INTERRUPTED;
	else if (input->fault)
		*why = ipq_reader_damaged(reader, "%s", input->fault);
	else if (ipq_input_left(input) == 0)
		*why = IPQ_READ_END;
	else
		*why = ipq_reader_damaged(reader, "it ends in the middle of frame %llu",
					  (unsigned long long)reader->number + 1);
	return false;
}

bool ipq_reader_add(struct ipq_reader *reader, const struct ipq_interface *interface)
{
	struct ipq_interface *interfaces;
	uint32_t room = reader->interface_room ? reader->interface_room * 2 : 4;

	if (reader->interface_count == reader->interface_room) {
		interfaces = room <= UINT16_MAX
				     ? realloc(reader->interfaces, room * sizeof(*interfaces))
				     : NULL;
		if (!interfaces) {
			ipq_reader_damaged(reader, "it has more interfaces than can be kept");
			return false;
		}
		reader->interfaces = interfaces;
		reader->interface_room = room;
	}
	reader->interfaces[reader->interface_count++] = *interface;
	return true;
}

enum ipq_read ipq_reader_damaged(struct ipq_reader *reader, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reader->text, sizeof(reader->text), format, args);
	va_end(args);
	return IPQ_READ_DAMAGED;
}

/* What it is that is no capture. */
static void tell_format(struct ipq_reader *reader, const char *path)
{
	const struct ipq_input *input = &reader->input;
	const char *program = ipq_input_decompressor(ipq_input_at(input), ipq_input_left(input));

	if (input->fault)
		snprintf(reader->text, sizeof(reader->text), "cannot read the capture %s: %s", path,
			 input->fault);
	else if (ipq_input_left(input) == 0)
		snprintf(reader->text, sizeof(reader->text), "%s is no capture: it is empty", path);
	else if (program)
		snprintf(reader->text, sizeof(reader->text),
			 "%s is compressed: %s %s | ipq-lua -r - ...", path, program, path);
	else
		snprintf(reader->text, sizeof(reader->text),
			 "%s is no capture: neither pcap nor pcapng; editcap(1) makes one of what "
			 "other programs write",
			 path);
}

bool ipq_reader_open(struct ipq_reader *reader, const char *path, uint32_t sections,
		     bool *is_missing)
{
	int ret;

	*reader = (struct ipq_reader){.section = sections};
	ret = ipq_input_open(&reader->input, path);
	*is_missing = ret < 0;
	if (ret < 0) {
		snprintf(reader->text, sizeof(reader->text), "cannot read the capture %s: %s", path,
			 strerror(-ret));
		return false;
	}
	reader->is_ng = ipq_pcapng_begin(reader);
	if (reader->is_ng || ipq_pcap_begin(reader))
		return true;
	tell_format(reader, path);
	*is_missing = reader->input.fault != NULL;
	ipq_input_close(&reader->input);
	return false;
}

void ipq_reader_close(struct ipq_reader *reader)
{
	ipq_input_close(&reader->input);
	free(reader->interfaces);
	reader->interfaces = NULL;
	reader->interface_count = 0;
	reader->interface_room = 0;
}

enum ipq_read ipq_reader_next(struct ipq_reader *reader, struct ipq_frame *frame, bool may_read)
{
	return reader->is_ng ? ipq_pcapng_next(reader, frame, may_read)
			     : ipq_pcap_next(reader, frame, may_read);
}
