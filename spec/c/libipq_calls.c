/* libipq without packets: results, strings, errno, and a "kernel" that sends garbage. */
#include "libipq_test.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <sys/resource.h>

extern struct {
	int errcode;
	char *message;
} ipq_errmap[17];

static _Alignas(8) unsigned char buf[MESSAGE_MAX];

static void bad_protocol(void)
{
	static const u_int32_t protocols[] = {0, 1, 3, 99, 0x80000002, 0xffffffff};

	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		CHECK_INT(ipq_read(NULL, NULL, 0, 0), -1);
		errno = ENOENT;
		CHECK(ipq_create_handle(0, protocols[i]) == NULL);
		CHECK_STRING(ipq_errstr(), "Invalid protocol specified");
		CHECK_INT(errno, ENOENT);
	}
}

static void no_socket(void)
{
	struct rlimit limit;

	CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 0;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
	CHECK(ipq_create_handle(0, PF_INET) == NULL);
	CHECK_STRING(ipq_errstr(), "Unable to create netlink socket");
	CHECK_INT(errno, EMFILE);
}

static void create(void)
{
	struct ipq_handle *h;
	int fd;

	errno = ENOENT;
	h = ipq_create_handle(0xffffffff, PF_INET);
	CHECK(h);
	CHECK_INT(errno, ENOENT);
	CHECK_STRING(ipq_errstr(), "Unknown error");
	CHECK_INT(h->local.nl_family, AF_NETLINK);
	CHECK_INT(h->local.nl_pid, getpid());
	CHECK_INT(h->local.nl_groups, 0);
	CHECK_INT(h->peer.nl_family, AF_NETLINK);
	CHECK_INT(h->peer.nl_pid, 0);
	fd = h->fd;
	CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_INT(ipq_destroy_handle(h), 0);
	CHECK_INT(fcntl(fd, F_GETFD), -1);
}

static void create_twice(void)
{
	struct ipq_handle *h = ipq_create_handle(0, PF_INET);
	struct ipq_handle *h6;

	CHECK(h);
	CHECK(ipq_create_handle(0, PF_INET) == NULL);
	CHECK_STRING(ipq_errstr(), "Unable to bind netlink socket");
	CHECK_INT(errno, EADDRINUSE);
	h6 = ipq_create_handle(0, PF_INET6);
	CHECK(h6);
	CHECK(h6->local.nl_pid != 0 && h6->local.nl_pid != h->local.nl_pid);
	CHECK_INT(ipq_destroy_handle(h), 0);
	h = ipq_create_handle(0, PF_INET);
	CHECK(h);
	CHECK_INT(h->local.nl_pid, getpid());
	ipq_destroy_handle(h);
	ipq_destroy_handle(h6);
}

/* As libraries have it that use nfnetlink on their own. */
static void port_in_use(void)
{
	struct sockaddr_nl own = {.nl_family = AF_NETLINK, .nl_pid = (unsigned int)getpid()};
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	struct ipq_handle *h;

	CHECK_INT(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
	h = ipq_create_handle(0, PF_INET);
	CHECK(h);
	CHECK(h->local.nl_pid != 0 && h->local.nl_pid != own.nl_pid);
	CHECK_INT(ipq_destroy_handle(h), 0);
}

static void bad_environment(void)
{
	static const char *const values[] = {"65536", "-1", "1x", " 1", "99999999999999999999"};
	struct ipq_handle *h;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		setenv("LIBIPQ_QUEUE", values[i], 1);
		CHECK(ipq_create_handle(0, PF_INET) == NULL);
		CHECK_STRING(ipq_errstr(), "Unable to create netlink handle");
		CHECK_INT(errno, EINVAL);
	}
	unsetenv("LIBIPQ_QUEUE");
	h = ipq_create_handle(0, PF_INET);
	CHECK(h);
	ipq_destroy_handle(h);
}

static void destroy_null(void)
{
	errno = ENOENT;
	CHECK_INT(ipq_destroy_handle(NULL), 0);
	CHECK_INT(errno, ENOENT);
}

