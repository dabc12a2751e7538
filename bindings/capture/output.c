#include "output.h"
#include "pcapng.h"

#include <errno.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

enum { PCAP_MAGIC = 0xa1b2c3d4, PCAP_MAGIC_NANO = 0xa1b23c4d, PCAP_MAJOR = 2, PCAP_MINOR = 4 };

int ipq_output_open(struct ipq_output *output, const char *path, const struct ipq_reader *like,
		    bool is_ng, bool is_nano)
{
	FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "wbe");

	if (!file)
		return -errno;
	*output = (struct ipq_output){
		.file = file,
		.path = path,
		.is_ng = is_ng,
		.is_nano = is_nano,
		.is_swapped = like->is_swapped,
	};
	/* Each frame is a few calls of stdio, which lock; nobody else uses the file. Standard output
	 * outlives the buffer, and keeps its own. */
	__fsetlocking(file, FSETLOCKING_BYCALLER);
	if (file != stdout)
		setvbuf(file, output->buffer, _IOFBF, IPQ_OUTPUT_BUFFER);
	return 0;
}

static bool is_good(const struct ipq_output *output)
{
	return output->file && !output->text[0];
}

static void tell_errno(struct ipq_output *output)
{
	snprintf(output->text, sizeof(output->text), "cannot write the capture %s: %s",
		 output->path, strerror(errno));
}

static void put(struct ipq_output *output, const void *bytes, size_t len)
{
	if (is_good(output) && fwrite(bytes, 1, len, output->file) < len)
		tell_errno(output);
}

static void put16(struct ipq_output *output, uint16_t value)
{
	if (output->is_swapped)
		value = __builtin_bswap16(value);
	put(output, &value, sizeof(value));
}

static void put32(struct ipq_output *output, uint32_t value)
{
	if (output->is_swapped)
		value = __builtin_bswap32(value);
	put(output, &value, sizeof(value));
}

/* Up to the next multiple of 4 bytes. */
static void put_padded(struct ipq_output *output, const void *bytes, uint32_t len)
{
	static const uint8_t zeros[3];

	put(output, bytes, len);
	put(output, zeros, -len & 3U);
}

/* pcap */

static void pcap_begin(struct ipq_output *output, uint16_t link_type)
{
	output->is_begun = true;
	output->link_type = link_type;
	put32(output, output->is_nano ? PCAP_MAGIC_NANO : PCAP_MAGIC);
	put16(output, PCAP_MAJOR);
	put16(output, PCAP_MINOR);
	put32(output, 0);
	put32(output, 0);
	put32(output, IPQ_OUTPUT_SNAPLEN);
	put32(output, link_type);
}

/* Whether pcap can have the frame. */
static bool pcap_takes(struct ipq_output *output, const struct ipq_frame *frame)
{
	if (frame->link_type != output->link_type) {
		snprintf(output->text, sizeof(output->text),
			 "cannot write the capture %s: pcap has frames of one link type, and these "
			 "are of %u and %u; name a file that ends in .pcapng",
			 output->path, output->link_type, frame->link_type);
		return false;
	}
	if (frame->sec > UINT32_MAX) {
		snprintf(output->text, sizeof(output->text),
			 "cannot write the capture %s: pcap has no times behind the year 2106; "
			 "name a file that ends in .pcapng",
			 output->path);
		return false;
	}
	return true;
}

static void pcap_frame(struct ipq_output *output, const struct ipq_frame *frame,
		       const uint8_t *bytes, uint32_t caplen, uint32_t len)
{
	if (!output->is_begun)
		pcap_begin(output, frame->link_type);
	if (!pcap_takes(output, frame))
		return;
	put32(output, (uint32_t)frame->sec);
	put32(output, output->is_nano ? frame->nsec : frame->nsec / 1000);
	put32(output, caplen);
	put32(output, len);
	put(output, bytes, caplen);
}

/* pcapng */

static void section_begin(struct ipq_output *output, uint32_t section, bool is_swapped)
{
	output->is_begun = true;
	output->section = section;
	output->is_swapped = is_swapped;
	output->interface_count = 0;
	output->added_count = 0;
}

/* A section's header. */
static void put_section(struct ipq_output *output)
{
	const uint32_t len = IPQ_PCAPNG_LEAST + 16;

	put32(output, IPQ_PCAPNG_SECTION);
	put32(output, len);
	put32(output, IPQ_PCAPNG_ORDER);
	put16(output, 1);
	put16(output, 0);
	/* How long the section is, is not told. */
	put32(output, UINT32_MAX);
	put32(output, UINT32_MAX);
	put32(output, len);
}

/* Of times in nanoseconds. Gives its number. */
static uint32_t put_interface(struct ipq_output *output, uint16_t link_type)
{
	static const uint8_t nanoseconds = 9;
	const uint32_t len = IPQ_PCAPNG_LEAST + 8 + 12;

	put32(output, IPQ_PCAPNG_INTERFACE);
	put32(output, len);
	put16(output, link_type);
	put16(output, 0);
	put32(output, IPQ_OUTPUT_SNAPLEN);
	put16(output, IPQ_PCAPNG_TSRESOL);
	put16(output, sizeof(nanoseconds));
	put_padded(output, &nanoseconds, sizeof(nanoseconds));
	put32(output, IPQ_PCAPNG_END);
	put32(output, len);
	return output->interface_count++;
}

