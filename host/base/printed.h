/* What goes to standard output, the script's lines among it: none of it is lost unnoticed. */
#ifndef HOST_PRINTED_H
#define HOST_PRINTED_H

#include <stddef.h>

/* Writes a line to the descriptor, whole, behind what was printed. Where that fails it is logged,
 * once until a line could be written again. */
void printed_line(int fd, const char *line, size_t len);

/* When no more comes: writes what is in memory still. Gives code, the process' exit code, but
 * EX_IOERR for EX_OK where something could not be written, which is logged unless it was. */
int printed_end(int code);

#endif
