/* Bytes that go out whole. */
#ifndef HOST_OUTPUT_H
#define HOST_OUTPUT_H

#include <stddef.h>

/* Writes all of them, by one write(2) where the descriptor takes them at once. 0 or a negative
 * errno. */
int output_write(int fd, const void *bytes, size_t len);

#endif
