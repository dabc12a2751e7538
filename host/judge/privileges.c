#include "privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/stat.h>

/* Who is asked for */

/* A whole number below the last, which stands for none. */
static bool number(const char *text, unsigned int *result)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] < '0' || text[0] > '9' || n >= UINT_MAX)
		return false;
	*result = (unsigned int)n;
	return true;
}

static int find_group(gid_t *gid, const char *text)
{
	const struct group *group = getgrnam(text);

	if (group)
		*gid = group->gr_gid;
	return group || number(text, gid) ? 0 : -ESRCH;
}

static int find_user(struct privileges_user *user, const char *name, const char *group)
{
	const struct passwd *passwd = getpwnam(name);

	if (!passwd && number(name, &user->uid))
		passwd = getpwuid(user->uid);
	else if (!passwd)
		return -ENOENT;
	if (passwd)
		user->uid = passwd->pw_uid;
	if (group)
		return find_group(&user->gid, group);
	if (!passwd)
		return -ENOENT;
	user->gid = passwd->pw_gid;
	user->group_count = PRIVILEGES_GROUPS_MAX;
	if (getgrouplist(passwd->pw_name, user->gid, user->groups, &user->group_count) < 0)
		return -E2BIG;
	return 0;
}

int privileges_find(struct privileges_user *user, const char *text)
{
	char *name = strdup(text);
	char *group = name ? strchr(name, ':') : NULL;
	int ret = -ENOMEM;

	*user = (struct privileges_user){0};
	if (group)
		*group++ = '\0';
	if (name)
		ret = find_user(user, name, group);
	free(name);
	return ret;
}

/* Becoming it */

/* The kernel forgets the signal with the old user. A parent that died in between sends none. */
static int become(const struct privileges_user *user)
{
	pid_t parent = getppid();
	int signal;

	if (prctl(PR_GET_PDEATHSIG, &signal) < 0 || prctl(PR_SET_KEEPCAPS, 1) < 0 ||
	    setgroups((size_t)user->group_count, user->groups) < 0 ||
	    setresgid(user->gid, user->gid, user->gid) < 0 ||
	    setresuid(user->uid, user->uid, user->uid) < 0 || prctl(PR_SET_KEEPCAPS, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, signal) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

bool privileges_has_threads(void)
{
	struct stat tasks;

	/* "." and ".." count. */
	return stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > 3;
}

static int apply(capng_select_t set)
{
	errno = 0;
	if (capng_apply(set) == 0)
		return 0;
	return errno ? -errno : -EPERM;
}

int privileges_drop(const struct privileges_user *user)
{
	bool bounds;
	int ret = 0;

	if (capng_get_caps_process() < 0)
		return -EIO;
	/* Who lacks it cannot change its bounds, which matter only to a program that gains by being
	 * executed: privileges_seal() leaves none. */
	bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN) < 0)
		return -EIO;
	/* Before the user, and with it what this takes, changes. */
	if (bounds)
		ret = apply(CAPNG_SELECT_BOUNDS);
	if (ret == 0 && user)
		ret = become(user);
	return ret == 0 ? apply(CAPNG_SELECT_CAPS) : ret;
}

int privileges_seal(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}
