/*
 * libipq(3): packets that Netfilter queues, and what becomes of them.
 *
 * The classic library's interface, on nfnetlink_queue. Each function has a manual page.
 */
#ifndef _LIBIPQ_H
#define _LIBIPQ_H

/* Programs count on having these from here. */
#include <errno.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <asm/types.h>
#include <linux/netlink.h>
#include <linux/netfilter_ipv4/ip_queue.h>

#ifdef DEBUG_LIBIPQ
#include <stdio.h>
#define LDEBUG(x...) fprintf(stderr, ##x)
#else
#define LDEBUG(x...)
#endif

#ifndef MSG_TRUNC
#define MSG_TRUNC 0x20
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned long ipq_id_t;

/* Only ipq_create_handle() makes one. fd is for select(), poll() and setsockopt(). */
struct ipq_handle {
	int fd;
	u_int8_t blocking; /* unused */
	struct sockaddr_nl local;
	struct sockaddr_nl peer;
};

struct ipq_handle *ipq_create_handle(u_int32_t flags, u_int32_t protocol);

int ipq_destroy_handle(struct ipq_handle *h);

ssize_t ipq_read(const struct ipq_handle *h, unsigned char *buf, size_t len, int timeout);

int ipq_set_mode(const struct ipq_handle *h, u_int8_t mode, size_t len);

ipq_packet_msg_t *ipq_get_packet(const unsigned char *buf);

int ipq_message_type(const unsigned char *buf);

int ipq_get_msgerr(const unsigned char *buf);

int ipq_set_verdict(const struct ipq_handle *h, ipq_id_t id, unsigned int verdict, size_t data_len,
		    unsigned char *buf);

int ipq_ctl(const struct ipq_handle *h, int request, ...);

char *ipq_errstr(void);

void ipq_perror(const char *s);

#ifdef __cplusplus
}
#endif

#endif
