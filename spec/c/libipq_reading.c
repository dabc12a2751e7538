/* ipq_set_mode() and ipq_read() on live packets. */
#include "libipq_test.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/resource.h>

static _Alignas(8) unsigned char buf[MESSAGE_MAX];

static void check_payload(const ipq_packet_msg_t *msg, size_t headers)
{
	for (size_t i = headers; i < msg->data_len; i++)
		CHECK_INT(msg->payload[i], pattern(i - headers));
}

static void range_case(size_t range, size_t size, size_t data_len)
{
	struct ipq_handle *h;
	ipq_packet_msg_t *msg;
	int udp;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_PACKET, range);
	udp = udp_open(AF_INET);
	udp_send(udp, size);
	msg = read_packet(h, buf, sizeof(buf));
	CHECK_INT(msg->data_len, data_len);
	CHECK_INT(((struct nlmsghdr *)buf)->nlmsg_len, NLMSG_SPACE(96 + data_len));
	CHECK_INT(msg->payload[0], 0x45);
	check_payload(msg, HEADERS4);
	CHECK_INT(ipq_set_verdict(h, msg->packet_id, NF_ACCEPT, 0, NULL), 40);
	udp_expect(udp, size);
	expect_no_message(h);
	ipq_destroy_handle(h);
}

static void range_0(void)
{
	range_case(0, 56, HEADERS4 + 56);
}

static void range_21(void)
{
	range_case(21, 56, 21);
}

static void range_128(void)
{
	range_case(128, 1400, 128);
}

static void range_128_short(void)
{
	range_case(128, 57, HEADERS4 + 57);
}

static void range_65535(void)
{
	range_case(65535, 1400, HEADERS4 + 1400);
}

static void range_huge(void)
{
	range_case((size_t)1 << 32 | 1, 1400, HEADERS4 + 1400);
}

static void largest_packet(void)
{
	range_case(0, 65535 - HEADERS4, 65531);
}

static void largest_rewritable_packet(void)
{
	range_case(65535, 65531 - HEADERS4, 65531);
}

static void meta(void)
{
	struct ipq_handle *h;
	struct nlmsghdr *nlh = (struct nlmsghdr *)buf;
	ipq_packet_msg_t *msg;
	int udp;

	enter_queueing_namespace();
	shell("iptables-legacy -t mangle -A OUTPUT -p udp -j MARK --set-mark 0x87654321");
	h = open_handle(PF_INET, IPQ_COPY_META, 100);
	udp = udp_open(AF_INET);
	udp_send(udp, 56);
	memset(buf, 0xff, sizeof(buf));
	errno = 0;
	CHECK_INT(ipq_read(h, buf, 112, WAIT_US), 112);
	CHECK_INT(errno, 0);
	CHECK_INT(nlh->nlmsg_len, 112);
	CHECK_INT(nlh->nlmsg_type, IPQM_PACKET);
	CHECK_INT(nlh->nlmsg_flags, 0);
	CHECK_INT(nlh->nlmsg_seq, 0);
	CHECK_INT(nlh->nlmsg_pid, 0);
	msg = ipq_get_packet(buf);
	CHECK_INT(msg->data_len, 0);
	CHECK_INT(msg->mark, 0x87654321);
	CHECK_INT(msg->hook, 3);
	CHECK_INT(msg->timestamp_sec, 0);
	CHECK_INT(msg->timestamp_usec, 0);
	CHECK_STRING(msg->indev_name, "");
	CHECK_STRING(msg->outdev_name, "lo");
	CHECK_INT(ntohs(msg->hw_protocol), 0x0800);
	CHECK_INT(msg->hw_type, 0);
	CHECK_INT(msg->hw_addrlen, 0);
	ipq_set_verdict(h, msg->packet_id, NF_ACCEPT, 0, NULL);
	udp_expect(udp, 56);
	ipq_destroy_handle(h);
}

