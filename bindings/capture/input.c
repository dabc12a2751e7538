#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include <zlib.h>

/* RFC 1952: ID1, ID2, and CM, which is deflate. */
enum { GZIP_MAGIC_LEN = 3 };
static const uint8_t gzip_magic[] = {0x1f, 0x8b, 8};

static off_t size_of(int fd)
{
	struct stat info;

	return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? info.st_size : 0;
}

void ipq_input_close(struct ipq_input *input)
{
	if (input->gz)
		inflateEnd(input->gz);
	free(input->gz);
	free(input->packed);
	free(input->buffer);
	if (input->fd >= 0)
		close(input->fd);
	*input = (struct ipq_input){.fd = -1};
}

size_t ipq_input_left(const struct ipq_input *input)
{
	return input->end - input->start;
}

const uint8_t *ipq_input_at(const struct ipq_input *input)
{
	return input->buffer + input->start;
}

/* Nothing can be read any more. */
static bool end(struct ipq_input *input, const char *fault)
{
	input->is_ended = true;
	input->fault = fault;
	return false;
}

/* One call of read(). Gives the number of bytes, 0 where there are none now. */
static size_t file_read(struct ipq_input *input, uint8_t *to, size_t size)
{
	ssize_t count = read(input->fd, to, size);

	if (count > 0) {
		input->file_read += count;
		return (size_t)count;
	}
	if (count < 0 && errno == EINTR)
		input->is_interrupted = true;
	else
		(void)end(input, count < 0 ? strerror(errno) : NULL);
	return 0;
}

/* The next bytes of what gzip has packed (RFC 1952: one member or more, one behind the other). */
static bool unpack(struct ipq_input *input)
{
	z_stream *gz = input->gz;
	int ret;

	gz->next_out = input->buffer + input->end;
	gz->avail_out = (uInt)(input->size - input->end);
	while (gz->next_out == input->buffer + input->end) {
		if (gz->avail_in == 0) {
			gz->next_in = input->packed;
			gz->avail_in = (uInt)file_read(input, input->packed, IPQ_INPUT_PACKED);
		}
		if (gz->avail_in == 0 && input->is_ended && !input->fault && input->is_member)
			return end(input, "the gzip file ends too early");
		if (gz->avail_in == 0)
			return false;
		ret = inflate(gz, Z_NO_FLUSH);
		input->is_member = ret != Z_STREAM_END;
		if (ret == Z_STREAM_END)
			ret = inflateReset(gz);
		if (ret != Z_OK) {
			input->end = (size_t)(gz->next_out - input->buffer);
			return end(input, "the gzip file is damaged");
		}
	}
	input->end = (size_t)(gz->next_out - input->buffer);
	return true;
}

/* Bytes behind those in memory: some, if any come. */
static bool read_some(struct ipq_input *input)
{
	size_t count;

	if (input->gz)
		return unpack(input);
	count = file_read(input, input->buffer + input->end, input->size - input->end);
	input->end += count;
	return count > 0;
}

/* What is in the buffer moves to its beginning. It is less than a frame. */
static void make_room(struct ipq_input *input)
{
	size_t left = ipq_input_left(input);

	memmove(input->buffer, input->buffer + input->start, left);
	input->start = 0;
	input->end = left;
}

static bool grow(struct ipq_input *input, size_t len)
{
	uint8_t *buffer;

	if (len <= input->size)
		return true;
	buffer = realloc(input->buffer, len);
	if (!buffer)
		return end(input, strerror(ENOMEM));
	input->buffer = buffer;
	input->size = len;
	return true;
}

bool ipq_input_read(struct ipq_input *input, size_t len)
{
	input->is_interrupted = false;
	if (ipq_input_left(input) >= len)
		return true;
	if (len > IPQ_INPUT_MOST || input->is_ended || !grow(input, len))
		return false;
	make_room(input);
	while (ipq_input_left(input) < len)
		if (!read_some(input))
			return ipq_input_left(input) >= len;
	return true;
}

/* What has been read so far is how a gzip file begins. */
static int gunzip(struct ipq_input *input)
{
	size_t left = ipq_input_left(input);

	input->gz = calloc(1, sizeof(*input->gz));
	input->packed = malloc(IPQ_INPUT_PACKED);
	/* 16: with a gzip header, and no other. */
	if (!input->gz || !input->packed || inflateInit2(input->gz, 16 + MAX_WBITS) != Z_OK)
		return -ENOMEM;
	memcpy(input->packed, ipq_input_at(input), left);
	input->gz->next_in = input->packed;
	input->gz->avail_in = (uInt)left;
	input->is_member = true;
	input->start = 0;
	input->end = 0;
	input->is_ended = false;
	return 0;
}

/* Looks at the first bytes, which no file comes without. */
static int begin(struct ipq_input *input)
{
	size_t count;

	while (input->end < GZIP_MAGIC_LEN && !input->is_ended) {
		/* No more than there is room for where it is packed. */
		count = file_read(input, input->buffer + input->end, IPQ_INPUT_PACKED - input->end);
		input->end += count;
	}
	if (input->end < GZIP_MAGIC_LEN || memcmp(input->buffer, gzip_magic, GZIP_MAGIC_LEN) != 0)
		return 0;
	return gunzip(input);
}

int ipq_input_open(struct ipq_input *input, const char *path)
{
	bool is_stdin = strcmp(path, "-") == 0;
	int ret;

	*input = (struct ipq_input){
		.fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
			       : open(path, O_RDONLY | O_CLOEXEC),
		.size = IPQ_INPUT_BUFFER,
	};
	if (input->fd < 0)
		return -errno;
	input->file_size = size_of(input->fd);
	input->buffer = malloc(IPQ_INPUT_BUFFER);
	ret = input->buffer ? begin(input) : -ENOMEM;
	if (ret < 0)
		ipq_input_close(input);
	return ret;
}

void ipq_input_skip(struct ipq_input *input, size_t len)
{
	input->start += len;
}

off_t ipq_input_offset(const struct ipq_input *input)
{
	/* Of a packed file nobody knows how many bytes made those that are left. */
	return input->gz ? input->file_read : input->file_read - (off_t)ipq_input_left(input);
}

const char *ipq_input_decompressor(const uint8_t *bytes, size_t len)
{
	static const struct {
		uint8_t magic[6];
		uint8_t len;
		const char *program;
	} kinds[] = {
		{{0xfd, '7', 'z', 'X', 'Z', 0}, 6, "xzcat"},
		{{0x28, 0xb5, 0x2f, 0xfd}, 4, "zstdcat"},
		{{0x04, 0x22, 0x4d, 0x18}, 4, "lz4cat"},
		{{'B', 'Z', 'h'}, 3, "bzcat"},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (len >= kinds[i].len && memcmp(bytes, kinds[i].magic, kinds[i].len) == 0)
			return kinds[i].program;
	return NULL;
}
