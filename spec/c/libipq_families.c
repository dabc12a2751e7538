/* IPv4 and IPv6: which queue is whose, and what becomes of packets that meet the other one's handle. */
#include "libipq_test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/select.h>

static _Alignas(8) unsigned char buf[MESSAGE_MAX];

static struct ipq_handle *h4, *h6;

static void two_families(void)
{
	int udp4, udp6;
	ipq_id_t id;

	enter_queueing_namespace();
	shell("ip6tables-legacy -A OUTPUT -p udp -j NFQUEUE --queue-num 1");
	h4 = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	h6 = open_handle(PF_INET6, IPQ_COPY_PACKET, 0);
	expect_no_message(h4);
	expect_no_message(h6);
	CHECK_INT(queue_column(0, COLUMN_OWNER), getpid());
	CHECK_INT(queue_column(0, COLUMN_OWNER), h4->local.nl_pid);
	CHECK_INT(queue_column(1, COLUMN_OWNER), (long)h6->local.nl_pid);
	udp4 = udp_open(AF_INET);
	udp6 = udp_open(AF_INET6);
	for (int i = 0; i < 3; i++) {
		udp_send(udp4, 56);
		udp_send(udp6, 57);
		id = read_packet(h6, buf, sizeof(buf))->packet_id;
		CHECK_INT(ipq_get_packet(buf)->payload[0] >> 4, 6);
		expect_no_message(h6);
		if (i == 1) {
			/* What waited in its queue is gone with it; the other one goes on. */
			CHECK_INT(ipq_destroy_handle(h4), 0);
			udp_expect_nothing(udp4);
			h4 = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
		} else {
			CHECK_INT(read_packet(h4, buf, sizeof(buf))->payload[0] >> 4, 4);
			ipq_set_verdict(h4, ipq_get_packet(buf)->packet_id, NF_ACCEPT, 0, NULL);
			udp_expect(udp4, 56);
		}
		CHECK_INT(ipq_set_verdict(h6, id, NF_ACCEPT, 0, NULL), 40);
		udp_expect(udp6, 57);
	}
	CHECK_INT(ipq_destroy_handle(h6), 0);
	CHECK_INT(ipq_destroy_handle(h4), 0);
	CHECK_INT(queue_column(0, COLUMN_OWNER), -1);
	CHECK_INT(queue_column(1, COLUMN_OWNER), -1);
}

static void ipv6_first(void)
{

	enter_namespace();
	h6 = open_handle(PF_INET6, IPQ_COPY_META, 0);
	CHECK_INT(queue_column(0, COLUMN_OWNER), h6->local.nl_pid);
	h4 = open_handle(PF_INET, IPQ_COPY_META, 0);
	CHECK_INT(queue_column(1, COLUMN_OWNER), (long)h4->local.nl_pid);
	ipq_destroy_handle(h4);
	ipq_destroy_handle(h6);
}

static void numbers_from_environment(void)
{
	struct ipq_handle *h;

	enter_namespace();
	setenv("LIBIPQ_QUEUE", "300", 1);
	setenv("LIBIPQ_QUEUE6", "65535", 1);
	h = open_handle(PF_INET, IPQ_COPY_META, 0);
	CHECK_INT(queue_column(300, COLUMN_OWNER), h->local.nl_pid);
	h6 = open_handle(PF_INET6, IPQ_COPY_META, 0);
	CHECK_INT(queue_column(65535, COLUMN_OWNER), (long)h6->local.nl_pid);
	ipq_destroy_handle(h6);
	setenv("LIBIPQ_QUEUE6", "", 1);
	h6 = open_handle(PF_INET6, IPQ_COPY_META, 0);
	CHECK_INT(queue_column(0, COLUMN_OWNER), (long)h6->local.nl_pid);
	ipq_destroy_handle(h);
	ipq_destroy_handle(h6);
}

static void other_family(void)
{
	struct ipq_handle *h;
	ipq_id_t id;
	int udp4, udp6;

	enter_queueing_namespace();
	shell("ip6tables-legacy -A OUTPUT -p udp -j QUEUE");
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	udp4 = udp_open(AF_INET);
	udp6 = udp_open(AF_INET6);
	udp_send(udp6, 10);
	udp_send(udp6, 20000);
	errno = 0;
	expect_no_message(h);
	CHECK_INT(errno, 0);
	udp_send(udp6, 10);
	udp_send(udp4, 11);
	id = read_packet(h, buf, sizeof(buf))->packet_id;
	CHECK_INT(ipq_get_packet(buf)->data_len, HEADERS4 + 11);
	ipq_set_verdict(h, id, NF_ACCEPT, 0, NULL);
	udp_expect(udp4, 11);
	expect_no_message(h);
	udp_expect_nothing(udp6);
	CHECK_INT(queue_column(0, COLUMN_WAITING), 0);
	ipq_destroy_handle(h);
}

