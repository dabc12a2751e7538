/* Who a worker is, and what it may do to the system. */
#ifndef HOST_PRIVILEGES_H
#define HOST_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

enum { PRIVILEGES_GROUPS_MAX = 256 };

struct privileges_user {
	uid_t uid;
	gid_t gid;
	int group_count;
	gid_t groups[PRIVILEGES_GROUPS_MAX];
};

/* Finds the user of "USER[:GROUP]", names or numbers. With a GROUP it is in that one alone, else in
 * those that the system says. 0, -ENOENT (no such user, or a number without a name and a GROUP),
 * -ESRCH (no such group) or -E2BIG (in more groups than there is room for). */
int privileges_find(struct privileges_user *user, const char *text);

/* Becomes that user, unless it is NULL, and gives all capabilities up but CAP_NET_ADMIN. A signal
 * that the parent's death is to send is kept. 0 or a negative errno, with some of it given up.
 * Capabilities are a thread's: without a user, others would keep theirs. */
int privileges_drop(const struct privileges_user *user);

/* Whether the process has other threads, which would keep what is the calling one's to give up. */
bool privileges_has_threads(void);

/* No program that is executed from here on gains privileges. 0 or a negative errno. */
int privileges_seal(void);

#endif
