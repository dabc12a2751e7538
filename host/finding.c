#include "finding.h"

#include <stdarg.h>
#include <stdio.h>

void finding(struct findings *findings, enum finding_level level, const char *format, ...)
{
	static const char *const words[] = {"ok", "warning", "problem"};
	va_list args;

	findings->count[level]++;
	printf("%-8s ", words[level]);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}
