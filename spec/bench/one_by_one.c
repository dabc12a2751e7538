/* What nearly every queue program does: one recv, one parse by libmnl, one verdict by one send. The
 * measure for the others: one_by_one QUEUE [gso] */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>

static struct mnl_socket *nl;
static uint16_t queue_num;

static struct nlmsghdr *header(char *buf, int type)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(queue_num);
	return nlh;
}

static int attr(const struct nlattr *a, void *data)
{
	const struct nlattr **attrs = data;

	if (mnl_attr_type_valid(a, NFQA_MAX) >= 0)
		attrs[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static int packet(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *attrs[NFQA_MAX + 1] = {NULL};
	const struct nfqnl_msg_packet_hdr *hdr;
	struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(NF_ACCEPT)};
	char buf[256];
	struct nlmsghdr *answer = header(buf, NFQNL_MSG_VERDICT);

	(void)data;
	if (mnl_attr_parse(nlh, sizeof(struct nfgenmsg), attr, attrs) < 0 ||
	    !attrs[NFQA_PACKET_HDR])
		return MNL_CB_ERROR;
	hdr = mnl_attr_get_payload(attrs[NFQA_PACKET_HDR]);
	verdict.id = hdr->packet_id;
	mnl_attr_put(answer, NFQA_VERDICT_HDR, sizeof(verdict), &verdict);
	return mnl_socket_sendto(nl, answer, answer->nlmsg_len) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

int main(int argc, char **argv)
{
	static char buf[0x10000 + 4096];
	struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND};
	struct nfqnl_msg_config_params params = {.copy_mode = NFQNL_COPY_PACKET,
						 .copy_range = htonl(0xffff)};
	uint32_t flags = NFQA_CFG_F_UID_GID;
	struct nlmsghdr *nlh;
	int size = 128 << 20, on = 1;
	ssize_t len;

	queue_num = (uint16_t)(argc > 1 ? atoi(argv[1]) : 0);
	if (argc > 2 && strcmp(argv[2], "gso") == 0)
		flags |= NFQA_CFG_F_GSO;
	nl = mnl_socket_open(NETLINK_NETFILTER);
	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return 1;
	/* The same buffers as the others: only the loop is compared. */
	setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	mnl_socket_setsockopt(nl, NETLINK_NO_ENOBUFS, &on, sizeof(on));
	nlh = header(buf, NFQNL_MSG_CONFIG);
	mnl_attr_put(nlh, NFQA_CFG_CMD, sizeof(command), &command);
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return 1;
	nlh = header(buf, NFQNL_MSG_CONFIG);
	mnl_attr_put(nlh, NFQA_CFG_PARAMS, sizeof(params), &params);
	mnl_attr_put_u32(nlh, NFQA_CFG_FLAGS, htonl(flags));
	mnl_attr_put_u32(nlh, NFQA_CFG_MASK, htonl(flags));
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return 1;
	while ((len = mnl_socket_recvfrom(nl, buf, sizeof(buf))) > 0)
		if (mnl_cb_run(buf, (size_t)len, 0, mnl_socket_get_portid(nl), packet, NULL) < 0)
			return 1;
	return 1;
}
