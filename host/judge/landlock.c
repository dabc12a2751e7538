#include "landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>
#include <linux/landlock.h>
#include <sys/syscall.h>

/* linux/landlock.h of 6.2 has it */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

/* A kernel that knows fewer of them is asked for fewer. */
#define WRITE_FILES (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define WRITE                                                                           \
	(WRITE_FILES | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |                   \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                   \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |                 \
	 LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)

int landlock_version(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0,
			       LANDLOCK_CREATE_RULESET_VERSION);

	return version > 0 ? (int)version : LANDLOCK_NONE;
}

/* Those rights of WRITE that the version knows. */
static uint64_t rights_of(int version)
{
	uint64_t rights = WRITE;

	if (version < LANDLOCK_TRUNCATES)
		rights &= ~(uint64_t)LANDLOCK_ACCESS_FS_TRUNCATE;
	if (version < 2)
		rights &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
	return rights;
}

static int allow(int ruleset, const char *path, uint64_t rights, int flags)
{
	struct landlock_path_beneath_attr below = {
		.allowed_access = rights,
		.parent_fd = open(path, O_PATH | O_CLOEXEC | flags),
	};
	int ret = 0;

	if (below.parent_fd < 0)
		return -errno;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &below, 0) < 0)
		ret = -errno;
	close(below.parent_fd);
	return ret;
}

static int allow_all(int ruleset, const struct options *options, uint64_t rights,
		     const char **culprit)
{
	static const char *const devices[] = {"/dev/null", "/dev/full", "/dev/zero", "/dev/tty"};
	int ret = 0;

	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]) && ret == 0; i++) {
		ret = allow(ruleset, devices[i], rights & WRITE_FILES, 0);
		/* A container may lack some. */
		if (ret == -ENOENT || ret == -ENXIO || ret == -EACCES)
			ret = 0;
	}
	for (unsigned int i = 0; i < options->writable_count && ret == 0; i++) {
		*culprit = options->writable[i];
		ret = allow(ruleset, *culprit, rights, O_DIRECTORY);
	}
	return ret;
}

int landlock_enter(const struct options *options, const char **culprit)
{
	int version = landlock_version();
	struct landlock_ruleset_attr handled = {.handled_access_fs = rights_of(version)};
	int ruleset, ret;

	*culprit = NULL;
	if (version == LANDLOCK_NONE)
		return 0;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	if (ruleset < 0)
		return -errno;
	ret = allow_all(ruleset, options, handled.handled_access_fs, culprit);
	if (ret == 0) {
		*culprit = NULL;
		if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
			ret = -errno;
	}
	close(ruleset);
	return ret;
}
