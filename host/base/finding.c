#include "finding.h"
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void finding(struct findings *findings, enum finding_level level, const char *format, ...)
{
	static const char *const words[] = {"ok", "warning", "problem"};
	char text[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* Rules and devices have names that others gave them. */
	printf("%-8s ", words[level]);
	text_put(stdout, text, strlen(text));
	putchar('\n');
	findings->count[level]++;
}
