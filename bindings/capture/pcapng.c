/* pcapng: sections of blocks, some of which are frames (draft-ietf-opsawg-pcapng). */
#include "pcapng.h"
#include "reader.h"

#include <string.h>

enum {
	RESOLUTION_POWER = 0x7f,
	RESOLUTION_BINARY = 0x80, /* an interface's units are powers of 2 and not of 10 */
	MICROSECONDS = 6
};

bool ipq_pcapng_begin(struct ipq_reader *reader)
{
	struct ipq_input *input = &reader->input;
	uint32_t type, order = 0;
	enum ipq_read why;

	while (!ipq_reader_need(reader, IPQ_PCAPNG_LEAST, true, &why) &&
	       why == IPQ_READ_INTERRUPTED)
		;
	if (ipq_input_left(input) < sizeof(type))
		return false;
	memcpy(&type, ipq_input_at(input), sizeof(type));
	if (ipq_input_left(input) >= IPQ_PCAPNG_LEAST)
		memcpy(&order, ipq_input_at(input) + IPQ_PCAPNG_HEAD, sizeof(order));
	reader->is_swapped = order == IPQ_PCAPNG_ORDER_SWAPPED;
	return type == IPQ_PCAPNG_SECTION;
}

/* The length of a block from its head, which is in memory. A section tells by its header in which
 * byte order it is. False where that is nonsense. */
static bool block_begin(struct ipq_reader *reader, const uint8_t *p, uint32_t *type, uint32_t *len)
{
	uint32_t order;

	memcpy(type, p, sizeof(*type));
	if (*type == IPQ_PCAPNG_SECTION) {
		memcpy(&order, p + IPQ_PCAPNG_HEAD, sizeof(order));
		if (order != IPQ_PCAPNG_ORDER && order != IPQ_PCAPNG_ORDER_SWAPPED)
			return false;
		reader->is_swapped = order == IPQ_PCAPNG_ORDER_SWAPPED;
	}
	*type = ipq_reader_u32(reader, p);
	*len = ipq_reader_u32(reader, p + 4);
	return *len >= (*type == IPQ_PCAPNG_SECTION ? IPQ_PCAPNG_SECTION_LEAST
						    : IPQ_PCAPNG_LEAST) &&
	       *len % 4 == 0 && *len <= IPQ_INPUT_MOST;
}

static uint16_t u16(const uint8_t *p, bool is_swapped)
{
	uint16_t value;

	memcpy(&value, p, sizeof(value));
	return is_swapped ? __builtin_bswap16(value) : value;
}

bool ipq_pcapng_option_next(struct ipq_pcapng_option *option, bool is_swapped, const uint8_t **p,
			    uint32_t *left)
{
	if (*left < IPQ_PCAPNG_OPTION_HEAD)
		return false;
	option->code = u16(*p, is_swapped);
	option->len = u16(*p + 2, is_swapped);
	option->value = *p + IPQ_PCAPNG_OPTION_HEAD;
	option->size = IPQ_PCAPNG_OPTION_HEAD + ((option->len + 3U) & ~3U);
	if (option->code == IPQ_PCAPNG_END || option->size > *left)
		return false;
	*p += option->size;
	*left -= option->size;
	return true;
}

static uint64_t u64(const struct ipq_reader *reader, const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return reader->is_swapped ? __builtin_bswap64(value) : value;
}

static enum ipq_read section_read(struct ipq_reader *reader, const uint8_t *block)
{
	uint16_t major = ipq_reader_u16(reader, block + 12);

	if (major != 1)
		return ipq_reader_damaged(reader, "a section is of version %u, and 1 is known",
					  major);
	reader->section++;
	reader->interface_count = 0;
	return IPQ_READ_BLOCK;
}

static enum ipq_read interface_read(struct ipq_reader *reader, const uint8_t *block, uint32_t len)
{
	struct ipq_interface interface = {.resolution = MICROSECONDS};
	const uint8_t *options = block + IPQ_PCAPNG_INTERFACE_LEAST - IPQ_PCAPNG_TAIL;
	struct ipq_pcapng_option option;

