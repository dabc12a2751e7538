/*
 * What the test programs of libipq share: cases, checks, packets of their own in a network
 * namespace of their own.
 *
 * A program prints its cases' sentences, one a line; with a number as argument it runs that one,
 * with "all" all of them.
 */
#ifndef LIBIPQ_TEST_H
#define LIBIPQ_TEST_H

#include <libipq.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <linux/netfilter.h>
#include <sys/wait.h>

struct test_case {
	const char *sentence;
	void (*run)(void);
};

#define CHECK(condition)                                           \
	do {                                                       \
		if (!(condition))                                  \
			test_fail(__FILE__, __LINE__, #condition); \
	} while (0)
#define CHECK_INT(actual, expected) \
	test_int(__FILE__, __LINE__, #actual, (long)(actual), (long)(expected))
#define CHECK_STRING(actual, expected) \
	test_string(__FILE__, __LINE__, #actual, (actual), (expected))

/* Times as long as elsewhere, on a machine that needs it: IPQ_SLOW. */
__attribute__((unused)) static int test_slow(void)
{
	const char *slow = getenv("IPQ_SLOW");

	return slow ? atoi(slow) : 1;
}

#define TEST_SECONDS ((unsigned int)(180 * test_slow())) /* after which a case hangs */
#define WAIT_US	     (30000000 * test_slow())		 /* for what must come */

enum {
	MESSAGE_MAX = 112 + 65536,
	HEADERS4 = 20 + 8, /* IP and UDP */
	HEADERS6 = 40 + 8
};

__attribute__((noreturn, unused)) static void test_fail(const char *file, int line,
							const char *condition)
{
	fprintf(stderr, "%s:%d: not so: %s (errno %s, libipq: %s)\n", file, line, condition,
		strerror(errno), ipq_errstr());
	exit(1);
}

__attribute__((unused)) static void test_int(const char *file, int line, const char *what,
					     long actual, long expected)
{
	if (actual == expected)
		return;
	fprintf(stderr, "%s:%d: %s is %ld, not %ld (errno %s, libipq: %s)\n", file, line, what,
		actual, expected, strerror(errno), ipq_errstr());
	exit(1);
}

__attribute__((unused)) static void test_string(const char *file, int line, const char *what,
						const char *actual, const char *expected)
{
	if (strcmp(actual, expected) == 0)
		return;
	fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", file, line, what, actual, expected);
	exit(1);
}

static void test_run(const struct test_case *test)
{
	alarm(TEST_SECONDS);
	test->run();
}

/* All cases, each in a process of its own. The number of those that failed. */
static int test_run_all(const struct test_case *cases, int count)
{
	int failed = 0, status;

	for (int i = 0; i < count; i++) {
		if (fork() == 0) {
			test_run(&cases[i]);
			exit(0);
		}
		if (wait(&status) < 0 || status != 0) {
			fprintf(stderr, "failed: %s\n", cases[i].sentence);
			failed++;
		}
	}
	return failed;
}

static int test_main(int argc, char **argv, const struct test_case *cases, int count)
{
	int number = argc == 2 ? atoi(argv[1]) : 0;

	if (argc == 2 && strcmp(argv[1], "all") == 0)
		return test_run_all(cases, count) > 0;
	if (number == 0) {
		for (int i = 0; i < count; i++)
			puts(cases[i].sentence);
		return 0;
	}
	if (number < 1 || number > count)
		return 2;
	test_run(&cases[number - 1]);
	return 0;
}

/* Live packets */

__attribute__((unused)) static void shell(const char *command)
{
	CHECK_INT(system(command), 0);
}

/* A network namespace whose loopback device is up. */
__attribute__((unused)) static void enter_namespace(void)
{
	CHECK_INT(unshare(CLONE_NEWNET), 0);
	shell("ip link set lo up");
}

/* All UDP that leaves is queued, by the QUEUE target. */
__attribute__((unused)) static void enter_queueing_namespace(void)
{
	enter_namespace();
	shell("iptables-legacy -A OUTPUT -p udp -j QUEUE");
}

/* Gives the socket room for so many bytes each way, whatever the system's limits are: as root it may
 * pass them. */
__attribute__((unused)) static void buffers_set(int fd, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
}

/* A UDP socket that is connected to itself: what it sends, it gets, if the packet is let through.
 */
__attribute__((unused)) static int udp_open(sa_family_t family)
{
	struct sockaddr_in6 address = {.sin6_family = family};
	socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(address);
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (family == AF_INET)
		((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		address.sin6_addr = in6addr_loopback;
	CHECK(fd >= 0);
	buffers_set(fd, 4 << 20);
	CHECK_INT(bind(fd, (struct sockaddr *)&address, len), 0);
	CHECK_INT(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	CHECK_INT(connect(fd, (struct sockaddr *)&address, len), 0);
	return fd;
}

/* Byte i of the data that udp_send() sends: no period that a wrong offset could hide in. */
__attribute__((unused)) static unsigned char pattern(size_t i)
{
	return (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

__attribute__((unused)) static void udp_send(int fd, size_t size)
{
	static unsigned char data[65536];

	for (size_t i = 0; i < size; i++)
		data[i] = pattern(i);
	/* A packet that is dropped on its way out may be told to the sender. */
	CHECK(send(fd, data, size, 0) == (ssize_t)size || errno == EPERM);
}

static bool is_readable(int fd, int milliseconds)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	return poll(&poll_fd, 1, milliseconds) == 1;
}

/* The data of the next packet that came through. */
__attribute__((unused)) static ssize_t udp_receive(int fd, unsigned char *data, size_t size)
{
	CHECK(is_readable(fd, WAIT_US / 1000));
	return recv(fd, data, size, 0);
}

__attribute__((unused)) static void udp_expect(int fd, size_t size)
{
	static unsigned char data[65536];

	CHECK_INT(udp_receive(fd, data, sizeof(data)), size);
	for (size_t i = 0; i < size; i++)
		CHECK_INT(data[i], pattern(i));
}

/* Loopback delivers before send() or the verdict returns. */
__attribute__((unused)) static void udp_expect_nothing(int fd)
{
	CHECK(!is_readable(fd, 0));
}

/* A handle of queue 0, or of what the environment says, that gives packets. */
__attribute__((unused)) static struct ipq_handle *open_handle(int protocol, unsigned char mode,
							      size_t range)
{
	struct ipq_handle *h = ipq_create_handle(0, protocol);

	CHECK(h);
	CHECK_INT(ipq_set_mode(h, mode, range), 56);
	CHECK(!is_readable(h->fd, 0));
	return h;
}

__attribute__((unused)) static ipq_packet_msg_t *read_packet(const struct ipq_handle *h,
							     unsigned char *buf, size_t len)
{
	ssize_t size = ipq_read(h, buf, len, WAIT_US);

	CHECK(size >= 112);
	CHECK_INT(ipq_message_type(buf), IPQM_PACKET);
	CHECK_INT(((struct nlmsghdr *)buf)->nlmsg_len, size);
	return ipq_get_packet(buf);
}

/* The next message is that error. */
__attribute__((unused)) static void expect_error(const struct ipq_handle *h, int error)
{
	_Alignas(8) unsigned char buf[256];
	ssize_t size = ipq_read(h, buf, sizeof(buf), WAIT_US);

	CHECK(size >= 36);
	CHECK_INT(ipq_message_type(buf), NLMSG_ERROR);
	CHECK_INT(ipq_get_msgerr(buf), error);
}

__attribute__((unused)) static void expect_no_message(const struct ipq_handle *h)
{
	unsigned char buf[256];

	CHECK_INT(ipq_read(h, buf, sizeof(buf), -1), 0);
	CHECK_STRING(ipq_errstr(), "Timeout");
}

/* One column of this namespace's queue: 1 is the owner's port, 2 the packets that wait. -1 where
 * nobody has the queue. */
__attribute__((unused)) static long queue_column(int queue, int column)
{
	FILE *file = fopen("/proc/net/netfilter/nfnetlink_queue", "r");
	long values[3], found = -1;
	char line[256];

	CHECK(file);
	while (fgets(line, sizeof(line), file)) {
		CHECK_INT(sscanf(line, "%ld %ld %ld", &values[0], &values[1], &values[2]), 3);
		if (values[0] == queue)
			found = values[column];
	}
	fclose(file);
	return found;
}
enum { COLUMN_OWNER = 1, COLUMN_WAITING = 2 };

__attribute__((unused)) static void expect_child(pid_t child)
{
	int status;

	CHECK_INT(waitpid(child, &status, 0), child);
	CHECK_INT(status, 0);
}

__attribute__((unused)) static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

#endif
