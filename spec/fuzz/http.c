/* Heads of HTTP: in pieces they are what they are whole, their parts lie within them, and what is taken for a head cannot
 * be understood in two ways. */
#include "fuzz.h"

#include "lib/names/http.h"

#include <strings.h>

/* Whether len bytes at a place lie within a head of that size. */
static bool is_within(uint32_t at, uint32_t len, uint32_t size)
{
	return at <= size && len <= size - at;
}

static void look(const struct ipq_http_head *head, const uint8_t *bytes, uint32_t size)
{
	uint32_t end = 0, lengths = 0;

	CHECK(bytes[size - 1] == '\n' && head->at == size && head->end_len <= 2);
	CHECK(head->count <= IPQ_HTTP_FIELDS && !memchr(bytes, 0, size));
	for (uint32_t i = 1; i < size; i++)
		CHECK(bytes[i - 1] != '\r' || bytes[i] == '\n');
	CHECK(is_within(head->target, head->target_len, size) &&
	      is_within(head->first, head->text_len, size));
	for (uint32_t i = 0; i < head->count; i++) {
		const struct ipq_http_field *field = &head->fields[i];
		const char *name = (const char *)bytes + field->at;

		CHECK(field->at >= end && field->end > field->at && field->end <= size);
		CHECK(is_within(field->value, field->value_len, field->end));
		CHECK(field->at + field->name_len < field->value);
		CHECK(name[field->name_len] == ':' && ipq_http_is_token(name, field->name_len));
		CHECK(ipq_http_find((const char *)bytes, head->fields, head->count, 0, name,
				    field->name_len) <= (int)i);
		if (head->kind != IPQ_HTTP_TRAILERS && field->name_len == 14 &&
		    !strncasecmp(name, "content-length", 14))
			lengths++;
		end = field->end;
	}
	CHECK(lengths == ((head->bits & IPQ_HTTP_HAS_LENGTH) != 0));
	CHECK(!lengths || !(head->bits & IPQ_HTTP_CODED));
	CHECK(head->kind != IPQ_HTTP_REQUEST || !(head->bits & IPQ_HTTP_CODED) ||
	      (head->bits & IPQ_HTTP_CHUNKED));
	CHECK(head->length < 1000000000000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct ipq_http_head whole, pieces;
	struct input in = {bytes, len};
	uint32_t kind = take8(&in) % 3, step = take8(&in) % 16 + 1;
	uint32_t n = (uint32_t)in.len;
	uint8_t *copy = own(in.bytes, n);
	uint64_t size = 0;
	int ret, part = 0;

	ipq_http_begin(&whole, kind);
	ret = ipq_http_read(&whole, copy, n);
	CHECK(ret <= (int)n && ret > -IPQ_HTTP_ERRORS);
	if (ret > 0)
		look(&whole, copy, (uint32_t)ret);
	CHECK(*ipq_http_strerror(ret));
	ipq_http_begin(&pieces, kind);
	for (uint32_t there = 0; part == 0 && there < n;) {
		uint8_t *piece;

		there = n - there < step ? n : there + step;
		piece = own(copy, there);
		part = ipq_http_read(&pieces, piece, there);
		free(piece);
	}
	/* Why it is refused may be told by less of it. */
	CHECK(part == ret || (part < 0 && ret < 0));
	CHECK(ret <= 0 ||
	      (pieces.count == whole.count &&
	       !memcmp(pieces.fields, whole.fields, whole.count * sizeof(struct ipq_http_field))));
	if (ipq_http_chunk(copy, n, &size) == 0)
		CHECK(size < (uint64_t)1 << 48 && copy[n - 1] == '\n');
	free(copy);
	return 0;
}
