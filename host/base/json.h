/* JSON, as it is written. */
#ifndef HOST_JSON_H
#define HOST_JSON_H

#include <stdio.h>

/* Writes text as a JSON string, quotes included (RFC 8259). A byte that is no UTF-8
 * becomes \\xNN as text. */
void json_put_string(FILE *out, const char *text);

#endif
