/* NFQNL_MSG_CONFIG messages, and who may send them. */
#include "messages.h"
#include "queue.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>
#include <libmnl/libmnl.h>
#include <linux/capability.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static struct nlmsghdr *start(void *buf, uint16_t queue_num)
{
	struct nlmsghdr *nlh;
	struct nfgenmsg *nfg;

	/* libmnl up to 1.0.4 leaves the padding behind attributes as it is. */
	memset(buf, 0, IPQ_CONFIG_SIZE);
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = AF_UNSPEC;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(queue_num);
	return nlh;
}

static struct nlmsghdr *put_command(void *buf, uint16_t queue_num, uint8_t number)
{
	struct nlmsghdr *nlh = start(buf, queue_num);
	struct nfqnl_msg_config_cmd command = {.command = number};

	mnl_attr_put(nlh, NFQA_CFG_CMD, sizeof(command), &command);
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

	mnl_attr_put(nlh, NFQA_CFG_PARAMS, sizeof(params), &params);
	return nlh;
}

struct nlmsghdr *ipq_netlink_maxlen(void *buf, uint16_t queue_num, uint32_t maxlen)
{
	struct nlmsghdr *nlh = start(buf, queue_num);

	mnl_attr_put_u32(nlh, NFQA_CFG_QUEUE_MAXLEN, htonl(maxlen));
	return nlh;
}

struct nlmsghdr *ipq_netlink_flags(void *buf, uint16_t queue_num, uint32_t mask, uint32_t flags)
{
	struct nlmsghdr *nlh = start(buf, queue_num);

	mnl_attr_put_u32(nlh, NFQA_CFG_FLAGS, htonl(flags));
	mnl_attr_put_u32(nlh, NFQA_CFG_MASK, htonl(mask));
	return nlh;
}

bool ipq_has_net_admin(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capget, &header, data) == 0 &&
	       data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN);
}
