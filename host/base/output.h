/* Bytes that go out whole, and none of standard output's lost unnoticed. */
#ifndef HOST_OUTPUT_H
#define HOST_OUTPUT_H

#include <stddef.h>

/* Writes all of the bytes, by one write(2) where the descriptor takes them at once. 0 or a negative
 * errno. */
int output_write(int fd, const void *bytes, size_t len);

/* Writes a script's line to the descriptor, whole, behind what stdio has of standard output. Where
 * that fails it is logged, once until a line could be written again. */
void output_line(int fd, const char *line, size_t len);

/* When no more comes: writes what stdio still has of standard output. Gives code, the process' exit
 * code, but EX_IOERR for EX_OK where something could not be written, which is logged unless it was.
 */
int output_end(int code);

#endif