static void short_read(void)
{
	int pair[2];
	struct ipq_handle *h = ipq_create_handle(0, PF_INET);

	CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	CHECK_INT(dup2(pair[0], h->fd), h->fd);
	CHECK_INT(send(pair[1], "", 1, 0), 1);
	for (size_t len = 0; len < 20; len++) {
		errno = ENOENT;
		CHECK_INT(ipq_read(h, buf, len, 0), -1);
		CHECK_STRING(ipq_errstr(), "Receive buffer size invalid");
		CHECK_INT(errno, ENOENT);
	}
	CHECK(is_readable(h->fd, 0));
	ipq_destroy_handle(h);
}

static void accessors(void)
{
	struct nlmsghdr nlh = {.nlmsg_type = NLMSG_ERROR};
	struct nlmsgerr error = {.error = -ENOBUFS};
	unsigned char *unaligned = buf + 1;

	memcpy(unaligned, &nlh, sizeof(nlh));
	memcpy(unaligned + 16, &error, sizeof(error));
	CHECK_INT(ipq_message_type(unaligned), 2);
	CHECK_INT(ipq_get_msgerr(unaligned), ENOBUFS);
	CHECK((unsigned char *)ipq_get_packet(unaligned) == unaligned + 16);
	CHECK_INT(ipq_get_packet(NULL), 16);
	CHECK_INT(ipq_ctl(NULL, 0), 1);
	CHECK_INT(ipq_ctl(NULL, 17, "more", 1.0), 1);
}

static void strings(void)
{
	static const char *const texts[] = {
		"Unknown error",
		"Implementation error",
		"Unable to create netlink handle",
		"Unable to create netlink socket",
		"Unable to bind netlink socket",
		"Unable to allocate buffer",
		"Failed to receive netlink message",
		"Received EOF on netlink socket",
		"Invalid peer address length",
		"Sent message truncated",
		"Received message truncated",
		"Received error from netlink",
		"Failed to send netlink message",
		"Operation not supported",
		"Receive buffer size invalid",
		"Timeout",
		"Invalid protocol specified",
	};

	CHECK_STRING(ipq_errstr(), "Unknown error");
	for (int i = 0; i < 17; i++) {
		CHECK_INT(ipq_errmap[i].errcode, i);
		CHECK_STRING(ipq_errmap[i].message, texts[i]);
	}
}

static void sticky(void)
{
	struct ipq_handle *h = ipq_create_handle(0, PF_INET);

	CHECK_INT(ipq_read(h, buf, sizeof(buf), -1), 0);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_MAX + 1, 0), 56);
	CHECK_INT(ipq_destroy_handle(h), 0);
	h = ipq_create_handle(0, PF_INET);
	CHECK(h);
	CHECK_STRING(ipq_errstr(), "Timeout");
	ipq_destroy_handle(h);
}

/* perror's line for that string and errno. */
static void expect_perror(const char *string, int error, const char *expected)
{
	char line[256] = "";
	int saved = dup(2), ends[2];

	CHECK_INT(pipe(ends), 0);
	dup2(ends[1], 2);
	errno = error;
	ipq_perror(string);
	dup2(saved, 2);
	close(saved);
	CHECK(read(ends[0], line, sizeof(line) - 1) > 0);
	CHECK_STRING(line, expected);
	close(ends[0]);
	close(ends[1]);
}

static void perror_lines(void)
{
	expect_perror("passer", 0, "passer\n");
	expect_perror(NULL, 0, "ERROR\n");
	expect_perror("passer", EPERM, "passer: Operation not permitted\n");
	ipq_create_handle(0, 99);
	expect_perror("passer", 0, "passer: Invalid protocol specified\n");
	expect_perror(NULL, ECONNREFUSED,
		      "ERROR: Invalid protocol specified: Connection refused\n");
	expect_perror("", 0, ": Invalid protocol specified\n");
}

