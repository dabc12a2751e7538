#include "core_calls.h"
#include "lib/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/random.h>
#include <sys/stat.h>

double ipq_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

double ipq_monotonic_us(void)
{
	/* NOLINTNEXTLINE(bugprone-integer-division): whole microseconds */
	return (double)(ipq_monotonic_ns() / 1000);
}

int ipq_find(const uint8_t *haystack, uint32_t haystack_len, const char *needle,
	     uint32_t needle_len)
{
	const uint8_t *found = memmem(haystack, haystack_len, needle, needle_len);

	return found ? (int)(found - haystack) : -1;
}

int ipq_file_check(const char *path)
{
	struct stat status;

	if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0 || stat(path, &status) < 0)
		return -errno;
	return S_ISDIR(status.st_mode) ? -EISDIR : 0;
}

int ipq_random(void *bytes, size_t len)
{
	ssize_t ret = getrandom(bytes, len, 0);

	if (ret < 0)
		return -errno;
	return (size_t)ret == len ? 0 : -EAGAIN;
}

void ipq_stdout_write(const char *bytes, size_t len)
{
	fwrite(bytes, 1, len, stdout);
}

/* Its first byte last, and behind all others on every processor: arm64 lets another one see two
 * stores in either order unless it is told. */
void ipq_counter_name(struct ipq_counter *counter, const char *name, uint32_t len, double value)
{
	memcpy(counter->name + 1, name + 1, len - 1);
	counter->value = value;
	__atomic_store_n(&counter->name[0], name[0], __ATOMIC_RELEASE);
}
