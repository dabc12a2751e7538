/* NFQNL_MSG_CONFIG messages, and who may send them. */
#include "messages.h"
#include "queue.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static struct nlmsghdr *start(void *buf, uint16_t queue_num)
{
	struct nlmsghdr *nlh = buf;
	struct nfgenmsg nfg = {
		.nfgen_family = AF_UNSPEC,
		.version = NFNETLINK_V0,
		.res_id = htons(queue_num),
	};

	memset(buf, 0, IPQ_CONFIG_SIZE);
	nlh->nlmsg_len = NLMSG_LENGTH(sizeof(nfg));
	nlh->nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	memcpy((uint8_t *)buf + NLMSG_HDRLEN, &nfg, sizeof(nfg));
	return nlh;
}

void ipq_netlink_put(struct nlmsghdr *nlh, uint16_t type, const void *value, size_t len)
{
	struct nlattr attr = {.nla_len = (uint16_t)(NLA_HDRLEN + len), .nla_type = type};
	uint8_t *end = (uint8_t *)nlh + nlh->nlmsg_len;

	memcpy(end, &attr, sizeof(attr));
	memcpy(end + NLA_HDRLEN, value, len);
	nlh->nlmsg_len += (uint32_t)NLA_ALIGN((size_t)attr.nla_len);
}

static void put_u32(struct nlmsghdr *nlh, uint16_t type, uint32_t value)
{
	value = htonl(value);
	ipq_netlink_put(nlh, type, &value, sizeof(value));
}

static struct nlmsghdr *put_command(void *buf, uint16_t queue_num, uint8_t number)
{
	struct nlmsghdr *nlh = start(buf, queue_num);
	struct nfqnl_msg_config_cmd command = {.command = number};

	ipq_netlink_put(nlh, NFQA_CFG_CMD, &command, sizeof(command));
	return nlh;
}

struct nlmsghdr *ipq_netlink_bind(void *buf, uint16_t queue_num)
{
	return put_command(buf, queue_num, NFQNL_CFG_CMD_BIND);
}

struct nlmsghdr *ipq_netlink_unbind(void *buf, uint16_t queue_num)
{
	return put_command(buf, queue_num, NFQNL_CFG_CMD_UNBIND);
}

struct nlmsghdr *ipq_netlink_mode(void *buf, uint16_t queue_num, uint8_t mode, uint32_t range)
{
	struct nlmsghdr *nlh = start(buf, queue_num);
	struct nfqnl_msg_config_params params = {.copy_range = htonl(range), .copy_mode = mode};

	ipq_netlink_put(nlh, NFQA_CFG_PARAMS, &params, sizeof(params));
	return nlh;
}

struct nlmsghdr *ipq_netlink_maxlen(void *buf, uint16_t queue_num, uint32_t maxlen)
{
	struct nlmsghdr *nlh = start(buf, queue_num);

	put_u32(nlh, NFQA_CFG_QUEUE_MAXLEN, maxlen);
	return nlh;
}

struct nlmsghdr *ipq_netlink_flags(void *buf, uint16_t queue_num, uint32_t mask, uint32_t flags)
{
	struct nlmsghdr *nlh = start(buf, queue_num);

	put_u32(nlh, NFQA_CFG_FLAGS, flags);
	put_u32(nlh, NFQA_CFG_MASK, mask);
	return nlh;
}

bool ipq_has_net_admin(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capget, &header, data) == 0 &&
	       data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN);
}