static void send_fails(void)
{
	struct ipq_handle *h = ipq_create_handle(0, PF_INET);

	close(h->fd);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 0), -1);
	CHECK_STRING(ipq_errstr(), "Failed to send netlink message");
	CHECK_INT(errno, EBADF);
	CHECK_INT(ipq_read(h, buf, sizeof(buf), 0), -1);
	CHECK_STRING(ipq_errstr(), "Failed to receive netlink message");
	CHECK_INT(errno, EBADF);
	errno = 0;
	CHECK_INT(ipq_set_verdict(h, 1, NF_ACCEPT, 0, NULL), -1);
	CHECK_STRING(ipq_errstr(), "Failed to send netlink message");
	CHECK_INT(errno, EBADF);
	CHECK_INT(ipq_read(h, buf, sizeof(buf), 10000), -1);
	CHECK_STRING(ipq_errstr(), "Failed to receive netlink message");
	ipq_destroy_handle(h);
}

/* Another "kernel": what is sent to the socket that this gives, the handle reads. */
static int replace_kernel(struct ipq_handle *h, int type)
{
	int pair[2];

	CHECK_INT(socketpair(AF_UNIX, type, 0, pair), 0);
	CHECK_INT(dup2(pair[0], h->fd), h->fd);
	close(pair[0]);
	return pair[1];
}

static void end_of_file(void)
{
	struct ipq_handle *h = ipq_create_handle(0, PF_INET);

	close(replace_kernel(h, SOCK_SEQPACKET));
	errno = ENOENT;
	CHECK_INT(ipq_read(h, buf, sizeof(buf), 0), -1);
	CHECK_STRING(ipq_errstr(), "Received EOF on netlink socket");
	CHECK_INT(errno, ENOENT);
	ipq_destroy_handle(h);
}

static void foreign_sender(void)
{
	struct sockaddr_nl nobody = {.nl_family = AF_UNSPEC};
	int other = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	struct ipq_handle *h = ipq_create_handle(0, PF_INET);

	memset(buf, 0, 112);
	CHECK(sendto(other, buf, 112, 0, (struct sockaddr *)&h->local, sizeof(h->local)) < 0);
	CHECK_INT(ipq_read(h, buf, sizeof(buf), -1), 0);
	/* A program that takes that protection away still is not deceived. */
	CHECK_INT(connect(h->fd, (struct sockaddr *)&nobody, sizeof(nobody)), 0);
	if (sendto(other, buf, 112, 0, (struct sockaddr *)&h->local, sizeof(h->local)) < 0) {
		CHECK_INT(errno, EPERM); /* only root may send to a port */
		return;
	}
	errno = ENOENT;
	CHECK_INT(ipq_read(h, buf, sizeof(buf), -1), -1);
	CHECK_STRING(ipq_errstr(), "Failed to receive netlink message");
	CHECK_INT(errno, ENOENT);
	ipq_destroy_handle(h);
}

/* Messages as the kernel would not send them */

struct message {
	struct nlmsghdr nlh;
	struct nfgenmsg nfg;
	unsigned char attrs[80000];
};
static struct message message;

static void message_start(unsigned char type)
{
	memset(&message, 0, sizeof(message));
	message.nlh.nlmsg_len = NLMSG_LENGTH(sizeof(message.nfg));
	message.nlh.nlmsg_type = (unsigned short)(NFNL_SUBSYS_QUEUE << 8 | type);
	message.nfg.nfgen_family = NFPROTO_IPV4;
}

static void *message_add(unsigned short type, size_t len)
{
	unsigned char *p = (unsigned char *)&message + message.nlh.nlmsg_len;
	struct nlattr attr = {.nla_len = (unsigned short)(NLA_HDRLEN + len), .nla_type = type};

	memcpy(p, &attr, sizeof(attr));
	message.nlh.nlmsg_len += (unsigned int)NLA_ALIGN(attr.nla_len);
	return p + NLA_HDRLEN;
}

/* A packet whose attributes fill that much before size bytes of payload. */
static void packet_start(size_t filling, size_t size)
{
	unsigned char *payload;

	message_start(NFQNL_MSG_PACKET);
	((struct nfqnl_msg_packet_hdr *)message_add(NFQA_PACKET_HDR, 7))->packet_id = htonl(5);
	if (filling)
		message_add(500, filling);
	payload = message_add(NFQA_PAYLOAD, size);
	for (size_t i = 0; i < size; i++)
		payload[i] = pattern(i);
}