/* Of a packet that comes in by lo: what the kernel knows of its link layer and its time. */
static void incoming(void)
{
	static const unsigned char zeros[8];
	struct timespec now;
	struct ipq_handle *h;
	ipq_packet_msg_t *msg = NULL;
	int udp;

	enter_namespace();
	shell("iptables-legacy -A INPUT -p udp -j QUEUE");
	h = open_handle(PF_INET, IPQ_COPY_META, 0);
	udp = udp_open(AF_INET);
	/* Stamping is switched on by a worker of the kernel, some packets later. */
	for (int64_t start = now_us(); now_us() - start < WAIT_US;) {
		udp_send(udp, 56);
		msg = read_packet(h, buf, sizeof(buf));
		CHECK_INT(ipq_set_verdict(h, msg->packet_id, NF_DROP, 0, NULL), 40);
		if (msg->timestamp_sec)
			break;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	CHECK(msg && now.tv_sec - msg->timestamp_sec <= 1);
	CHECK(msg->timestamp_usec >= 0 && msg->timestamp_usec < 1000000);
	CHECK_INT(msg->hook, 1);
	CHECK_INT(msg->mark, 0);
	CHECK_STRING(msg->indev_name, "lo");
	CHECK_STRING(msg->outdev_name, "");
	CHECK_INT(msg->hw_type, 772);
	CHECK_INT(msg->hw_addrlen, 6);
	CHECK_INT(memcmp(msg->hw_addr, zeros, sizeof(zeros)), 0);
	ipq_destroy_handle(h);
}

/* Of a packet that is forwarded from one Ethernet device to another. */
static void forwarded(void)
{
	static const unsigned char mac[8] = {2, 0, 0, 0, 0, 7};
	struct ipq_handle *h;
	ipq_packet_msg_t *msg;
	pid_t child;
	char command[1024], byte;
	int ready[2];

	enter_namespace();
	CHECK_INT(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		CHECK_INT(unshare(CLONE_NEWNET), 0);
		CHECK_INT(write(ready[1], "", 1), 1);
		pause();
	}
	CHECK_INT(read(ready[0], &byte, 1), 1);
	snprintf(command, sizeof(command),
		 "set -e; echo 1 > /proc/sys/net/ipv4/ip_forward\n"
		 "ip link add left type veth peer name right netns %d\n"
		 "ip link add way-out-longnam type veth peer name far\n"
		 "ip addr add 10.9.0.1/24 dev left\n"
		 "ip link set left up; ip link set far up; ip link set way-out-longnam up\n"
		 "ip route add 10.8.0.0/24 dev way-out-longnam\n"
		 "iptables-legacy -A FORWARD -p udp -j QUEUE\n"
		 "nsenter -t %d -n sh -ec 'ip link set right address 02:00:00:00:00:07\n"
		 "ip addr add 10.9.0.2/24 dev right; ip link set right up\n"
		 "ip route add default via 10.9.0.1'",
		 (int)child, (int)child);
	shell(command);
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	snprintf(command, sizeof(command), "nsenter -t %d -n bash -c 'echo > /dev/udp/10.8.0.9/99'",
		 (int)child);
	shell(command);
	msg = read_packet(h, buf, sizeof(buf));
	CHECK_INT(msg->hook, 2);
	CHECK_STRING(msg->indev_name, "left");
	CHECK_STRING(msg->outdev_name, "way-out-longnam");
	CHECK_INT(msg->hw_type, 1);
	CHECK_INT(msg->hw_addrlen, 6);
	CHECK_INT(memcmp(msg->hw_addr, mac, sizeof(mac)), 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	ipq_destroy_handle(h);
}

static void renamed_device(void)
{
	struct ipq_handle *h;
	ipq_packet_msg_t *msg = NULL;
	int udp;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_META, 0);
	udp = udp_open(AF_INET);
	udp_send(udp, 1);
	CHECK_STRING(read_packet(h, buf, sizeof(buf))->outdev_name, "lo");
	shell("ip link set lo down; ip link set lo name loop; ip link set loop up");
	for (int64_t start = now_us(); now_us() - start < WAIT_US;) {
		udp_send(udp, 1);
		msg = read_packet(h, buf, sizeof(buf));
		if (strcmp(msg->outdev_name, "loop") == 0)
			break;
		CHECK_STRING(msg->outdev_name, "lo");
		ipq_set_verdict(h, msg->packet_id, NF_DROP, 0, NULL);
		poll(NULL, 0, 50);
	}
	CHECK_STRING(msg->outdev_name, "loop");
	ipq_destroy_handle(h);
}

/* Sizes around that at which a message is split between stack and buffer. */
static void exact_buffer(void)
{
	static const size_t sizes[] = {1, 56, 1400, 4000, 65531 - HEADERS4};
	struct ipq_handle *h;
	int udp;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 65535);
	udp = udp_open(AF_INET);
	for (size_t i = 0; i < 5 + 200; i++) {
		size_t size = i < 5 ? sizes[i] : 1800 + i;
		size_t exact = 112 + HEADERS4 + size;
		unsigned char *heap = malloc(exact);
		ipq_packet_msg_t *msg;

		udp_send(udp, size);
		msg = read_packet(h, heap, exact);
		CHECK_INT(msg->data_len, HEADERS4 + size);
		check_payload(msg, HEADERS4);
		ipq_set_verdict(h, msg->packet_id, NF_ACCEPT, 0, NULL);
		udp_expect(udp, size);
		free(heap);
	}
	ipq_destroy_handle(h);
}

