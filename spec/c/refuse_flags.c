/* Preloaded, makes this a kernel that lacks some of a queue's flags (IPQ_SPEC_FLAGS, NFQA_CFG_F_*
 * as a number): a request that has them asks for one that no kernel has, too. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <sys/socket.h>

static void refuse(char *message, size_t len)
{
	uint32_t lacking = htonl((uint32_t)atoi(getenv("IPQ_SPEC_FLAGS")));
	size_t at = sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg);
	struct nlattr attr;
	uint32_t flags;

	for (; at + sizeof(attr) + sizeof(flags) <= len; at += NLA_ALIGN(attr.nla_len)) {
		memcpy(&attr, message + at, sizeof(attr));
		memcpy(&flags, message + at + sizeof(attr), sizeof(flags));
		if (attr.nla_len == 0)
			return;
		if ((attr.nla_type == NFQA_CFG_FLAGS || attr.nla_type == NFQA_CFG_MASK) &&
		    flags & lacking)
			flags |= htonl(0x80000000);
		memcpy(message + at + sizeof(attr), &flags, sizeof(flags));
	}
}

ssize_t sendto(int fd, const void *message, size_t len, int flags, const struct sockaddr *to,
	       socklen_t size)
{
	ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) =
		(ssize_t(*)(int, const void *, size_t, int, const struct sockaddr *,
			    socklen_t))dlsym(RTLD_NEXT, "sendto");

	if (to && to->sa_family == AF_NETLINK)
		refuse((char *)message, len);
	return real(fd, message, len, flags, to, size);
}