static struct ipq_handle *handle;
static int kernel;

static void kernel_start(void)
{
	handle = ipq_create_handle(0, PF_INET);
	CHECK(handle);
	kernel = replace_kernel(handle, SOCK_DGRAM);
	buffers_set(kernel, 1 << 20);
	/* This kernel does not take the verdicts that it gets. */
	CHECK_INT(fcntl(handle->fd, F_SETFL, O_NONBLOCK), 0);
}

static ssize_t deliver(size_t len, size_t buf_len)
{
	unsigned char *heap = malloc(buf_len);
	ssize_t size;

	CHECK_INT(send(kernel, &message, len, 0), len);
	errno = 0;
	size = ipq_read(handle, heap, buf_len, -1);
	if (size > 0)
		memcpy(buf, heap, (size_t)size);
	free(heap);
	return size;
}

/* -1 with EBADMSG. */
static void expect_nonsense(size_t len)
{
	CHECK_INT(deliver(len, 4096), -1);
	CHECK_STRING(ipq_errstr(), "Failed to receive netlink message");
	CHECK_INT(errno, EBADMSG);
	CHECK_INT(ipq_read(handle, buf, 4096, -1), 0);
}

static void nonsense(void)
{
	kernel_start();
	packet_start(0, 40);
	for (size_t len = 1; len < 20; len++)
		expect_nonsense(len);
	message_start(NFQNL_MSG_PACKET);
	expect_nonsense(message.nlh.nlmsg_len);
	message_add(NFQA_PAYLOAD, 40);
	expect_nonsense(message.nlh.nlmsg_len);
	message_start(NFQNL_MSG_VERDICT);
	expect_nonsense(message.nlh.nlmsg_len);
	packet_start(0, 40);
	message.nlh.nlmsg_type = NLMSG_DONE;
	expect_nonsense(message.nlh.nlmsg_len);
	packet_start(0, 40);
	message.attrs[0] = 3;
	expect_nonsense(message.nlh.nlmsg_len);
	packet_start(0, 40);
	message.nlh.nlmsg_len = 19;
	expect_nonsense(80);
	message_start(0);
	message.nlh.nlmsg_type = NLMSG_ERROR;
	expect_nonsense(35);
}

static void cut_off(void)
{
	kernel_start();
	packet_start(0, 40);
	message.nlh.nlmsg_len += 4;
	CHECK_INT(deliver(message.nlh.nlmsg_len - 4, 4096), -1);
	CHECK_STRING(ipq_errstr(), "Received message truncated");
	packet_start(0, 10000);
	message.nlh.nlmsg_len += 4;
	CHECK_INT(deliver(message.nlh.nlmsg_len - 4, 65536), -1);
	CHECK_STRING(ipq_errstr(), "Received message truncated");
	/* The payload says that there is more of it than of the message. */
	packet_start(0, 10000);
	((struct nlattr *)(message.attrs + 12))->nla_len += 100;
	CHECK_INT(deliver(message.nlh.nlmsg_len, 65536), -1);
	CHECK_STRING(ipq_errstr(), "Received message truncated");
}

static unsigned int verdict_given(void)
{
	struct {
		struct nlmsghdr nlh;
		struct nfgenmsg nfg;
		struct nlattr attr;
		struct nfqnl_msg_verdict_hdr verdict;
	} answer;

	CHECK_INT(recv(kernel, &answer, sizeof(answer), MSG_DONTWAIT), sizeof(answer));
	CHECK_INT(ntohl(answer.verdict.id), 5);
	return ntohl(answer.verdict.verdict);
}

