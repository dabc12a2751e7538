#include "text.h"
#include "lib/utf8.h"

void text_put(FILE *out, const char *text, size_t len)
{
	while (len) {
		const uint8_t *bytes = (const uint8_t *)text;
		size_t size = ipq_utf8_printable(bytes, len);

		if (!size && (*text == '\n' || *text == '\t'))
			size = 1;
		if (size)
			fwrite(text, 1, size, out);
		else
			fprintf(out, "\\x%02x", (unsigned int)bytes[0]);
		size = size ? size : 1;
		text += size;
		len -= size;
	}
}
