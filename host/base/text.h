/* Bytes that came from packets, devices or scripts, as text for people. */
#ifndef HOST_TEXT_H
#define HOST_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* Bytes of the character that the len bytes at text begin with, if it is one of UTF-8 (RFC 3629,
 * section 4) or ASCII, 0 where it is none. len is 1 at least. */
size_t text_character(const char *text, size_t len);

/* The same, but 0 for control characters too (C0, DEL, and C1, which some terminals obey): what a
 * terminal only shows. */
size_t text_printable(const char *text, size_t len);

/* Writes text for a terminal: what is not printable becomes \xNN, but for newlines and tabs. */
void text_put(FILE *out, const char *text, size_t len);

#endif