static void short_buffer(void)
{
	static const size_t sizes[] = {56, 1999, 60000};
	struct ipq_handle *h;
	int udp;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	udp = udp_open(AF_INET);
	for (size_t i = 0; i < 3; i++) {
		size_t lengths[] = {20, 111, 112, 112 + HEADERS4 + sizes[i] - 1};

		for (size_t j = 0; j < 4; j++) {
			unsigned char *heap = malloc(lengths[j]);

			udp_send(udp, sizes[i]);
			errno = ENOENT;
			CHECK_INT(ipq_read(h, heap, lengths[j], WAIT_US), -1);
			CHECK_STRING(ipq_errstr(), "Received message truncated");
			CHECK_INT(errno, ENOENT);
			expect_no_message(h);
			CHECK_INT(queue_column(0, COLUMN_WAITING), i * 4 + j + 1);
			udp_expect_nothing(udp);
			free(heap);
		}
	}
	ipq_destroy_handle(h);
}

static void changed_mode(void)
{
	struct ipq_handle *h;
	ipq_packet_msg_t *msg;
	int udp;

	enter_queueing_namespace();
	h = ipq_create_handle(0, PF_INET);
	udp = udp_open(AF_INET);
	udp_send(udp, 56);
	expect_no_message(h);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_NONE, 0), 56);
	udp_send(udp, 56);
	expect_no_message(h);
	for (size_t range = 30; range < 60; range += 10) {
		CHECK_INT(ipq_set_mode(h, IPQ_COPY_PACKET, range), 56);
		udp_send(udp, 56);
		msg = read_packet(h, buf, sizeof(buf));
		CHECK_INT(msg->data_len, range);
	}
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 1000), 56);
	udp_send(udp, 56);
	CHECK_INT(read_packet(h, buf, sizeof(buf))->data_len, 0);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_NONE, 0), 56);
	udp_send(udp, 56);
	expect_no_message(h);
	CHECK_INT(queue_column(0, COLUMN_WAITING), 4);
	ipq_destroy_handle(h);
}

static void bad_mode(void)
{
	struct ipq_handle *h;
	int udp;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 30);
	udp = udp_open(AF_INET);
	CHECK_INT(ipq_set_mode(h, 3, 40), 56);
	expect_error(h, EINVAL);
	CHECK_INT(ipq_set_mode(h, 255, 40), 56);
	expect_error(h, EINVAL);
	expect_no_message(h);
	udp_send(udp, 56);
	CHECK_INT(read_packet(h, buf, sizeof(buf))->data_len, 30);
	ipq_destroy_handle(h);
}

/* Timeouts */

