/* The loop of libnetfilter_queue's sample program, which most programs on that library have: one
 * recv, one callback, one verdict: nfq_sample QUEUE */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>

static int packet(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *data,
		  void *context)
{
	const struct nfqnl_msg_packet_hdr *header = nfq_get_msg_packet_hdr(data);
	unsigned char *payload;

	(void)message;
	(void)context;
	if (!header || nfq_get_payload(data, &payload) < 0)
		return -1;
	return nfq_set_verdict(queue, ntohl(header->packet_id), NF_ACCEPT, 0, NULL);
}

int main(int argc, char **argv)
{
	static char buf[0x10000 + 4096] __attribute__((aligned));
	struct nfq_handle *handle = nfq_open();
	struct nfq_q_handle *queue;
	int size = 128 << 20;
	ssize_t len;
	int fd;

	if (!handle)
		return 1;
	queue = nfq_create_queue(handle, (uint16_t)(argc > 1 ? atoi(argv[1]) : 0), packet, NULL);
	if (!queue || nfq_set_mode(queue, NFQNL_COPY_PACKET, 0xffff) < 0)
		return 1;
	/* The same buffer as the others: only the loop is compared. */
	fd = nfq_fd(handle);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	for (;;) {
		len = recv(fd, buf, sizeof(buf), 0);
		if (len >= 0)
			nfq_handle_packet(handle, buf, (int)len);
		else if (errno != ENOBUFS)
			return 1;
	}
}
