/* libipq's messages: the kernel's become ip_queue's, in a buffer that ends where the caller said.
 */
#include "fuzz.h"
#include "lib/libipq/handle.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>

static struct ipq_classic classic = {
	.family = NFPROTO_IPV4,
	.devices_in_use = ATOMIC_FLAG_INIT,
	.devices = {.fd = -1}, /* nobody is asked for interfaces */
};

static void packet_check(const unsigned char *buf, size_t len, uint32_t id, size_t message_len)
{
	ipq_packet_msg_t msg;

	CHECK(len >= NLMSG_LENGTH(sizeof(msg)));
	memcpy(&msg, buf + NLMSG_HDRLEN, sizeof(msg));
	CHECK(msg.packet_id == id && msg.hw_addrlen <= sizeof(msg.hw_addr));
	CHECK(NLMSG_LENGTH(sizeof(msg)) + msg.data_len <= len && msg.data_len <= message_len);
	CHECK(memchr(msg.indev_name, 0, IFNAMSIZ) && memchr(msg.outdev_name, 0, IFNAMSIZ));
}

static void result_check(const unsigned char *buf, size_t len, uint32_t id, size_t message_len)
{
	struct nlmsghdr nlh;

	CHECK(len >= sizeof(nlh));
	memcpy(&nlh, buf, sizeof(nlh));
	CHECK(nlh.nlmsg_len == len);
	CHECK(nlh.nlmsg_type == IPQM_PACKET || nlh.nlmsg_type == NLMSG_ERROR);
	if (nlh.nlmsg_type == IPQM_PACKET)
		packet_check(buf, len, id, message_len);
	else
		CHECK(len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = {bytes, len};
	uint8_t flags = take8(&in);
	uint16_t room = take16(&in);
	/* ipq_read() takes no less; or some more than the message. */
	size_t buf_len = sizeof(struct nlmsgerr) + (flags & 4 ? in.len + room % 128 : room);
	struct ipq_head head;
	size_t message_len = in.len, rest;
	struct nlmsghdr *nlh = (struct nlmsghdr *)head.bytes;
	unsigned char *buf = malloc(buf_len);
	struct ipq_identity identity = {0};
	ssize_t ret;

	CHECK(buf);
	memset(&head, flags, sizeof(head));
	memcpy(head.bytes, in.bytes, in.len < sizeof(head) ? in.len : sizeof(head));
	if (flags & 2 && message_len >= sizeof(*nlh))
		nlh->nlmsg_len = (uint32_t)message_len;
	/* Where it is longer than the buffer the rest was cut off on its way, but its length is
	 * told. */
	rest = in.len < sizeof(head) ? 0 : in.len - sizeof(head);
	memcpy(buf, in.bytes + in.len - rest, rest < buf_len ? rest : buf_len);
	classic.family = flags & 1 ? NFPROTO_IPV6 : NFPROTO_IPV4;
	ret = ipq_message_translate(&classic, &head, message_len, buf, buf_len, &identity);
	if (ret >= 0) {
		CHECK((size_t)ret <= buf_len);
		result_check(buf, (size_t)ret, identity.id, message_len);
	} else {
		CHECK(ret == -EMSGSIZE || ret == -EAFNOSUPPORT || ret == -EBADMSG);
		CHECK(ret != -EAFNOSUPPORT || identity.family != classic.family);
	}
	free(buf);
	return 0;
}