static void timeout_case(int timeout, int64_t least, int64_t most)
{
	struct ipq_handle *h;
	int64_t start;
	int udp;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	udp = udp_open(AF_INET);
	errno = ENOENT;
	start = now_us();
	CHECK_INT(ipq_read(h, buf, sizeof(buf), timeout), 0);
	CHECK(now_us() - start >= least && now_us() - start < most);
	CHECK_STRING(ipq_errstr(), "Timeout");
	CHECK_INT(errno, ENOENT);
	udp_send(udp, 56);
	CHECK_INT(ipq_read(h, buf, sizeof(buf), timeout), 112 + HEADERS4 + 56);
	CHECK_INT(errno, ENOENT);
	CHECK_STRING(ipq_errstr(), "Timeout");
	ipq_destroy_handle(h);
}

static void timeout_negative(void)
{
	timeout_case(-1, 0, 500000);
}

static void timeout_1(void)
{
	timeout_case(1, 1, 500000);
}

static void timeout_100000(void)
{
	timeout_case(100000, 100000, 1000000);
}

static void timeout_seconds(void)
{
	timeout_case(1999999, 1999999, 3000000);
}

static volatile sig_atomic_t signals;
static int signal_udp = -1;

/* Sends a packet with the second signal, which a read that was restarted then gets. */
static void on_signal(int number)
{
	(void)number;
	if (++signals == 2 && signal_udp >= 0)
		(void)!send(signal_udp, "x", 1, 0);
}

static void signal_case(int flags, int timeout)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
	struct itimerval timer = {{0, 50000}, {0, 50000}};
	struct ipq_handle *h;
	ssize_t size;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	signal_udp = udp_open(AF_INET);
	CHECK_INT(ipq_read(h, buf, 0, 0), -1);
	CHECK_STRING(ipq_errstr(), "Receive buffer size invalid");
	CHECK_INT(sigaction(SIGALRM, &action, NULL), 0);
	CHECK_INT(setitimer(ITIMER_REAL, &timer, NULL), 0);
	errno = 0;
	size = ipq_read(h, buf, sizeof(buf), timeout);
	if (timeout == 0 && flags == SA_RESTART) {
		CHECK_INT(size, 112 + HEADERS4 + 1 + 3);
		CHECK_INT(signals, 2);
	} else if (timeout == 0) {
		CHECK_INT(size, -1);
		CHECK_INT(errno, EINTR);
		CHECK_STRING(ipq_errstr(), "Failed to receive netlink message");
	} else {
		CHECK_INT(size, 0);
		CHECK_INT(errno, EINTR);
		CHECK_STRING(ipq_errstr(), "Receive buffer size invalid");
	}
	ipq_destroy_handle(h);
}

static void signal_blocking(void)
{
	signal_case(0, 0);
}

static void signal_blocking_restart(void)
{
	signal_case(SA_RESTART, 0);
}

static void signal_timeout(void)
{
	signal_case(0, WAIT_US);
}

static void signal_timeout_restart(void)
{
	signal_case(SA_RESTART, WAIT_US);
}

/* The descriptor */

static bool select_says_readable(int fd)
{
	struct timeval none = {0};
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, &none) == 1;
}

static void descriptor(void)
{
	struct ipq_handle *h;
	int udp;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	udp = udp_open(AF_INET);
	for (int round = 0; round < 3; round++) {
		udp_send(udp, 1);
		udp_send(udp, 2);
		CHECK_INT(ipq_set_verdict(h, 99999, NF_ACCEPT, 0, NULL), 40);
		udp_send(udp, 3);
		for (size_t i = 1; i <= 4; i++) {
			CHECK(select_says_readable(h->fd) && is_readable(h->fd, 0));
			if (i == 3) {
				expect_error(h, ENOENT);
				continue;
			}
			CHECK_INT(read_packet(h, buf, sizeof(buf))->data_len,
				  HEADERS4 + (i == 4 ? 3 : i));
			ipq_set_verdict(h, ipq_get_packet(buf)->packet_id, NF_ACCEPT, 0, NULL);
		}
		CHECK(!select_says_readable(h->fd) && !is_readable(h->fd, 0));
		ipq_set_mode(h, IPQ_COPY_PACKET, 0);
		CHECK(!select_says_readable(h->fd) && !is_readable(h->fd, 0));
	}
	ipq_destroy_handle(h);
}

