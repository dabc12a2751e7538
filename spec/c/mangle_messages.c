/* Preloaded, damages every third message that the kernel sends a queue, as IPQ_SPEC_MANGLE says:
 *   length   an attribute behind NFQA_PACKET_HDR claims more than there is
 *   id       NFQA_PACKET_HDR is gone
 *   short    the message ends in the middle
 *   error    every third message is refused: an NLMSG_ERROR comes instead, and the packet waits
 *   overrun  no message is damaged: every third time the socket tells that its buffer overran */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <sys/socket.h>

static void mangle(struct mmsghdr *message, const char *how)
{
	char *bytes = message->msg_hdr.msg_iov->iov_base;
	struct nlattr *hdr =
		(struct nlattr *)(bytes + sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg));
	struct nlattr *next = (struct nlattr *)((char *)hdr + NLA_ALIGN(hdr->nla_len));

	if (strcmp(how, "length") == 0) {
		next->nla_len = 0xffff;
	} else if (strcmp(how, "id") == 0) {
		hdr->nla_type = 99;
	} else if (strcmp(how, "short") == 0) {
		message->msg_len /= 2;
	} else if (strcmp(how, "error") == 0) {
		struct nlmsghdr *nlh = (struct nlmsghdr *)bytes;
		struct nlmsgerr error = {.error = -ENOENT};

		nlh->nlmsg_type = NLMSG_ERROR;
		memcpy(bytes + sizeof(*nlh), &error, sizeof(error));
	}
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags,
	     struct timespec *timeout)
{
	static unsigned int seen, calls;
	const char *how = getenv("IPQ_SPEC_MANGLE");
	int (*real)(int, struct mmsghdr *, unsigned int, int, struct timespec *) =
		(int (*)(int, struct mmsghdr *, unsigned int, int, struct timespec *))dlsym(
			RTLD_NEXT, "recvmmsg");
	int ret;

	if (strcmp(how, "overrun") == 0 && ++calls % 3 == 0) {
		errno = ENOBUFS;
		return -1;
	}
	ret = real(fd, messages, count, flags, timeout);
	for (int i = 0; i < ret; i++)
		if (++seen % 3 == 0)
			mangle(&messages[i], how);
	return ret;
}