/* Were it passed on, it would come back. */
static void neither_family(void)
{
	static const unsigned char families[] = {NFPROTO_UNSPEC, NFPROTO_INET,	 NFPROTO_ARP,
						 NFPROTO_NETDEV, NFPROTO_BRIDGE, 12};
	struct ipq_handle *h6;

	kernel_start();
	h6 = ipq_create_handle(0, PF_INET6);
	CHECK(h6);
	close(replace_kernel(h6, SOCK_DGRAM));
	ipq_set_mode(h6, IPQ_COPY_META, 0);
	packet_start(0, 40);
	message.nfg.nfgen_family = NFPROTO_IPV6;
	CHECK_INT(deliver(message.nlh.nlmsg_len, 4096), 0);
	CHECK_INT(verdict_given(), NF_QUEUE_NR(1));
	for (size_t i = 0; i < sizeof(families); i++) {
		message.nfg.nfgen_family = families[i];
		CHECK_INT(deliver(message.nlh.nlmsg_len, 4096), 0);
		CHECK_INT(verdict_given(), NF_DROP);
	}
	ipq_destroy_handle(h6);
	message.nfg.nfgen_family = NFPROTO_IPV6;
	CHECK_INT(deliver(message.nlh.nlmsg_len, 4096), 0);
	CHECK_INT(verdict_given(), NF_DROP);
}

/* Wherever the payload begins, and however long it is, it comes whole. */
static void any_metadata(void)
{
	kernel_start();
	for (size_t filling = 0; filling < 2100; filling += filling < 1900 ? 236 : 4) {
		for (size_t size = 0; size < 2200; size += size < 1800 ? 600 : 49) {
			size_t space = NLMSG_ALIGN(112 + size);
			ssize_t got;

			packet_start(filling, size);
			got = deliver(message.nlh.nlmsg_len, 112 + size);
			/* More metadata than any kernel sends is refused, not misread. */
			if (filling > 2000 && got < 0)
				continue;
			CHECK_INT(got, space < 112 + size ? space : 112 + size);
			CHECK_INT(ipq_get_packet(buf)->data_len, size);
			CHECK_INT(ipq_get_packet(buf)->packet_id, 5);
			for (size_t i = 0; i < size; i++)
				CHECK_INT(buf[112 + i], pattern(i));
		}
	}
}

static void attribute_behind_payload(void)
{
	kernel_start();
	packet_start(1000, 900);
	message_add(501, 3000);
	CHECK_INT(deliver(message.nlh.nlmsg_len, 65536), NLMSG_ALIGN(112 + 900));
	CHECK_INT(ipq_get_packet(buf)->data_len, 900);
}

/* Leaves no zeros where the next call has its variables. */
__attribute__((noinline)) static void dirty_stack(void)
{
	volatile unsigned char bytes[16384];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = 0xaa;
}

static void bare_packet(void)
{
	ipq_packet_msg_t expected = {.packet_id = 5};

	kernel_start();
	packet_start(0, 0);
	/* The first call binds symbols, which has a stack of its own. */
	CHECK_INT(deliver(message.nlh.nlmsg_len, 112), 112);
	dirty_stack();
	CHECK_INT(deliver(message.nlh.nlmsg_len, 112), 112);
	CHECK_INT(memcmp(ipq_get_packet(buf), &expected, sizeof(expected)), 0);
}

/* Whatever comes, a read that does not wait takes one message, and one that waits ends in time. */
static void other_family(void)
{
	int sent = 0;

	kernel_start();
	packet_start(0, 60);
	message.nfg.nfgen_family = NFPROTO_IPV6;
	CHECK_INT(fcntl(kernel, F_SETFL, O_NONBLOCK), 0);
	for (int timeout = -1; timeout <= 1; timeout += 2) {
		while (send(kernel, &message, message.nlh.nlmsg_len, 0) > 0)
			sent++;
		CHECK(sent >= 5);
		errno = ENOENT;
		CHECK_INT(ipq_read(handle, buf, sizeof(buf), timeout), 0);
		CHECK_STRING(ipq_errstr(), "Timeout");
		CHECK_INT(errno, ENOENT);
		CHECK(is_readable(handle->fd, 0));
	}
	while (ipq_read(handle, buf, sizeof(buf), -1) == 0 && is_readable(handle->fd, 0))
		;
	while (recv(kernel, buf, sizeof(buf), 0) > 0)
		;
	CHECK(send(kernel, &message, message.nlh.nlmsg_len, 0) > 0);
	message.nfg.nfgen_family = NFPROTO_IPV4;
	CHECK(send(kernel, &message, message.nlh.nlmsg_len, 0) > 0);
	CHECK_INT(fcntl(handle->fd, F_SETFL, 0), 0);
	CHECK_INT(ipq_read(handle, buf, sizeof(buf), 0), 112 + 60);
}

