#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

/* Another program's memory of another size, or a file that somebody could cut off below us. */
static bool is_ours(int fd, size_t size)
{
	struct stat status;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(fd, &status) == 0 &&
	       (uint64_t)status.st_size == size;
}

/* By its name, too, it is not the page of figures that others look for. */
static int make(enum inherit_kind kind, size_t size)
{
	static const char *const names[] = {
		[INHERIT_FLOWS] = "flows",
		[INHERIT_STREAMS] = "streams",
		[INHERIT_SHARED] = "shared",
	};
	int fd = memfd_create(names[kind], MFD_CLOEXEC | MFD_ALLOW_SEALING), error;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0)
		return fd;
	error = errno;
	if (fd >= 0)
		close(fd);
	return -error;
}

static int map(struct region *region)
{
	region->memory =
		mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
	if (region->memory != MAP_FAILED)
		return 0;
	region->memory = NULL;
	return -errno;
}

/* False, and there is nothing mapped, where the inherited one is not what is asked for. */
static bool take(struct region *region, int fd, int (*check)(const void *memory, size_t size))
{
	if (!is_ours(fd, region->size))
		return false;
	region->fd = fd;
	if (map(region) == 0 && (!check || check(region->memory, region->size) == 0))
		return true;
	if (region->memory)
		munmap(region->memory, region->size);
	region->memory = NULL;
	region->fd = -1;
	return false;
}

int region_prepare(struct region *region, struct inheritance *inheritance, enum inherit_kind kind,
		   uint16_t queue_num, size_t size, int (*check)(const void *memory, size_t size))
{
	int ret;

	*region = (struct region){.fd = -1, .size = size};
	while ((ret = inherit_find(inheritance, kind, queue_num)) >= 0) {
		region->is_inherited = take(region, ret, check);
		if (region->is_inherited)
			return 0;
		region->has_refused = true;
		inherit_forget(kind, queue_num);
		close(ret);
	}
	ret = make(kind, size);
	if (ret < 0)
		return ret;
	region->fd = ret;
	ret = map(region);
	if (ret < 0)
		region_release(region);
	return ret;
}

uint64_t region_taken(const struct region *region)
{
	struct stat status;

	/* In blocks of 512 bytes, whatever the page. */
	return fstat(region->fd, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

void region_leave(struct region *region)
{
	if (region->fd >= 0)
		close(region->fd);
	region->fd = -1;
}

void region_release(struct region *region)
{
	if (region->memory)
		munmap(region->memory, region->size);
	region_leave(region);
	*region = (struct region){.fd = -1};
}
