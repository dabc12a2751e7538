/* Preloaded, makes this a system without nfnetlink_queue: socket() for netfilter's netlink answers
 * IPQ_SPEC_ERRNO. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <linux/netlink.h>
#include <sys/socket.h>

int socket(int domain, int type, int protocol)
{
	int (*real)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");

	if (domain == AF_NETLINK && protocol == NETLINK_NETFILTER) {
		errno = atoi(getenv("IPQ_SPEC_ERRNO"));
		return -1;
	}
	return real(domain, type, protocol);
}
