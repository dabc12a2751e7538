#include "json.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the UTF-8 character that text begins with, 0 where it is none: RFC 3629, section 4. */
static size_t utf8_length(const uint8_t *text)
{
	/* What the first byte may be, and with it the second. */
	static const struct {
		uint8_t first, last, low, high;
		size_t len;
	} forms[] = {
		{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
		{0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (text[0] < forms[i].first || text[0] > forms[i].last)
			continue;
		if (text[1] < forms[i].low || text[1] > forms[i].high)
			return 0;
		for (size_t at = 2; at < forms[i].len; at++)
			if ((text[at] & 0xc0) != 0x80)
				return 0;
		return forms[i].len;
	}
	return 0;
}

static void put_ascii(FILE *out, char c)
{
	static const char named[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
	const char *at = strchr(named, c);

	if (at)
		fprintf(out, "\\%c", names[at - named]);
	else if (c < 0x20 || c == 0x7f)
		fprintf(out, "\\u%04x", (unsigned int)c);
	else
		putc(c, out);
}

void json_put_string(FILE *out, const char *text)
{
	putc('"', out);
	while (*text) {
		const uint8_t *bytes = (const uint8_t *)text;
		size_t len = utf8_length(bytes);

		if (bytes[0] < 0x80)
			put_ascii(out, *text);
		else if (len)
			fwrite(text, 1, len, out);
		else
			fputs("\\ufffd", out);
		text += len ? len : 1;
	}
	putc('"', out);
}
