/* JSON, as it is written. */
#ifndef HOST_JSON_H
#define HOST_JSON_H

#include <stdio.h>

/* Writes text as a JSON string, quotes included (RFC 8259). A byte that is no part of a UTF-8
 * character becomes U+FFFD. */
void json_put_string(FILE *out, const char *text);

#endif
