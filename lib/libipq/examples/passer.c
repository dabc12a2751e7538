/*
 * passer: lets every packet through that the QUEUE target queues, and says what it was.
 *
 *	cc -o passer passer.c -lipq
 *	iptables -A OUTPUT -p icmp -j QUEUE
 *	./passer
 *
 * With a number as argument it ends after so many packets.
 */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libipq.h>

#define BUFFER_SIZE 2048

static void die(struct ipq_handle *h)
{
	ipq_perror("passer");
	ipq_destroy_handle(h);
	exit(1);
}

static void pass(struct ipq_handle *h, ipq_packet_msg_t *msg)
{
	printf("packet %lu: %zu bytes, hook %u, in \"%s\", out \"%s\"\n", msg->packet_id,
	       msg->data_len, msg->hook, msg->indev_name, msg->outdev_name);
	fflush(stdout);
	if (ipq_set_verdict(h, msg->packet_id, NF_ACCEPT, 0, NULL) < 0)
		die(h);
}

int main(int argc, char **argv)
{
	long left = argc > 1 ? atol(argv[1]) : -1;
	unsigned char buf[BUFFER_SIZE];
	struct ipq_handle *h;

	h = ipq_create_handle(0, PF_INET);
	if (!h)
		die(h);
	if (ipq_set_mode(h, IPQ_COPY_PACKET, BUFFER_SIZE - 112) < 0)
		die(h);
	while (left != 0) {
		if (ipq_read(h, buf, sizeof(buf), 0) < 0)
			die(h);
		switch (ipq_message_type(buf)) {
		case NLMSG_ERROR:
			fprintf(stderr, "passer: %s\n", strerror(ipq_get_msgerr(buf)));
			ipq_destroy_handle(h);
			return 1;
		case IPQM_PACKET:
			pass(h, ipq_get_packet(buf));
			left--;
			break;
		default: fprintf(stderr, "passer: unknown message\n"); break;
		}
	}
	ipq_destroy_handle(h);
	return 0;
}