/* A bare file is one section, whose interfaces are there for their link types alone. */
static void bare_begin(struct ipq_output *output)
{
	if (output->is_begun)
		return;
	section_begin(output, IPQ_OUTPUT_OF_NONE, output->is_swapped);
	put_section(output);
}

void ipq_output_section(struct ipq_output *output, const struct ipq_reader *reader)
{
	if (!output->is_ng)
		return;
	if (output->is_bare) {
		bare_begin(output);
		return;
	}
	section_begin(output, reader->section, reader->is_swapped);
	put_section(output);
	(void)put_interface(output, reader->interfaces[0].link_type);
}

/* The number here of an interface that was added to the section, once for each link type. */
static uint32_t added_number(struct ipq_output *output, uint16_t link_type)
{
	const uint32_t after = output->interface_count - output->added_count;
	struct ipq_output_interface *added = output->added;

	for (uint32_t i = 0; i < output->added_count; i++)
		if (added[i].link_type == link_type)
			return added[i].number;
	added = realloc(added, (output->added_count + 1) * sizeof(*added));
	if (!added) {
		tell_errno(output);
		return 0;
	}
	output->added = added;
	added += output->added_count++;
	added->link_type = link_type;
	added->after = after;
	added->number = put_interface(output, link_type);
	return added->number;
}

/* The number here of the input's interface: behind what was added it is another one. */
static uint32_t number_of(const struct ipq_output *output, uint32_t interface)
{
	uint32_t number = interface;

	for (uint32_t i = 0; i < output->added_count; i++)
		number += output->added[i].after <= interface;
	return number;
}

/* A block with len bytes at offset at other than they came. */
static void put_patched(struct ipq_output *output, const struct ipq_frame *block, uint32_t at,
			const void *bytes, uint32_t len)
{
	put(output, block->block, at);
	put(output, bytes, len);
	put(output, block->block + at + len, block->block_len - at - len);
}

static uint32_t block_u32(const struct ipq_frame *block, uint32_t at)
{
	uint32_t value;

	memcpy(&value, block->block + at, sizeof(value));
	return block->is_swapped ? __builtin_bswap32(value) : value;
}

/* A frame may have grown: no snap length is less than what others read. */
static void interface_copy(struct ipq_output *output, const struct ipq_frame *block)
{
	uint32_t snaplen = block_u32(block, IPQ_PCAPNG_SNAPLEN_AT);

	if (snaplen > 0 && snaplen < IPQ_OUTPUT_SNAPLEN)
		snaplen = IPQ_OUTPUT_SNAPLEN;
	if (block->is_swapped)
		snaplen = __builtin_bswap32(snaplen);
	put_patched(output, block, IPQ_PCAPNG_SNAPLEN_AT, &snaplen, sizeof(snaplen));
	output->interface_count++;
}

static void statistics_copy(struct ipq_output *output, const struct ipq_frame *block)
{
	uint32_t interface;

	if (block->block_len < IPQ_PCAPNG_LEAST + sizeof(interface))
		return;
	interface = number_of(output, block_u32(block, IPQ_PCAPNG_HEAD));
	if (block->is_swapped)
		interface = __builtin_bswap32(interface);
	put_patched(output, block, IPQ_PCAPNG_HEAD, &interface, sizeof(interface));
}

