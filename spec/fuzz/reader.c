/* Capture files as frames and blocks: whatever a file holds, these lie in what was read of it. The
 * target capture judges and writes them, which is a thousand times the work. */
#include "file.h"
#include "bindings/capture/reader.h"

enum { SECTIONS = 3 }; /* of files before this one */

/* Whether len bytes are among those that were read. */
static bool is_inside(const struct ipq_reader *reader, const uint8_t *bytes, uint32_t len)
{
	const struct ipq_input *input = &reader->input;
	const uint8_t *end = input->buffer + input->end;

	return bytes >= input->buffer && bytes <= end && len <= (size_t)(end - bytes);
}

static void frame_check(const struct ipq_reader *reader, const struct ipq_frame *frame)
{
	CHECK(is_inside(reader, frame->bytes, frame->caplen));
	CHECK(frame->nsec < 1000000000);
	CHECK(frame->section > SECTIONS && frame->section <= reader->section);
	CHECK(!frame->block == !reader->is_ng);
	if (!frame->block)
		return;
	CHECK(is_inside(reader, frame->block, frame->block_len));
	CHECK(frame->interface < reader->interface_count);
	CHECK(frame->bytes > frame->block &&
	      frame->bytes + frame->caplen < frame->block + frame->block_len);
	if (!frame->options)
		return;
	CHECK(frame->options >= frame->bytes + frame->caplen &&
	      frame->options + frame->options_len < frame->block + frame->block_len);
}

/* What the next one is, read in pieces as the program reads it. */
static enum ipq_read next(struct ipq_reader *reader, struct ipq_frame *frame)
{
	enum ipq_read ret = ipq_reader_next(reader, frame, false);

	if (ret == IPQ_READ_MORE)
		ret = ipq_reader_next(reader, frame, true);
	CHECK(ret != IPQ_READ_MORE && ret != IPQ_READ_INTERRUPTED);
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct ipq_reader reader;
	struct ipq_frame frame;
	uint64_t frames = 0;
	enum ipq_read ret;
	bool is_missing;

	if (!ipq_reader_open(&reader, file_of(bytes, len), SECTIONS, &is_missing)) {
		CHECK(reader.text[0] && memchr(reader.text, 0, sizeof(reader.text)));
		ipq_reader_close(&reader);
		return 0;
	}
	while ((ret = next(&reader, &frame)) == IPQ_READ_FRAME || ret == IPQ_READ_BLOCK) {
		if (ret == IPQ_READ_FRAME)
			frame_check(&reader, &frame);
		else
			CHECK(is_inside(&reader, frame.block, frame.block_len));
		frames += ret == IPQ_READ_FRAME;
	}
	CHECK(reader.number == frames);
	CHECK(ret == IPQ_READ_END || reader.text[0]);
	ipq_reader_close(&reader);
	return 0;
}