/* The QUEUE target of both families means queue 0 */

/* Both handles, IPv4's with queue 0, where all UDP goes. */
static void enter_one_queue(void)
{
	enter_queueing_namespace();
	shell("ip6tables-legacy -A OUTPUT -p udp -j QUEUE");
	h4 = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	h6 = open_handle(PF_INET6, IPQ_COPY_PACKET, 0);
}

static void accept_next(const struct ipq_handle *h, int version)
{
	ipq_id_t id = read_packet(h, buf, sizeof(buf))->packet_id;

	CHECK_INT(ipq_get_packet(buf)->payload[0] >> 4, version);
	CHECK_INT(ipq_set_verdict(h, id, NF_ACCEPT, 0, NULL), 40);
}

/* A read without a timeout of what select() tells of. */
static void expect_empty(const struct ipq_handle *h)
{
	CHECK(is_readable(h->fd, WAIT_US / 1000));
	memset(buf, 0xaa, sizeof(buf));
	errno = ENOENT;
	CHECK_INT(ipq_read(h, buf, sizeof(buf), 0), 0);
	CHECK_INT(errno, ENOENT);
	CHECK_STRING(ipq_errstr(), "Timeout");
	CHECK_INT(ipq_message_type(buf), 0);
	for (int i = 0; i < 112; i++)
		CHECK_INT(buf[i], 0);
	CHECK_INT(buf[112], 0xaa);
}

struct counts {
	int reads, empty, packets[2];
};

/* One turn of the loop that programs with two handles have: reads, looks at the type, judges. */
static void turn(struct counts *counts, const struct ipq_handle *h)
{
	ssize_t size = ipq_read(h, buf, sizeof(buf), 0);

	CHECK(size >= 0);
	counts->reads++;
	counts->empty += size == 0;
	if (ipq_message_type(buf) == IPQM_PACKET) {
		counts->packets[h == h6]++;
		CHECK_INT(ipq_get_packet(buf)->payload[0] >> 4, h == h6 ? 6 : 4);
	} else {
		CHECK_INT(ipq_message_type(buf), 0);
	}
	CHECK_INT(ipq_set_verdict(h, ipq_get_packet(buf)->packet_id, NF_ACCEPT, 0, NULL), 40);
}

static int greater(int a, int b)
{
	return a > b ? a : b;
}

/* Until the other end of the pipe is closed. */
static struct counts loop(int until_closed)
{
	struct counts counts = {0};

	for (;;) {
		fd_set set;

		FD_ZERO(&set);
		FD_SET(h4->fd, &set);
		FD_SET(h6->fd, &set);
		FD_SET(until_closed, &set);
		CHECK(select(greater(until_closed, greater(h4->fd, h6->fd)) + 1, &set, NULL, NULL,
			     NULL) > 0);
		if (FD_ISSET(h4->fd, &set))
			turn(&counts, h4);
		if (FD_ISSET(h6->fd, &set))
			turn(&counts, h6);
		if (FD_ISSET(until_closed, &set))
			return counts;
	}
}

static struct counts judge_pings(void)
{
	struct counts counts;
	int running[2];
	pid_t child;