	if (len < IPQ_PCAPNG_INTERFACE_LEAST)
		return ipq_reader_damaged(reader, "interface %u is described by %u bytes",
					  reader->interface_count, len);
	len -= IPQ_PCAPNG_INTERFACE_LEAST;
	interface.link_type = ipq_reader_u16(reader, block + IPQ_PCAPNG_HEAD);
	interface.snaplen = ipq_reader_u32(reader, block + IPQ_PCAPNG_HEAD + 4);
	while (ipq_pcapng_option_next(&option, reader->is_swapped, &options, &len)) {
		if (option.code == IPQ_PCAPNG_TSRESOL && option.len == 1)
			interface.resolution = option.value[0];
		else if (option.code == IPQ_PCAPNG_TSOFFSET && option.len == 8)
			interface.offset = (int64_t)u64(reader, option.value);
	}
	return ipq_reader_add(reader, &interface) ? IPQ_READ_BLOCK : IPQ_READ_DAMAGED;
}

/* Seconds and nanoseconds of a time in units of an interface's. */
static void time_read(struct ipq_frame *frame, const struct ipq_interface *interface)
{
	uint8_t power = interface->resolution & RESOLUTION_POWER;
	uint64_t units = 1, rest;

	if (interface->resolution & RESOLUTION_BINARY) {
		frame->sec = power < 64 ? frame->ticks >> power : 0;
		rest = power < 64 ? frame->ticks - (frame->sec << power) : frame->ticks;
		/* Of what is less than a nanosecond nobody can tell. */
		for (; power > 32; power--)
			rest >>= 1;
		frame->nsec = (uint32_t)(rest * 1000000000 >> power);
	} else {
		/* 10^19 is the largest that fits. */
		for (uint8_t i = 0; i < power && i < 19; i++)
			units *= 10;
		frame->sec = power <= 19 ? frame->ticks / units : 0;
		rest = power <= 19 ? frame->ticks % units : 0;
		for (; power > 9; power--)
			rest /= 10;
		for (; power < 9; power++)
			rest *= 10;
		frame->nsec = (uint32_t)rest;
	}
	frame->sec += (uint64_t)interface->offset;
}

/* The same the other way round, where time_read() makes sense of the units. */
static uint64_t ticks_of(const struct ipq_frame *frame, const struct ipq_interface *interface)
{
	uint8_t power = interface->resolution & RESOLUTION_POWER;
	uint64_t ticks = frame->sec - (uint64_t)interface->offset, part = frame->nsec;

	if (interface->resolution & RESOLUTION_BINARY) {
		if (power > 32)
			return (ticks << 32 | (part << 32) / 1000000000) << (power - 32);
		return ticks << power | (part << power) / 1000000000;
	}
	for (uint8_t i = power; i < 9; i++)
		part /= 10;
	for (uint8_t i = 9; i < power; i++)
		part *= 10;
	for (uint8_t i = 0; i < power; i++)
		ticks *= 10;
	return ticks + part;
}

uint64_t ipq_reader_ticks(const struct ipq_reader *reader, const struct ipq_frame *frame)
{
	const struct ipq_interface *interface = &reader->interfaces[frame->interface];
	uint8_t power;

	if (frame->section != reader->section || frame->interface >= reader->interface_count)
		return frame->ticks;
	power = interface->resolution & RESOLUTION_POWER;
	if (power > (interface->resolution & RESOLUTION_BINARY ? 63 : 19))
		return frame->ticks;
	return ticks_of(frame, interface);
}

static enum ipq_read bad_frame(struct ipq_reader *reader, const char *what)
{
	return ipq_reader_damaged(reader, "frame %llu %s", (unsigned long long)reader->number + 1,
				  what);
}

/* A frame with a time: an Enhanced Packet Block, or its predecessor, which has the number of the
 * interface in 16 bits and that of lost frames behind it. */
