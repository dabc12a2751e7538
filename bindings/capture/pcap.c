/* pcap: a header, and frames behind one another (draft-ietf-opsawg-pcap). */
#include "reader.h"

#include <string.h>

enum {
	MAGIC = 0xa1b2c3d4,
	MAGIC_NANO = 0xa1b23c4d,
	MAGIC_PATCHED = 0xa1b2cd34, /* of a libpcap that had an interface's number in each frame */
	FILE_HEADER = 24,
	FRAME_HEADER = 16,
	FRAME_HEADER_PATCHED = 24,
	/* What is above in the field are bits of other meanings: how long the FCS is. */
	LINK_TYPE_MASK = 0xffff,
	NANOSECONDS = 9 /* if_tsresol */
};

static bool is_magic(uint32_t magic)
{
	return magic == MAGIC || magic == MAGIC_NANO || magic == MAGIC_PATCHED;
}

bool ipq_pcap_begin(struct ipq_reader *reader)
{
	struct ipq_interface interface = {.resolution = NANOSECONDS};
	enum ipq_read why;
	const uint8_t *p;
	uint32_t magic;

	while (!ipq_reader_need(reader, FILE_HEADER, true, &why))
		if (why != IPQ_READ_INTERRUPTED)
			return false;
	p = ipq_input_at(&reader->input);
	memcpy(&magic, p, sizeof(magic));
	reader->is_swapped = !is_magic(magic);
	magic = ipq_reader_u32(reader, p);
	if (!is_magic(magic) || ipq_reader_u16(reader, p + 4) != 2)
		return false;
	reader->minor = (uint8_t)ipq_reader_u16(reader, p + 6);
	reader->units = magic == MAGIC_NANO ? 1000000000 : 1000000;
	reader->header = magic == MAGIC_PATCHED ? FRAME_HEADER_PATCHED : FRAME_HEADER;
	interface.snaplen = ipq_reader_u32(reader, p + 16);
	interface.link_type = (uint16_t)(ipq_reader_u32(reader, p + 20) & LINK_TYPE_MASK);
	ipq_input_skip(&reader->input, FILE_HEADER);
	reader->section++;
	return ipq_reader_add(reader, &interface);
}

/* The lengths of a frame whose header is at p. Old versions have them the other way round. */
static void lengths(const struct ipq_reader *reader, const uint8_t *p, struct ipq_frame *frame)
{
	uint32_t caplen = ipq_reader_u32(reader, p + 8), len = ipq_reader_u32(reader, p + 12);
	bool is_turned = reader->minor < 3 || (reader->minor == 3 && caplen > len);

	frame->caplen = is_turned ? len : caplen;
	frame->len = is_turned ? caplen : len;
}

enum ipq_read ipq_pcap_next(struct ipq_reader *reader, struct ipq_frame *frame, bool may_read)
{
	struct ipq_input *input = &reader->input;
	enum ipq_read why;
	const uint8_t *p;
	uint32_t sub;

	if (!ipq_reader_need(reader, reader->header, may_read, &why))
		return why;
	*frame = (struct ipq_frame){.section = reader->section};
	lengths(reader, ipq_input_at(input), frame);
	/* Some systems' own had more in each frame's header, and the same number in the file's. */
	if (frame->caplen > (uint32_t)IPQ_INPUT_MOST - reader->header)
		return ipq_reader_damaged(
			reader,
			"frame %llu has %u bytes, which no frame has; if it is "
			"Nokia's pcap, or that of Red Hat 6 or SuSE 6, editcap(1) "
			"makes another of it",
			(unsigned long long)reader->number + 1, frame->caplen);
	if (!ipq_reader_need(reader, reader->header + frame->caplen, may_read, &why))
		return why;
	p = ipq_input_at(input);
	sub = ipq_reader_u32(reader, p + 4);
	frame->sec = ipq_reader_u32(reader, p);
	/* A damaged one may be more than a second. */
	frame->nsec = sub % reader->units * (1000000000 / reader->units);
	frame->ticks = frame->sec * 1000000000 + frame->nsec;
	frame->link_type = reader->interfaces[0].link_type;
	frame->bytes = p + reader->header;
	reader->number++;
	ipq_input_skip(input, reader->header + frame->caplen);
	return IPQ_READ_FRAME;
}
