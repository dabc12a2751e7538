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
	int fd = memfd_create(kind == INHERIT_FLOWS ? "flows" : "shared",
			      MFD_CLOEXEC | MFD_ALLOW_SEALING),
	    error;

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

int region_prepare(struct region *region, struct inheritance *inheritance, enum inherit_kind kind,
		   uint16_t queue_num, size_t size)
{
	int ret = inherit_find(inheritance, kind, queue_num);

	*region = (struct region){.fd = -1, .size = size};
	if (ret >= 0 && !is_ours(ret, size)) {
		close(ret);
		ret = -1;
	}
	region->is_inherited = ret >= 0;
	if (ret < 0)
		ret = make(kind, size);
	if (ret < 0)
		return ret;
	region->fd = ret;
	ret = map(region);
	if (ret < 0)
		region_release(region);
	return ret;
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
