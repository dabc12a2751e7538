#include "finding.h"

#include <stdarg.h>
#include <stdio.h>

void finding(struct findings *findings, enum finding_level level, const char *format, ...)
{
	static const char *const words[] = {"ok", "warning", "problem"};
	char text[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printf("%-8s %s\n", words[level], text);
	findings->count[level]++;
}
