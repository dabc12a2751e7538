#include "json.h"
#include "lib/json.h"

void json_put_string(FILE *out, const char *text)
{
	const uint8_t *bytes = (const uint8_t *)text;
	size_t left = strlen(text), size;
	char escape[IPQ_JSON_ESCAPE_SIZE];

	putc('"', out);
	for (;;) {
		size = ipq_json_plain(bytes, left);
		fwrite(bytes, 1, size, out);
		bytes += size;
		left -= size;
		if (!left)
			break;
		size = ipq_json_escape(escape, bytes, left);
		fputs(escape, out);
		bytes += size;
		left -= size;
	}
	putc('"', out);
}
