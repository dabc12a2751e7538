/* Bytes that came from packets, devices or scripts, as text for people. */
#ifndef HOST_TEXT_H
#define HOST_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* Writes text for a terminal: control characters (C0's, DEL, C1's) and bytes that are no UTF-8
 * become \xNN, but for newlines and tabs. */
void text_put(FILE *out, const char *text, size_t len);

#endif
