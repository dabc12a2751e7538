/* Inputs as files: a name for bytes in memory. */
#ifndef IPQ_FUZZ_FILE_H
#define IPQ_FUZZ_FILE_H

#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

/* One file, with other bytes each time. The name stays good. */
static inline const char *file_of(const uint8_t *bytes, size_t len)
{
	static char name[64];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("input", MFD_CLOEXEC);
		CHECK(fd >= 0);
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	}
	CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, len, 0) == (ssize_t)len);
	return name;
}

#endif
