/* Preloaded, makes this a kernel that is short of memory: it answers IPQ_SPEC_ERRNO to the first
 * IPQ_SPEC_TIMES messages with verdicts of a process. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	static int refused;
	ssize_t (*real)(int, const struct msghdr *, int) =
		(ssize_t(*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg");

	/* What has a receiver's name is for the service manager. */
	if (!message->msg_name && refused < atoi(getenv("IPQ_SPEC_TIMES"))) {
		refused++;
		errno = atoi(getenv("IPQ_SPEC_ERRNO"));
		return -1;
	}
	return real(fd, message, flags);
}