static void acknowledgement(void)
{
	kernel_start();
	message_start(0);
	message.nlh.nlmsg_type = NLMSG_ERROR;
	message.nlh.nlmsg_len = 36;
	memset(&message.nfg, 0, sizeof(message.nfg));
	message.nlh.nlmsg_flags = NLM_F_CAPPED;
	CHECK_INT(deliver(36, 36), 36);
	CHECK_INT(((struct nlmsghdr *)buf)->nlmsg_flags, 0);
	CHECK_INT(ipq_get_msgerr(buf), 0);
}

/* An ordinary message with some of its bytes changed: any result, as long as it is one. */
static void fuzz(void)
{
	const char *text = getenv("FUZZ_ROUNDS");
	long rounds = text ? atol(text) : 100000, accepted = 0;

	srand(1);
	kernel_start();
	for (long i = 0; i < rounds; i++) {
		size_t len, buf_len = 20 + (size_t)rand() % 6000;
		ssize_t size;

		packet_start((size_t)rand() % 3 ? 0 : (size_t)rand() % 2400,
			     (size_t)rand() % 2 ? 60 : (size_t)rand() % 4000);
		if (rand() % 8 == 0) {
			message.nlh.nlmsg_type = NLMSG_ERROR;
			((struct nlmsgerr *)&message.nfg)->error = -(rand() % 134);
			((struct nlmsgerr *)&message.nfg)->msg.nlmsg_type =
				(unsigned short)(NFNL_SUBSYS_QUEUE << 8 | rand() % 4);
		}
		len = message.nlh.nlmsg_len;
		for (int j = rand() % 4; j > 0; j--)
			((unsigned char *)&message)[(size_t)rand() % (rand() % 2 ? len : 80)] =
				(unsigned char)rand();
		if (rand() % 4 == 0)
			len = 1 + (size_t)rand() % len;
		size = deliver(len, buf_len);
		CHECK(size >= -1 && (size_t)(size + 1) <= buf_len + 1);
		accepted += size > 0;
	}
	CHECK(accepted > rounds / 10 && accepted < rounds / 10 * 9);
}

static const struct test_case cases[] = {
	{"the error table is the original's", strings},
	{"protocols but 2 and 10: NULL, invalid protocol, errno untouched", bad_protocol},
	{"no socket to be had: NULL, errno of socket()", no_socket},
	{"create fills in the handle, needs no privilege, keeps errno", create},
	{"a second handle for the same family: NULL, EADDRINUSE; for the other one it is made",
	 create_twice},
	{"the process id is another socket's port: any port does", port_in_use},
	{"LIBIPQ_QUEUE that is no queue number: NULL, EINVAL", bad_environment},
	{"destroying NULL gives 0", destroy_null},
	{"a buffer below 20 bytes: -1, nothing read, errno untouched", short_read},
	{"the accessors read any address; ipq_ctl gives 1", accessors},
	{"the error string stays through successes", sticky},
	{"ipq_perror's lines", perror_lines},
	{"a dead descriptor: -1, errno of the call", send_fails},
	{"end of file: -1, errno untouched", end_of_file},
	{"a sender that is not the kernel: -1, errno untouched", foreign_sender},
	{"messages that make no sense: -1, EBADMSG", nonsense},
	{"messages that were cut off: truncated", cut_off},
	{"any size of metadata and payload fits", any_metadata},
	{"an attribute behind the payload is passed over", attribute_behind_payload},
	{"what the kernel did not tell is zero", bare_packet},
	{"packets of the other family do not outlast the timeout", other_family},
	{"packets of neither family are dropped; of the other one they go to its handle's queue",
	 neither_family},
	{"an acknowledgement is error 0", acknowledgement},
	{"a hundred thousand damaged messages", fuzz},
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
