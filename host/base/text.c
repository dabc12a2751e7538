#include "text.h"

#include <stdint.h>

size_t text_character(const char *text, size_t len)
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
	const uint8_t *bytes = (const uint8_t *)text;

	if (bytes[0] < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (bytes[0] < forms[i].first || bytes[0] > forms[i].last)
			continue;
		if (len < forms[i].len || bytes[1] < forms[i].low || bytes[1] > forms[i].high)
			return 0;
		for (size_t at = 2; at < forms[i].len; at++)
			if ((bytes[at] & 0xc0) != 0x80)
				return 0;
		return forms[i].len;
	}
	return 0;
}

size_t text_printable(const char *text, size_t len)
{
	const uint8_t *bytes = (const uint8_t *)text;
	size_t size = text_character(text, len);

	if (size == 1 && (bytes[0] < 0x20 || bytes[0] == 0x7f))
		return 0;
	/* U+0080 to U+009F */
	return size == 2 && bytes[0] == 0xc2 && bytes[1] < 0xa0 ? 0 : size;
}

void text_put(FILE *out, const char *text, size_t len)
{
	while (len) {
		size_t size = text_printable(text, len);

		if (!size && (*text == '\n' || *text == '\t'))
			size = 1;
		if (size)
			fwrite(text, 1, size, out);
		else
			fprintf(out, "\\x%02x", (unsigned int)(uint8_t)*text);
		size = size ? size : 1;
		text += size;
		len -= size;
	}
}
