/* Characters of text that strangers wrote: RFC 3629. */
#ifndef IPQ_UTF8_H
#define IPQ_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that the len bytes at text begin with, ASCII's too; 0 where it is none
 * (section 4). len is 1 at least. */
static inline size_t ipq_utf8_length(const uint8_t *text, size_t len)
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

	if (text[0] < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (text[0] < forms[i].first || text[0] > forms[i].last)
			continue;
		if (len < forms[i].len || text[1] < forms[i].low || text[1] > forms[i].high)
			return 0;
		for (size_t at = 2; at < forms[i].len; at++)
			if ((text[at] & 0xc0) != 0x80)
				return 0;
		return forms[i].len;
	}
	return 0;
}

/* The same, but 0 for control characters too: C0, DEL, and C1, U+0080 to U+009F, which some
 * terminals obey. */
static inline size_t ipq_utf8_printable(const uint8_t *text, size_t len)
{
	size_t size = ipq_utf8_length(text, len);

	if (size == 1 && (text[0] < 0x20 || text[0] == 0x7f))
		return 0;
	return size == 2 && text[0] == 0xc2 && text[1] < 0xa0 ? 0 : size;
}

#endif
