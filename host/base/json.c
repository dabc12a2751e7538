#include "json.h"
#include "lib/utf8.h"

#include <stdint.h>
#include <string.h>

static void put_control(FILE *out, const uint8_t *bytes)
{
	static const char named[] = "\b\f\n\r\t", names[] = "bfnrt";
	const char *at = bytes[0] ? strchr(named, bytes[0]) : NULL;

	if (at)
		fprintf(out, "\\%c", names[at - named]);
	else
		/* C1 controls have two bytes, and their number is the second. */
		fprintf(out, "\\u%04x", bytes[0] < 0x80 ? bytes[0] : bytes[1]);
}

void json_put_string(FILE *out, const char *text)
{
	size_t left = strlen(text);

	putc('"', out);
	while (left) {
		const uint8_t *bytes = (const uint8_t *)text;
		size_t len = ipq_utf8_length(bytes, left);

		if (!len)
			fputs("\\ufffd", out);
		else if (!ipq_utf8_printable(bytes, left))
			put_control(out, bytes);
		else if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else
			fwrite(text, 1, len, out);
		len = len ? len : 1;
		text += len;
		left -= len;
	}
	putc('"', out);
}