static enum ipq_read packet_read(struct ipq_reader *reader, struct ipq_frame *frame,
				 const uint8_t *block, uint32_t len, bool is_old)
{
	const uint8_t *p = block + IPQ_PCAPNG_HEAD;
	uint32_t left, padded;

	if (len < IPQ_PCAPNG_LEAST + IPQ_PCAPNG_PACKET_HEAD)
		return bad_frame(reader, "is a block without room for one");
	frame->interface = is_old ? ipq_reader_u16(reader, p) : ipq_reader_u32(reader, p);
	if (frame->interface >= reader->interface_count)
		return bad_frame(reader, "is of an interface that nothing describes");
	frame->ticks =
		(uint64_t)ipq_reader_u32(reader, p + 4) << 32 | ipq_reader_u32(reader, p + 8);
	frame->caplen = ipq_reader_u32(reader, p + 12);
	frame->len = ipq_reader_u32(reader, p + 16);
	left = len - IPQ_PCAPNG_LEAST - IPQ_PCAPNG_PACKET_HEAD;
	if (frame->caplen > left)
		return bad_frame(reader, "is longer than its block");
	padded = (frame->caplen + 3) & ~3U;
	frame->bytes = p + IPQ_PCAPNG_PACKET_HEAD;
	frame->options = frame->bytes + padded;
	frame->options_len = left - padded;
	frame->link_type = reader->interfaces[frame->interface].link_type;
	time_read(frame, &reader->interfaces[frame->interface]);
	return IPQ_READ_FRAME;
}

/* A frame without a time: a Simple Packet Block, of the first interface. */
static enum ipq_read simple_read(struct ipq_reader *reader, struct ipq_frame *frame,
				 const uint8_t *block, uint32_t len)
{
	uint32_t left = len - IPQ_PCAPNG_LEAST;

	if (left < 4 || reader->interface_count == 0)
		return bad_frame(reader, "is a block without room for one, or has no interface");
	left -= 4;
	frame->len = ipq_reader_u32(reader, block + IPQ_PCAPNG_HEAD);
	frame->caplen = frame->len;
	if (reader->interfaces[0].snaplen && frame->caplen > reader->interfaces[0].snaplen)
		frame->caplen = reader->interfaces[0].snaplen;
	if (frame->caplen > left)
		return bad_frame(reader, "is longer than its block");
	frame->bytes = block + IPQ_PCAPNG_HEAD + 4;
	frame->link_type = reader->interfaces[0].link_type;
	return IPQ_READ_FRAME;
}

static bool is_packet(uint32_t type)
{
	return type == IPQ_PCAPNG_ENHANCED_PACKET || type == IPQ_PCAPNG_OLD_PACKET ||
	       type == IPQ_PCAPNG_SIMPLE_PACKET;
}

static enum ipq_read block_read(struct ipq_reader *reader, struct ipq_frame *frame, uint32_t type,
				const uint8_t *block, uint32_t len)
{
	*frame = (struct ipq_frame){
		.section = reader->section + (type == IPQ_PCAPNG_SECTION),
		.is_swapped = reader->is_swapped,
		.block = block,
		.block_len = len,
	};
	switch (type) {
	case IPQ_PCAPNG_SECTION: return section_read(reader, block);
	case IPQ_PCAPNG_INTERFACE: return interface_read(reader, block, len);
	case IPQ_PCAPNG_ENHANCED_PACKET: return packet_read(reader, frame, block, len, false);
	case IPQ_PCAPNG_OLD_PACKET: return packet_read(reader, frame, block, len, true);
	case IPQ_PCAPNG_SIMPLE_PACKET: return simple_read(reader, frame, block, len);
	default: return IPQ_READ_BLOCK;
	}
}

enum ipq_read ipq_pcapng_next(struct ipq_reader *reader, struct ipq_frame *frame, bool may_read)
{
	struct ipq_input *input = &reader->input;
	uint32_t type, len;
	enum ipq_read ret;
	const uint8_t *block;

	if (!ipq_reader_need(reader, IPQ_PCAPNG_LEAST, may_read, &ret))
		return ret;
	if (!block_begin(reader, ipq_input_at(input), &type, &len))
		return ipq_reader_damaged(reader, "what follows frame %llu is no block of pcapng",
					  (unsigned long long)reader->number);
	/* What is no frame ends a batch of frames. */
	if (!may_read && !is_packet(type))
		return IPQ_READ_MORE;
	if (!ipq_reader_need(reader, len, may_read, &ret))
		return ret;
	block = ipq_input_at(input);
	if (ipq_reader_u32(reader, block + len - IPQ_PCAPNG_TAIL) != len)
		return ipq_reader_damaged(reader, "the block behind frame %llu has two lengths",
					  (unsigned long long)reader->number);
	ret = block_read(reader, frame, type, block, len);
	if (ret != IPQ_READ_DAMAGED)
		ipq_input_skip(input, len);
	reader->number += ret == IPQ_READ_FRAME;
	return ret;
}
