/*
 * The classic libipq(3) library on nfnetlink_queue. The functions' contracts are their manual
 * pages; what differs in a kernel with nfnetlink_queue is in libipq(3).
 */
#include "handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/netfilter.h>

enum {
	IPQ_ERR_NONE,
	IPQ_ERR_IMPL,
	IPQ_ERR_HANDLE,
	IPQ_ERR_SOCKET,
	IPQ_ERR_BIND,
	IPQ_ERR_BUFFER,
	IPQ_ERR_RECV,
	IPQ_ERR_NLEOF,
	IPQ_ERR_ADDRLEN,
	IPQ_ERR_STRUNC,
	IPQ_ERR_RTRUNC,
	IPQ_ERR_NLRECV,
	IPQ_ERR_SEND,
	IPQ_ERR_SUPP,
	IPQ_ERR_RECVBUF,
	IPQ_ERR_TIMEOUT,
	IPQ_ERR_PROTOCOL,
	IPQ_MAXERR = IPQ_ERR_PROTOCOL
};

/* The original exported this without a declaration. */
extern struct ipq_errmap_t {
	int errcode;
	char *message;
} ipq_errmap[];

struct ipq_errmap_t ipq_errmap[] = {
	{IPQ_ERR_NONE, "Unknown error"},
	{IPQ_ERR_IMPL, "Implementation error"},
	{IPQ_ERR_HANDLE, "Unable to create netlink handle"},
	{IPQ_ERR_SOCKET, "Unable to create netlink socket"},
	{IPQ_ERR_BIND, "Unable to bind netlink socket"},
	{IPQ_ERR_BUFFER, "Unable to allocate buffer"},
	{IPQ_ERR_RECV, "Failed to receive netlink message"},
	{IPQ_ERR_NLEOF, "Received EOF on netlink socket"},
	{IPQ_ERR_ADDRLEN, "Invalid peer address length"},
	{IPQ_ERR_STRUNC, "Sent message truncated"},
	{IPQ_ERR_RTRUNC, "Received message truncated"},
	{IPQ_ERR_NLRECV, "Received error from netlink"},
	{IPQ_ERR_SEND, "Failed to send netlink message"},
	{IPQ_ERR_SUPP, "Operation not supported"},
	{IPQ_ERR_RECVBUF, "Receive buffer size invalid"},
	{IPQ_ERR_TIMEOUT, "Timeout"},
	{IPQ_ERR_PROTOCOL, "Invalid protocol specified"},
};

enum {
	/* What the original sent and gave back: netlink header and request, and for the mode that
	 * header once more. */
	VERDICT_SENT = NLMSG_LENGTH(sizeof(ipq_peer_msg_t)),
	MODE_SENT = NLMSG_LENGTH(VERDICT_SENT)
};

/* Of the whole process, as programs know it: ipq_perror() needs no handle. */
static _Atomic int ipq_errno = IPQ_ERR_NONE;

static int fail(int error)
{
	ipq_errno = error;
	return -1;
}

/* Handles */

static struct ipq_classic *classic_of(const struct ipq_handle *h)
{
	/* ipq_create_handle() made it, as a struct ipq_classic. */
	return (struct ipq_classic *)h;
}

struct ipq_handle *ipq_create_handle(u_int32_t flags, u_int32_t protocol)
{
	struct ipq_classic *classic = NULL;
	int error = IPQ_ERR_PROTOCOL;
	int saved = errno;
	int on = 1;
	int ret;

	(void)flags;
	if (protocol != NFPROTO_IPV4 && protocol != NFPROTO_IPV6)
		goto cleanup;
	error = IPQ_ERR_HANDLE;
	classic = calloc(1, sizeof(*classic));
	if (!classic) {
		saved = errno;
		goto cleanup;
	}
	classic->family = (uint8_t)protocol;
	error = IPQ_ERR_SOCKET;
	classic->handle.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (classic->handle.fd < 0) {
		saved = errno;
		goto cleanup;
	}
	error = IPQ_ERR_BIND;
	if (ipq_classic_bind(classic) < 0) {
		saved = errno;
		goto cleanup;
	}
	error = IPQ_ERR_HANDLE;
	ret = ipq_classic_claim(classic->family, &classic->queue_num);
	if (ret < 0) {
		saved = -ret;
		goto cleanup;
	}
	ipq_classic_make_room(classic->handle.fd);
	/* Packets are stamped while any socket asks for it, and this one lives exactly as long as
	 * it should, in forked processes too. */
	(void)setsockopt(classic->handle.fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on));
	/* Any socket can be asked for interfaces. The cache keeps its descriptor plus one. */
	classic->devices.fd = classic->handle.fd + 1;
	errno = saved;
	return &classic->handle;

cleanup:
	if (classic && classic->handle.fd >= 0)
		close(classic->handle.fd);
	free(classic);
	ipq_errno = error;
	errno = saved;
	return NULL;
}

int ipq_destroy_handle(struct ipq_handle *h)
{
	if (!h)
		return 0;
	ipq_classic_release(classic_of(h)->family);
	close(h->fd);
	free(classic_of(h));
	return 0;
}