void ipq_output_block(struct ipq_output *output, const struct ipq_frame *block)
{
	static const uint8_t unknown[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (!output->is_ng)
		return;
	if (output->is_bare) {
		bare_begin(output);
		return;
	}
	switch (block_u32(block, 0)) {
	case IPQ_PCAPNG_SECTION:
		section_begin(output, block->section, block->is_swapped);
		put_patched(output, block, IPQ_PCAPNG_LENGTH_AT, unknown, sizeof(unknown));
		break;
	case IPQ_PCAPNG_INTERFACE: interface_copy(output, block); break;
	case IPQ_PCAPNG_STATISTICS: statistics_copy(output, block); break;
	/* Not to be copied into a file that is not the same. */
	case IPQ_PCAPNG_CUSTOM_PRIVATE: break;
	default: put(output, block->block, block->block_len);
	}
}

/* Whether an option holds for a frame whose bytes are others. */
static bool is_kept(const struct ipq_pcapng_option *option, bool is_changed)
{
	return !is_changed || option->code != IPQ_PCAPNG_HASH;
}

/* Bytes of the frame's own options. In a bare file there are none, nor of a section of the other byte
 * order. */
static uint32_t options_len(const struct ipq_output *output, const struct ipq_frame *frame)
{
	return frame->is_swapped == output->is_swapped && !output->is_bare ? frame->options_len : 0;
}

/* As many as are kept. */
static uint32_t options_size(const struct ipq_output *output, const struct ipq_frame *frame,
			     bool is_changed)
{
	const uint8_t *p = frame->options;
	uint32_t left = options_len(output, frame);
	struct ipq_pcapng_option option;
	uint32_t size = 0;

	while (ipq_pcapng_option_next(&option, frame->is_swapped, &p, &left))
		size += is_kept(&option, is_changed) ? option.size : 0;
	return size;
}

static void put_options(struct ipq_output *output, const struct ipq_frame *frame, bool is_changed,
			const char *comment)
{
	const uint8_t *p = frame->options;
	uint32_t left = options_len(output, frame);
	struct ipq_pcapng_option option;
	uint32_t len = comment ? (uint32_t)strlen(comment) : 0;

	while (ipq_pcapng_option_next(&option, frame->is_swapped, &p, &left))
		if (is_kept(&option, is_changed))
			put(output, option.value - IPQ_PCAPNG_OPTION_HEAD, option.size);
	if (comment) {
		put16(output, IPQ_PCAPNG_COMMENT);
		put16(output, (uint16_t)len);
		put_padded(output, comment, len);
	}
}

static uint32_t padded(uint32_t len)
{
	return (len + 3) & ~3U;
}

/* An Enhanced Packet Block. A frame of a section that is over, as a held packet's may be, gets an
 * interface in this one. */
static void ng_frame(struct ipq_output *output, const struct ipq_frame *frame, const uint8_t *bytes,
		     uint32_t caplen, uint32_t len, const char *comment)
{
	bool is_own = frame->section == output->section;
	bool is_changed = bytes != frame->bytes;
	uint32_t interface = is_own ? number_of(output, frame->interface)
				    : added_number(output, frame->link_type);
	uint64_t ticks = is_own ? frame->ticks : frame->sec * 1000000000 + frame->nsec;
	uint32_t options = options_size(output, frame, is_changed);
	uint32_t total;

	if (comment)
		options += IPQ_PCAPNG_OPTION_HEAD + padded((uint32_t)strlen(comment));
	if (options > 0)
		options += IPQ_PCAPNG_OPTION_HEAD;
	total = IPQ_PCAPNG_LEAST + IPQ_PCAPNG_PACKET_HEAD + padded(caplen) + options;
	put32(output, IPQ_PCAPNG_ENHANCED_PACKET);
	put32(output, total);
	put32(output, interface);
	put32(output, (uint32_t)(ticks >> 32));
	put32(output, (uint32_t)ticks);
	put32(output, caplen);
	put32(output, len);
	put_padded(output, bytes, caplen);
	put_options(output, frame, is_changed, comment);
	if (options > 0)
		put32(output, IPQ_PCAPNG_END);
	put32(output, total);
}

/* Whether a frame's block can be written as it came. A cut off one without a length of its own goes
 * by its interface's snap length, which may have become another. */
static bool is_whole(const struct ipq_output *output, const struct ipq_frame *frame)
{
	return frame->block && frame->section == output->section &&
	       number_of(output, frame->interface) == frame->interface &&
	       (block_u32(frame, 0) != IPQ_PCAPNG_SIMPLE_PACKET || frame->caplen == frame->len);
}

/* Frames of either */

void ipq_output_frame(struct ipq_output *output, const struct ipq_frame *frame, const char *comment)
{
	if (!is_good(output))
		return;
	if (!output->is_ng)
		pcap_frame(output, frame, frame->bytes, frame->caplen, frame->len);
	else if (!comment && is_whole(output, frame))
		put(output, frame->block, frame->block_len);
	else
		ng_frame(output, frame, frame->bytes, frame->caplen, frame->len, comment);
	output->written += is_good(output);
}

void ipq_output_changed(struct ipq_output *output, const struct ipq_frame *frame,
			const uint8_t *bytes, uint32_t caplen, uint32_t len, const char *comment)
{
	if (!is_good(output))
		return;
	if (output->is_ng)
		ng_frame(output, frame, bytes, caplen, len, comment);
	else
		pcap_frame(output, frame, bytes, caplen, len);
	output->written += is_good(output);
}

void ipq_output_flush(struct ipq_output *output)
{
	if (is_good(output) && fflush(output->file) != 0)
		tell_errno(output);
}

void ipq_output_end(struct ipq_output *output, uint16_t link_type)
{
	if (!output->is_begun && output->is_ng)
		put_section(output);
	else if (!output->is_begun)
		pcap_begin(output, link_type);
	output->is_begun = true;
	ipq_output_flush(output);
}

void ipq_output_close(struct ipq_output *output)
{
	if (output->file && output->file != stdout)
		fclose(output->file);
	/* What is wrong has been told, and whoever ends the program need not find it again. */
	if (output->file == stdout && !is_good(output)) {
		__fpurge(stdout);
		clearerr(stdout);
	}
	output->file = NULL;
	free(output->added);
	output->added = NULL;
}
