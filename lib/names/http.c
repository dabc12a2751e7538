/* Heads of HTTP/1.x messages. */
#include "http.h"

#include <string.h>
#include <strings.h>

/* Bytes of a token: RFC 9110 section 5.6.2. */
static const bool is_tchar[256] = {
	['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,	    ['&'] = 1,	       ['\''] = 1,
	['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,	    ['^'] = 1,	       ['_'] = 1,
	['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(const uint8_t *text, uint32_t len, const char *word)
{
	return len == strlen(word) && !strncasecmp((const char *)text, word, len);
}

static uint32_t token_of(const uint8_t *text, uint32_t len)
{
	uint32_t n = 0;

	while (n < len && is_tchar[text[n]])
		n++;
	return n;
}

/* "HTTP/1." and a digit. */
static int version_of(struct ipq_http_head *head, const uint8_t *text, uint32_t len)
{
	if (len != 8 || memcmp(text, "HTTP/", 5) != 0 || !is_digit(text[5]) || text[6] != '.' ||
	    !is_digit(text[7]))
		return IPQ_HTTP_NOT_HTTP;
	if (text[5] != '1')
		return IPQ_HTTP_VERSION;
	head->minor = (uint8_t)(text[7] - '0');
	return 0;
}

/* RFC 9112 section 3. */
static int request_line(struct ipq_http_head *head, const uint8_t *line, uint32_t len)
{
	uint32_t method = token_of(line, len), at = method + 1, end;

	if (method == 0 || method == len || line[method] != ' ')
		return IPQ_HTTP_NOT_HTTP;
	for (end = at; end < len && line[end] > ' ' && line[end] != 0x7f;)
		end++;
	if (end == at || end == len || line[end] != ' ')
		return IPQ_HTTP_NOT_HTTP;
	head->first = method;
	head->target = at;
	head->target_len = end - at;
	return version_of(head, line + end + 1, len - end - 1);
}

/* RFC 9112 section 4. Some servers leave out the blank behind the status where no text follows. */
static int status_line(struct ipq_http_head *head, const uint8_t *line, uint32_t len)
{
	int ret;

	if (len < 12 || line[8] != ' ' || !is_digit(line[9]) || !is_digit(line[10]) ||
	    !is_digit(line[11]) || line[9] == '0' || (len > 12 && line[12] != ' '))
		return IPQ_HTTP_NOT_HTTP;
	ret = version_of(head, line, 8);
	if (ret < 0)
		return ret;
	head->status = (uint16_t)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
	head->first = len > 12 ? 13 : 12;
	head->text_len = len - head->first;
	return 0;
}

static int note_length(struct ipq_http_head *head, const uint8_t *value, uint32_t len)
{
	if (head->bits & IPQ_HTTP_HAS_LENGTH)
		return IPQ_HTTP_LENGTHS;
	if (len == 0 || len > IPQ_HTTP_LENGTH_MOST)
		return IPQ_HTTP_BAD_LENGTH;
	for (uint32_t i = 0; i < len; i++) {
		if (!is_digit(value[i]))
			return IPQ_HTTP_BAD_LENGTH;
		head->length = head->length * 10 + (uint64_t)(value[i] - '0');
	}
	head->bits |= IPQ_HTTP_HAS_LENGTH;
	return 0;
}

/* Nothing may stand behind chunked, in this field or in another one. (RFC 9112 section 6.1) */
static int note_coding(struct ipq_http_head *head, const uint8_t *value, uint32_t len)
{
	uint32_t at = 0, end, last;

	head->bits |= IPQ_HTTP_CODED;
	for (; at < len; at = end + 1) {
		while (at < len && is_blank(value[at]))
			at++;
		for (end = at; end < len && value[end] != ',';)
			end++;
		for (last = end; last > at && is_blank(value[last - 1]);)
			last--;
		if (last == at)
			continue;
		if (head->bits & IPQ_HTTP_CHUNKED)
			return IPQ_HTTP_CODING;
		if (is_word(value + at, last - at, "chunked"))
			head->bits |= IPQ_HTTP_CHUNKED;
	}
	return 0;
}

static int note_host(struct ipq_http_head *head)
{
	if (head->bits & IPQ_HTTP_HAS_HOST)
		return IPQ_HTTP_HOSTS;
	head->bits |= IPQ_HTTP_HAS_HOST;
	return 0;
}

/* What a field says of the message. Those of trailers say nothing. (RFC 9110 section 6.5.1) */
static int note(struct ipq_http_head *head, const uint8_t *name, uint32_t len, const uint8_t *value,
		uint32_t value_len)
{
	head->framing = 0;
	if (head->kind == IPQ_HTTP_TRAILERS)
		return 0;
	if (is_word(name, len, "content-length")) {
		head->framing = 1;
		return note_length(head, value, value_len);
	}
	if (is_word(name, len, "transfer-encoding")) {
		head->framing = 1;
		return note_coding(head, value, value_len);
	}
	if (is_word(name, len, "upgrade"))
		head->bits |= IPQ_HTTP_UPGRADES;
	if (head->kind == IPQ_HTTP_REQUEST && is_word(name, len, "host")) {
		head->framing = 1;
		return note_host(head);
	}
	return 0;
}

static uint32_t without_blanks(const uint8_t *bytes, uint32_t from, uint32_t end)
{
	while (end > from && is_blank(bytes[end - 1]))
		end--;
	return end;
}

/* A line that begins with a blank goes on with the field before it. (RFC 9112 section 5.2) */
static int folded_line(struct ipq_http_head *head, const uint8_t *bytes, uint32_t at, uint32_t len)
{
	struct ipq_http_field *field;

	if (head->count == 0 || head->framing)
		return IPQ_HTTP_FOLD;
	field = &head->fields[head->count - 1];
	field->value_len = without_blanks(bytes, field->value, at + len) - field->value;
	field->is_folded = 1;
	return 0;
}

/* RFC 9112 section 5. */
static int field_line(struct ipq_http_head *head, const uint8_t *bytes, uint32_t at, uint32_t len)
{
	const uint8_t *line = bytes + at;
	struct ipq_http_field *field;
	uint32_t name, value;

	if (is_blank(line[0]))
		return folded_line(head, bytes, at, len);
	name = token_of(line, len);
	if (name > 0 && name < len && is_blank(line[name]))
		return IPQ_HTTP_BLANK;
	if (name == 0 || name == len || line[name] != ':')
		return IPQ_HTTP_NAME;
	if (head->count == IPQ_HTTP_FIELDS)
		return IPQ_HTTP_TOO_MANY;
	for (value = name + 1; value < len && is_blank(line[value]);)
		value++;
	field = &head->fields[head->count++];
	*field = (struct ipq_http_field){.at = at, .name_len = name, .value = at + value};
	field->value_len = without_blanks(bytes, at + value, at + len) - field->value;
	return note(head, line, name, bytes + field->value, field->value_len);
}

/* What the fields say together. (RFC 9112 section 6.3) */
static int whole(const struct ipq_http_head *head)
{
	if (!(head->bits & IPQ_HTTP_CODED))
		return 0;
	if (head->bits & IPQ_HTTP_HAS_LENGTH)
		return IPQ_HTTP_BOTH;
	if (head->minor == 0)
		return IPQ_HTTP_OLD_CODING;
	if (head->kind == IPQ_HTTP_REQUEST && !(head->bits & IPQ_HTTP_CHUNKED))
		return IPQ_HTTP_CODING;
	return 0;
}

static int any_line(struct ipq_http_head *head, const uint8_t *bytes, uint32_t at, uint32_t len)
{
	if (memchr(bytes + at, '\r', len))
		return IPQ_HTTP_BARE_CR;
	if (memchr(bytes + at, 0, len))
		return IPQ_HTTP_ZERO;
	if (at > 0 || head->kind == IPQ_HTTP_TRAILERS)
		return field_line(head, bytes, at, len);
	return head->kind == IPQ_HTTP_REQUEST ? request_line(head, bytes, len)
					      : status_line(head, bytes, len);
}

/* Whether what has come of the first line may become one: nobody waits for the end of what is none. */
static bool may_begin(const struct ipq_http_head *head, const uint8_t *bytes, uint32_t len)
{
	uint32_t method;

	if (head->at > 0 || len == 0 || head->kind == IPQ_HTTP_TRAILERS)
		return true;
	if (head->kind == IPQ_HTTP_RESPONSE)
		return !memcmp(bytes, "HTTP/", len < 5 ? len : 5);
	method = token_of(bytes, len);
	return method > 0 && (method == len || bytes[method] == ' ');
}

void ipq_http_begin(struct ipq_http_head *head, uint32_t kind)
{
	memset(head, 0, offsetof(struct ipq_http_head, fields));
	head->kind = (uint8_t)kind;
}

int ipq_http_read(struct ipq_http_head *head, const uint8_t *bytes, uint32_t len)
{
	while (head->scanned < len) {
		const uint8_t *end = memchr(bytes + head->scanned, '\n', len - head->scanned);
		uint32_t at = head->at, stop;
		int ret;

		if (!end)
			break;
		stop = (uint32_t)(end - bytes);
		head->at = head->scanned = stop + 1;
		if (stop > at && bytes[stop - 1] == '\r')
			stop--;
		head->end_len = head->at - stop;
		if (stop == at && (at > 0 || head->kind == IPQ_HTTP_TRAILERS)) {
			ret = whole(head);
			return ret < 0 ? ret : (int)head->at;
		}
		ret = any_line(head, bytes, at, stop - at);
		if (ret < 0)
			return ret;
		if (head->count > 0)
			head->fields[head->count - 1].end = head->at;
	}
	if (!may_begin(head, bytes, len))
		return IPQ_HTTP_NOT_HTTP;
	head->scanned = len;
	return 0;
}

int ipq_http_find(const char *text, const struct ipq_http_field *fields, uint32_t count,
		  uint32_t from, const char *name, size_t len)
{
	for (uint32_t i = from; i < count; i++)
		if (fields[i].name_len == len && !strncasecmp(text + fields[i].at, name, len))
			return (int)i;
	return -1;
}

bool ipq_http_is_token(const char *text, size_t len)
{
	return len > 0 && len <= UINT32_MAX &&
	       token_of((const uint8_t *)text, (uint32_t)len) == len;
}

static int hex_of(uint8_t c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int ipq_http_chunk(const uint8_t *line, uint32_t len, uint64_t *size)
{
	uint32_t n = 0, at;

	if (len < 2 || line[--len] != '\n')
		return IPQ_HTTP_CHUNK;
	if (line[len - 1] == '\r')
		len--;
	for (*size = 0; n < len && hex_of(line[n]) >= 0; n++) {
		if (n == IPQ_HTTP_CHUNK_MOST)
			return IPQ_HTTP_CHUNK;
		*size = *size << 4 | (uint64_t)hex_of(line[n]);
	}
	for (at = n; at < len && is_blank(line[at]);)
		at++;
	if (n == 0 || (at < len && line[at] != ';') || memchr(line + at, '\r', len - at) ||
	    memchr(line + at, 0, len - at))
		return IPQ_HTTP_CHUNK;
	return 0;
}

const char *ipq_http_strerror(int error)
{
	static const char *const words[IPQ_HTTP_ERRORS] = {
		[-IPQ_HTTP_NOT_HTTP] = "not HTTP",
		[-IPQ_HTTP_VERSION] = "another version than HTTP/1.x",
		[-IPQ_HTTP_BARE_CR] = "a carriage return within a line",
		[-IPQ_HTTP_ZERO] = "a zero within a line",
		[-IPQ_HTTP_NAME] = "a field without a name",
		[-IPQ_HTTP_BLANK] = "a blank between a field's name and its colon",
		[-IPQ_HTTP_FOLD] = "a folded line where none may be",
		[-IPQ_HTTP_BAD_LENGTH] = "a Content-Length that is no number",
		[-IPQ_HTTP_LENGTHS] = "several Content-Length",
		[-IPQ_HTTP_BOTH] = "both Content-Length and Transfer-Encoding",
		[-IPQ_HTTP_CODING] = "a Transfer-Encoding that does not end with chunked",
		[-IPQ_HTTP_HOSTS] = "several Host",
		[-IPQ_HTTP_TOO_MANY] = "more than 256 fields",
		[-IPQ_HTTP_OLD_CODING] = "a Transfer-Encoding in HTTP/1.0",
		[-IPQ_HTTP_CHUNK] = "a chunk whose size is none",
	};

	return error < 0 && error > -IPQ_HTTP_ERRORS ? words[-error] : "no error";
}