/* Requests */

int ipq_set_mode(const struct ipq_handle *h, u_int8_t mode, size_t range)
{
	int saved = errno;
	int ret = ipq_request_mode(classic_of(h), mode, range);

	errno = ret < 0 ? -ret : saved;
	return ret < 0 ? fail(IPQ_ERR_SEND) : MODE_SENT;
}

int ipq_set_verdict(const struct ipq_handle *h, ipq_id_t id, unsigned int verdict, size_t data_len,
		    unsigned char *buf)
{
	bool has_data = data_len && buf;
	int ret = 0;

	/* No packet has the id 0. A program that does not look at what ipq_read() gave judges the
	 * empty message, and would end on the kernel's ENOENT. */
	if (id != 0 || !atomic_load(&classic_of(h)->gave_nothing))
		ret = ipq_request_verdict(classic_of(h), id, verdict, has_data ? buf : NULL,
					  data_len);
	if (ret < 0) {
		errno = -ret;
		return fail(IPQ_ERR_SEND);
	}
	return VERDICT_SENT + (has_data ? (int)data_len : 0);
}

/* Messages */

/* Reads one message: its length, -1, or 0 with errno kept when there was none, or none for this
 * handle; is_others then is whether it was for this process's other one. */
static ssize_t take(struct ipq_classic *classic, unsigned char *buf, size_t len, bool may_block,
		    bool *is_others)
{
	struct sockaddr_nl from;
	struct ipq_head head;
	int saved = errno;
	struct ipq_identity identity;
	uint32_t verdict;
	ssize_t ret;

	*is_others = false;
	ret = ipq_classic_receive(classic->handle.fd, &head, buf, len, &from,
				  may_block ? 0 : MSG_DONTWAIT);
	if (ret < 0 && (may_block || errno != EAGAIN))
		return fail(IPQ_ERR_RECV);
	errno = saved;
	if (ret < 0)
		return 0;
	if (from.nl_pid != 0)
		return fail(IPQ_ERR_RECV);
	if (ret == 0)
		return fail(IPQ_ERR_NLEOF);
	ret = ipq_message_translate(classic, &head, (size_t)ret, buf, len, &identity);
	if (ret == -EAFNOSUPPORT) {
		*is_others = ipq_classic_other(classic, identity.family, &verdict);
		(void)ipq_request_raw_verdict(classic, identity.id, verdict);
		ret = 0;
	}
	errno = ret == -EBADMSG ? EBADMSG : saved;
	if (ret < 0)
		return fail(ret == -EMSGSIZE ? IPQ_ERR_RTRUNC : IPQ_ERR_RECV);
	return ret;
}

ssize_t ipq_read(const struct ipq_handle *h, unsigned char *buf, size_t len, int timeout)
{
	struct ipq_classic *classic = classic_of(h);
	struct timespec deadline = {0};
	bool is_others;
	ssize_t ret;

	if (len < sizeof(struct nlmsgerr))
		return fail(IPQ_ERR_RECVBUF);
	if (timeout > 0)
		deadline = ipq_classic_deadline(timeout);
	for (;;) {
		ret = take(classic, buf, len, timeout == 0, &is_others);
		if (ret != 0)
			return ret;
		if (timeout == 0 && is_others) {
			/* A program that was told by select() to read here has to read the other
			 * handle next. */
			ipq_message_empty(buf, len);
			atomic_store(&classic->gave_nothing, true);
			break;
		}
		if (timeout == 0)
			continue;
		ret = timeout < 0 ? 0 : ipq_classic_wait(h->fd, &deadline);
		if (ret < 0)
			return errno == EINTR ? 0 : fail(IPQ_ERR_RECV);
		if (ret == 0)
			break;
	}
	ipq_errno = IPQ_ERR_TIMEOUT;
	return 0;
}

int ipq_message_type(const unsigned char *buf)
{
	struct nlmsghdr nlh;

	memcpy(&nlh, buf, sizeof(nlh));
	return nlh.nlmsg_type;
}

ipq_packet_msg_t *ipq_get_packet(const unsigned char *buf)
{
	return (ipq_packet_msg_t *)((uintptr_t)buf + NLMSG_HDRLEN);
}

int ipq_get_msgerr(const unsigned char *buf)
{
	struct nlmsgerr error;

	memcpy(&error, buf + NLMSG_HDRLEN, sizeof(error));
	return -error.error;
}

int ipq_ctl(const struct ipq_handle *h, int request, ...)
{
	(void)h;
	(void)request;
	return 1;
}

/* Errors */

char *ipq_errstr(void)
{
	return ipq_errmap[ipq_errno].message;
}

void ipq_perror(const char *s)
{
	int saved = errno;

	fputs(s ? s : "ERROR", stderr);
	if (ipq_errno != IPQ_ERR_NONE)
		fprintf(stderr, ": %s", ipq_errstr());
	if (saved)
		fprintf(stderr, ": %s", strerror(saved));
	fputc('\n', stderr);
	errno = saved;
}