	CHECK_INT(pipe2(running, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		shell("for address in 127.0.0.1 ::1; do ping -W 10 -q -c 3 -l 3 -i 10 $address | "
		      "grep -q ' 3 received' || exit 1; done");
		_exit(0);
	}
	close(running[1]);
	counts = loop(running[0]);
	expect_child(child);
	expect_no_message(h4);
	expect_no_message(h6);
	return counts;
}

static void enter_pinging_namespace(void)
{
	enter_namespace();
	shell("iptables-legacy -A OUTPUT -p icmp -j QUEUE");
	shell("ip6tables-legacy -A OUTPUT -p icmpv6 -j QUEUE");
}

static void pings(void)
{
	struct counts counts;

	enter_pinging_namespace();
	h4 = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	h6 = open_handle(PF_INET6, IPQ_COPY_PACKET, 0);
	counts = judge_pings();
	/* Requests and replies. */
	CHECK_INT(counts.packets[0], 6);
	CHECK(counts.packets[1] >= 6);
	CHECK_INT(counts.empty, counts.packets[1]);
	CHECK_INT(counts.reads, counts.packets[0] + 2 * counts.packets[1]);
}

static void pings_ipv6_first(void)
{
	struct counts counts;

	enter_pinging_namespace();
	h6 = open_handle(PF_INET6, IPQ_COPY_PACKET, 0);
	h4 = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	counts = judge_pings();
	CHECK_INT(counts.packets[0], 6);
	CHECK_INT(counts.empty, 6);
	CHECK_INT(counts.reads, 12 + counts.packets[1]);
}

static void empty_message(void)
{
	int udp6;

	enter_one_queue();
	udp6 = udp_open(AF_INET6);
	udp_send(udp6, 56);
	expect_empty(h4);
	CHECK(!is_readable(h4->fd, 0));
	CHECK_INT(ipq_set_verdict(h4, 0, NF_DROP, 0, NULL), 40);
	CHECK_INT(ipq_set_verdict(h4, 0, NF_ACCEPT, 20, buf), 60);
	expect_no_message(h4);
	udp_expect_nothing(udp6);
	accept_next(h6, 6);
	udp_expect(udp6, 56);
	/* Other ids that are no packet's are still told of, and this one to the handle that had all
	 * that it was told of. */
	CHECK_INT(ipq_set_verdict(h4, 1000, NF_ACCEPT, 0, NULL), 40);
	expect_error(h4, ENOENT);
	CHECK_INT(ipq_set_verdict(h6, 0, NF_ACCEPT, 0, NULL), 40);
	expect_error(h6, ENOENT);
}

static void small_buffer(void)
{
	int udp6;

	enter_one_queue();
	udp6 = udp_open(AF_INET6);
	udp_send(udp6, 5000);
	memset(buf, 0xaa, sizeof(buf));
	/* What of the packet had gone there is gone, too. */
	CHECK_INT(ipq_read(h4, buf, 20, 0), 0);
	for (int i = 0; i < 20; i++)
		CHECK_INT(buf[i], 0);
	CHECK_INT(buf[20], 0xaa);
	accept_next(h6, 6);
	udp_expect(udp6, 5000);
}

static void with_timeouts(void)
{
	int udp4, udp6;

	enter_one_queue();
	udp4 = udp_open(AF_INET);
	udp6 = udp_open(AF_INET6);
	udp_send(udp6, 56);
	expect_no_message(h4);
	udp_send(udp6, 57);
	udp_send(udp4, 58);
	/* Which is not empty. */
	accept_next(h4, 4);
	udp_expect(udp4, 58);
	accept_next(h6, 6);
	udp_expect(udp6, 56);
	accept_next(h6, 6);
	udp_expect(udp6, 57);
	CHECK_INT(ipq_set_verdict(h4, 0, NF_ACCEPT, 0, NULL), 40);
	expect_error(h4, ENOENT);
}

static void one_handle(void)
{
	int udp4, udp6;

	enter_queueing_namespace();
	shell("ip6tables-legacy -A OUTPUT -p udp -j QUEUE");
	h4 = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	h6 = open_handle(PF_INET6, IPQ_COPY_PACKET, 0);
	ipq_destroy_handle(h6);
	udp4 = udp_open(AF_INET);
	udp6 = udp_open(AF_INET6);
	udp_send(udp6, 56);
	udp_send(udp4, 57);
	CHECK_INT(ipq_read(h4, buf, sizeof(buf), 0), NLMSG_ALIGN(112 + HEADERS4 + 57));
	CHECK_INT(ipq_set_verdict(h4, 0, NF_ACCEPT, 0, NULL), 40);
	expect_error(h4, ENOENT);
	udp_expect_nothing(udp6);
	CHECK_INT(queue_column(0, COLUMN_WAITING), 1);
}

/* What is not this process's to judge is nobody's. */
static void other_does_not_listen(void)
{
	struct ipq_handle *foreign;
	int udp6, ready[2];
	pid_t child;
	char byte;

	enter_queueing_namespace();
	shell("ip6tables-legacy -A OUTPUT -p udp -j QUEUE");
	CHECK_INT(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setenv("LIBIPQ_QUEUE6", "1", 1);
		foreign = open_handle(PF_INET6, IPQ_COPY_PACKET, 0);
		CHECK_INT(write(ready[1], "", 1), 1);
		CHECK_INT(ipq_read(foreign, buf, sizeof(buf), 0), NLMSG_ALIGN(112 + HEADERS6 + 58));
		_exit(0);
	}
	CHECK_INT(read(ready[0], &byte, 1), 1);
	udp6 = udp_open(AF_INET6);
	h4 = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	h6 = ipq_create_handle(0, PF_INET6);
	udp_send(udp6, 56);
	expect_empty(h4);
	CHECK_INT(queue_column(0, COLUMN_WAITING), 0);
	CHECK_INT(queue_column(1, COLUMN_WAITING), 0);

	CHECK_INT(ipq_set_mode(h6, IPQ_COPY_PACKET, 0), 56);
	expect_error(h6, EBUSY);
	udp_send(udp6, 57);
	expect_empty(h4);
	CHECK_INT(queue_column(0, COLUMN_WAITING), 0);
	CHECK_INT(queue_column(1, COLUMN_WAITING), 0);
	shell("ip6tables-legacy -F; ip6tables-legacy -A OUTPUT -p udp -j NFQUEUE --queue-num 1");
	udp_send(udp6, 58);
	expect_child(child);
	udp_expect_nothing(udp6);
}

/* Both were given one number: the second has no queue, and nothing goes round in a circle. */
static void same_number(void)
{
	int udp6;

	setenv("LIBIPQ_QUEUE6", "0", 1);
	enter_queueing_namespace();
	shell("ip6tables-legacy -A OUTPUT -p udp -j QUEUE");
	h4 = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	h6 = ipq_create_handle(0, PF_INET6);
	CHECK_INT(ipq_set_mode(h6, IPQ_COPY_PACKET, 0), 56);
	udp6 = udp_open(AF_INET6);
	udp_send(udp6, 56);
	expect_empty(h4);
	expect_no_message(h4);
	expect_error(h6, EBUSY);
	CHECK_INT(queue_column(0, COLUMN_WAITING), 0);
}

static void forked(void)
{
	pid_t child;
	int udp6;

	enter_one_queue();
	udp6 = udp_open(AF_INET6);
	child = fork();
	if (child == 0) {
		udp_send(udp6, 56);
		expect_empty(h4);
		accept_next(h6, 6);
		udp_expect(udp6, 56);
		ipq_destroy_handle(h6);
		_exit(0);
	}
	expect_child(child);
	udp_send(udp6, 57);
	expect_empty(h4);
	accept_next(h6, 6);
	udp_expect(udp6, 57);
}

/* While another thread makes and destroys the other handle */

enum { ROUNDS = 300 };

static atomic_bool is_over;

static void *read_until_over(void *counted)
{
	_Alignas(8) unsigned char message[4096];

	while (!atomic_load(&is_over)) {
		if (!is_readable(h4->fd, 10))
			continue;
		/* Without a second handle it would wait for a packet of its own. */
		CHECK_INT(ipq_read(h4, message, sizeof(message), -1), 0);
		++*(int *)counted;
	}
	return NULL;
}

static void *send_until_over(void *unused)
{
	int udp6 = udp_open(AF_INET6);

	while (!atomic_load(&is_over)) {
		udp_send(udp6, 56);
		sched_yield();
	}
	close(udp6);
	return unused;
}

static void destroyed_meanwhile(void)
{
	pthread_t reader, sender;
	int passed_on = 0, reads = 0;

	enter_queueing_namespace();
	shell("ip6tables-legacy -A OUTPUT -p udp -j QUEUE");
	h4 = open_handle(PF_INET, IPQ_COPY_META, 0);
	CHECK_INT(pthread_create(&reader, NULL, read_until_over, &reads), 0);
	CHECK_INT(pthread_create(&sender, NULL, send_until_over, NULL), 0);
	for (int i = 0; i < ROUNDS || passed_on == 0; i++) {
		h6 = ipq_create_handle(0, PF_INET6);
		CHECK(h6);
		CHECK_INT(ipq_set_mode(h6, IPQ_COPY_META, 0), 56);
		while (i % 50 == 0 && !is_readable(h6->fd, 0))
			sched_yield();
		passed_on += ipq_read(h6, buf, sizeof(buf), -1) > 0;
		ipq_destroy_handle(h6);
	}
	atomic_store(&is_over, true);
	pthread_join(reader, NULL);
	pthread_join(sender, NULL);
	CHECK(reads > 0);
	CHECK_INT(queue_column(1, COLUMN_OWNER), -1);
}

static const struct test_case cases[] = {
	{"IPv4 and IPv6 in one process: queues 0 and 1, one lives on without the other",
	 two_families},
	{"IPv6 first has queue 0", ipv6_first},
	{"LIBIPQ_QUEUE and LIBIPQ_QUEUE6 set the numbers", numbers_from_environment},
	{"one handle: packets of the other family are dropped unseen", other_family},
	{"one handle again: a read waits on, and a verdict for id 0 is told of", one_handle},
	{"two handles and the QUEUE target alone: pings of both families, with no read too many",
	 pings},
	{"the same with IPv6's handle first", pings_ipv6_first},
	{"a packet for the other handle is an empty message, whose verdict is for nothing",
	 empty_message},
	{"an empty message in a small buffer", small_buffer},
	{"with a timeout a read waits for its own packets", with_timeouts},
	{"another program's queue gets nothing in the place of the other handle's",
	 other_does_not_listen},
	{"handles that were given one number pass nothing on", same_number},
	{"a forked child passes on, and so does its parent without it", forked},
	{"the other handle is made and destroyed by another thread meanwhile", destroyed_meanwhile},
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
