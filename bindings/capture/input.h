/* The bytes of a capture file, as many at a time as are wanted in one piece. A file that gzip has
 * made is read as what is in it. */
#ifndef IPQ_INPUT_H
#define IPQ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	IPQ_INPUT_BUFFER = 1 << 20,
	IPQ_INPUT_PACKED = 64 << 10,
	/* The longest piece that can be had: more than any frame has, and a limit to what a damaged
	 * length can make us read. */
	IPQ_INPUT_MOST = 16 << 20
};

struct ipq_input {
	int fd; /* negative: not open */
	uint8_t *buffer;
	size_t size;
	size_t start; /* of what has not been taken yet */
	size_t end;
	bool is_ended;	       /* nothing follows what is in the buffer */
	bool is_interrupted;   /* a signal came before as many bytes as were wanted: try again */
	const char *fault;     /* why reading ended before the end; NULL: it did not */
	off_t file_size;       /* bytes of the file as it is; 0: not known, as of a pipe */
	off_t file_read;       /* bytes of it that were read */
	struct z_stream_s *gz; /* NULL: it is no gzip file */
	uint8_t *packed;       /* bytes of one, IPQ_INPUT_PACKED of them at most */
	bool is_member;	       /* its end would be in the middle of what was packed */
};

/* Opens the file of that name, "-" for standard input, and reads its first bytes. 0 or a negative
 * errno. */
int ipq_input_open(struct ipq_input *input, const char *path);
void ipq_input_close(struct ipq_input *input);

/* Bytes that are in memory. They stay where they are until ipq_input_read() or
 * ipq_input_close(). */
size_t ipq_input_left(const struct ipq_input *input);
const uint8_t *ipq_input_at(const struct ipq_input *input);

/* Reads on, until len bytes (IPQ_INPUT_MOST at most) are in memory. It does not wait for more than
 * these, as a pipe may give no more for long. False where a signal came, the file ends, or cannot be
 * read, before that. */
bool ipq_input_read(struct ipq_input *input, size_t len);

/* Goes on behind len of the bytes in memory. */
void ipq_input_skip(struct ipq_input *input, size_t len);

/* About how many bytes of the file, as it is, were taken. */
off_t ipq_input_offset(const struct ipq_input *input);

/* What program undoes the compression of a file that begins so ("xzcat"); NULL: it is none that is
 * known, or gzip's. */
const char *ipq_input_decompressor(const uint8_t *bytes, size_t len);

#endif
