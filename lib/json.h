/* Text in JSON: RFC 8259, section 7. */
#ifndef IPQ_JSON_H
#define IPQ_JSON_H

#include <stdio.h>
#include <string.h>

#include "lib/utf8.h"

enum { IPQ_JSON_ESCAPE_SIZE = 8 };

/* The character that the len bytes at bytes begin with, which cannot stand in JSON's quotes as it
 * is: escape is its name, its number (control characters, C1's too, which some terminals obey), or
 * for a byte that is no UTF-8 \xNN, in which the backslash is the text's own. Gives how many bytes
 * it stands for. len is 1 at least. */
static inline size_t ipq_json_escape(char escape[IPQ_JSON_ESCAPE_SIZE], const uint8_t *bytes,
				     size_t len)
{
	static const char named[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
	const char *at = bytes[0] ? strchr(named, bytes[0]) : NULL;
	size_t size = ipq_utf8_length(bytes, len);

	if (at)
		snprintf(escape, IPQ_JSON_ESCAPE_SIZE, "\\%c", names[at - named]);
	else if (size == 0)
		snprintf(escape, IPQ_JSON_ESCAPE_SIZE, "\\\\x%02x", bytes[0]);
	else
		/* C1 controls have two bytes, and their number is the second. */
		snprintf(escape, IPQ_JSON_ESCAPE_SIZE, "\\u%04x", bytes[size - 1]);
	return size ? size : 1;
}

/* Bytes from the first on that need no escape. */
static inline size_t ipq_json_plain(const uint8_t *bytes, size_t len)
{
	size_t at = 0, size = 1;

	for (; at < len && size; at += size) {
		uint8_t byte = bytes[at];

		if (byte == '"' || byte == '\\')
			break;
		size = byte >= 0x20 && byte < 0x7f ? 1 : ipq_utf8_printable(bytes + at, len - at);
	}
	return at;
}

#endif
