#include "stats_page.h"
#include "host/base/base.h"
#include "lib/clock.h"
#include "lib/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define NAME "ipq-lua"

static const char magic[8] = "ipqstat";

enum { TRIES = 1000 };

static size_t size_for(uint32_t count)
{
	return sizeof(struct stats_page_head) + count * sizeof(struct stats);
}

/* The supervisor's */

/* From here on nobody else writes, and the size stays, so that no reader meets its end. */
static int seal(int fd)
{
	int seals = F_SEAL_SHRINK | F_SEAL_GROW;

	/* Linux 5.1 */
	if (fcntl(fd, F_ADD_SEALS, seals | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0)
		return 0;
	return fcntl(fd, F_ADD_SEALS, seals | F_SEAL_SEAL);
}

static struct stats_page_head *map(int fd, size_t size)
{
	void *page = MAP_FAILED;

	if (fchmod(fd, 0400) == 0 && ftruncate(fd, (off_t)size) == 0)
		page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return NULL;
	if (madvise(page, size, MADV_DONTFORK) == 0 && seal(fd) == 0)
		return page;
	munmap(page, size);
	return NULL;
}

int stats_page_new(struct stats_page_head **page, int *fd, uint32_t count, const char *script)
{
	int made = memfd_create(NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stats_page_head *head = made < 0 ? NULL : map(made, size_for(count));
	int error = errno;

	if (!head) {
		if (made >= 0)
			close(made);
		return -error;
	}
	memcpy(head->magic, magic, sizeof(magic));
	head->head_size = sizeof(*head);
	head->stats_size = sizeof(struct stats);
	head->count = count;
	head->since_ns = ipq_monotonic_ns();
	snprintf(head->version, sizeof(head->version), "%s", IPQ_VERSION);
	snprintf(head->script, sizeof(head->script), "%s", script);
	*page = head;
	*fd = made;
	return 0;
}

void stats_page_free(struct stats_page_head *page)
{
	if (page)
		munmap(page, size_for(page->count));
}

void stats_page_write(struct stats_page_head *page, const struct stats *stats)
{
	__atomic_store_n(&page->sequence, page->sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(page + 1, stats, page->count * sizeof(*stats));
	page->time_ns = ipq_monotonic_ns();
	__atomic_store_n(&page->sequence, page->sequence + 1, __ATOMIC_RELEASE);
}

/* A reader's */

/* Ends it, and takes away what a terminal could take for more than text. */
static void make_plain(char *text, size_t size)
{
	size_t len, step;

	text[size - 1] = '\0';
	len = strlen(text);
	for (size_t at = 0; at < len; at += step ? step : 1) {
		step = ipq_utf8_printable((const uint8_t *)text + at, len - at);
		if (!step)
			text[at] = '?';
	}
}

/* Whether it is one of this version's for that size. Whoever made it may have written anything, and
 * go on writing: head is a copy. */
static enum stats_page_result check(struct stats_page_head *head, size_t size)
{
	if (memcmp(head->magic, magic, sizeof(magic)) != 0)
		return STATS_PAGE_NONE;
	make_plain(head->version, sizeof(head->version));
	make_plain(head->script, sizeof(head->script));
	if (head->head_size != sizeof(*head) || head->stats_size != sizeof(struct stats) ||
	    strcmp(head->version, IPQ_VERSION) != 0 || head->count == 0 ||
	    head->count > OPTIONS_QUEUES_MAX || size_for(head->count) != size)
		return STATS_PAGE_OTHER;
	if (head->since_ns < 0 || head->time_ns < head->since_ns)
		return STATS_PAGE_UNSTEADY;
	return STATS_PAGE_OK;
}

/* Copies it between two writes. */
static enum stats_page_result copy(struct stats_snapshot *snapshot,
				   const struct stats_page_head *page, size_t size)
{
	size_t body = size - sizeof(*page);
	enum stats_page_result result;

	snapshot->head = *page;
	result = check(&snapshot->head, size);
	if (result == STATS_PAGE_NONE || result == STATS_PAGE_OTHER)
		return result;
	snapshot->stats = malloc(body);
	for (int i = 0; i < TRIES && snapshot->stats; i++) {
		uint32_t sequence = __atomic_load_n(&page->sequence, __ATOMIC_ACQUIRE);

		memcpy(&snapshot->head, page, sizeof(*page));
		memcpy(snapshot->stats, page + 1, body);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (sequence && sequence % 2 == 0 &&
		    __atomic_load_n(&page->sequence, __ATOMIC_RELAXED) == sequence)
			return check(&snapshot->head, size);
		usleep(100);
	}
	return STATS_PAGE_UNSTEADY;
}

static enum stats_page_result read_open(struct stats_snapshot *snapshot, int fd)
{
	struct stat status;
	enum stats_page_result result = STATS_PAGE_NONE;
	int seals = fcntl(fd, F_GET_SEALS);
	size_t size;
	void *page;

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &status) < 0 ||
	    (size_t)status.st_size < sizeof(struct stats_page_head))
		return STATS_PAGE_NONE;
	size = (size_t)status.st_size;
	page = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return STATS_PAGE_NONE;
	result = copy(snapshot, page, size);
	munmap(page, size);
	return result;
}

static bool is_page(int folder, const char *name)
{
	char target[64];
	ssize_t len = readlinkat(folder, name, target, sizeof(target) - 1);

	target[len > 0 ? len : 0] = '\0';
	return strcmp(target, "/memfd:" NAME " (deleted)") == 0;
}

/* Whoever has the process may have called anything so, in a file system of his own: it is looked at
 * before it is opened, which a FIFO would never be. */
static int open_page(int folder, const char *name)
{
	int looked_at = openat(folder, name, O_PATH | O_CLOEXEC);
	struct stat status;
	char path[64];
	int fd = -1;

	if (looked_at < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", looked_at);
	if (fstat(looked_at, &status) < 0 || !S_ISREG(status.st_mode))
		errno = ENOENT;
	else
		/* A lease on it would be waited for. */
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	close(looked_at);
	return fd;
}

static enum stats_page_result read_in(struct stats_snapshot *snapshot, DIR *folder)
{
	struct dirent *entry;
	enum stats_page_result result = STATS_PAGE_NONE;

	while (result == STATS_PAGE_NONE && (entry = readdir(folder))) {
		int fd;

		if (!is_page(dirfd(folder), entry->d_name))
			continue;
		fd = open_page(dirfd(folder), entry->d_name);
		if (fd < 0)
			return errno == EACCES || errno == EPERM ? STATS_PAGE_DENIED
								 : STATS_PAGE_NONE;
		result = read_open(snapshot, fd);
		close(fd);
	}
	return result;
}

enum stats_page_result stats_page_read(struct stats_snapshot *snapshot, pid_t pid)
{
	char path[64];
	enum stats_page_result result;
	DIR *folder;

	*snapshot = (struct stats_snapshot){.stats = NULL};
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	folder = opendir(path);
	if (!folder)
		return errno == EACCES || errno == EPERM ? STATS_PAGE_DENIED : STATS_PAGE_NONE;
	result = read_in(snapshot, folder);
	closedir(folder);
	if (result != STATS_PAGE_OK) {
		/* What is left tells the version. */
		free(snapshot->stats);
		snapshot->stats = NULL;
	}
	return result;
}

void stats_page_clear(struct stats_snapshot *snapshot)
{
	free(snapshot->stats);
	*snapshot = (struct stats_snapshot){.stats = NULL};
}