static void high_descriptor(void)
{
	const struct rlimit many = {.rlim_cur = 2048, .rlim_max = 2048};
	struct ipq_handle *h;
	int udp, fd;

	enter_queueing_namespace();
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &many), 0);
	udp = udp_open(AF_INET);
	do
		fd = dup(udp);
	while (fd >= 0 && fd < 1023);
	CHECK_INT(fd, 1023);
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	CHECK(h->fd >= 1024);
	CHECK_INT(ipq_read(h, buf, sizeof(buf), 1), 0);
	udp_send(udp, 56);
	read_packet(h, buf, sizeof(buf));
	ipq_destroy_handle(h);
}

static void overrun(void)
{
	struct ipq_handle *h;
	int small = 4096, udp;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	CHECK_INT(setsockopt(h->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	udp = udp_open(AF_INET);
	for (int i = 0; i < 100; i++)
		udp_send(udp, 1000);
	CHECK_INT(ipq_read(h, buf, sizeof(buf), WAIT_US), -1);
	CHECK_INT(errno, ENOBUFS);
	CHECK_STRING(ipq_errstr(), "Failed to receive netlink message");
	read_packet(h, buf, sizeof(buf));
	ipq_destroy_handle(h);
}

static void nonblocking(void)
{
	struct ipq_handle *h;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	CHECK_INT(fcntl(h->fd, F_SETFL, O_NONBLOCK), 0);
	CHECK_INT(ipq_read(h, buf, sizeof(buf), 0), -1);
	CHECK_INT(errno, EAGAIN);
	CHECK_STRING(ipq_errstr(), "Failed to receive netlink message");
	ipq_destroy_handle(h);
}

static const struct test_case cases[] = {
	{"IPQ_COPY_META gives 112 bytes: what is known of a packet made here", meta},
	{"what is known of a packet that came in: time, device, hardware address", incoming},
	{"what is known of a packet on its way through: both devices, the sender's MAC", forwarded},
	{"a device's new name is seen", renamed_device},
	{"range 0 is the whole packet", range_0},
	{"range 21 cuts, and the message is padded", range_21},
	{"range 128 cuts", range_128},
	{"range 128 leaves a shorter packet whole", range_128_short},
	{"range 65535 is the whole packet", range_65535},
	{"a range of more than 32 bits is the whole packet", range_huge},
	{"65,535-byte packets: 65,531 bytes of them come", largest_packet},
	{"65,531-byte packets come whole", largest_rewritable_packet},
	{"a buffer of 112 bytes and the packet's length is enough", exact_buffer},
	{"a shorter buffer: truncated, consumed, the packet waits without a verdict", short_buffer},
	{"before set_mode and with IPQ_COPY_NONE packets are dropped; any mode follows any",
	 changed_mode},
	{"a mode that there is not: EINVAL in band, and the old one stays", bad_mode},
	{"timeout -1 polls", timeout_negative},
	{"timeout 1 is a microsecond", timeout_1},
	{"timeout 100000 is a tenth of a second", timeout_100000},
	{"timeout 1999999 is two seconds", timeout_seconds},
	{"a signal while blocked: -1, EINTR", signal_blocking},
	{"a signal with SA_RESTART while blocked: it goes on", signal_blocking_restart},
	{"a signal within the timeout: 0, EINTR", signal_timeout},
	{"a signal with SA_RESTART within the timeout: 0, EINTR", signal_timeout_restart},
	{"select() and poll() tell of packets and errors one by one, of nothing else", descriptor},
	{"a descriptor over 1023 has timeouts too", high_descriptor},
	{"an overrun: -1, ENOBUFS, and reading goes on", overrun},
	{"a descriptor made non-blocking, timeout 0: -1, EAGAIN", nonblocking},
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
