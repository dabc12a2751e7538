/* ipq_set_verdict() on live packets. */
#include "libipq_test.h"

#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>

static _Alignas(8) unsigned char buf[MESSAGE_MAX];
static struct ipq_handle *handle;
static int udp;

static void begin(void)
{
	enter_queueing_namespace();
	handle = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	udp = udp_open(AF_INET);
}

static void begin6(void)
{
	enter_namespace();
	shell("ip6tables-legacy -A OUTPUT -p udp -j QUEUE");
	handle = open_handle(PF_INET6, IPQ_COPY_PACKET, 0);
	udp = udp_open(AF_INET6);
}

/* Sends a packet and gives the id under which it waits. */
static ipq_id_t queue_one(size_t size)
{
	udp_send(udp, size);
	return read_packet(handle, buf, sizeof(buf))->packet_id;
}

static int judge(ipq_id_t id, unsigned int verdict)
{
	return ipq_set_verdict(handle, id, verdict, 0, NULL);
}

static void expect_waiting(long count)
{
	CHECK_INT(queue_column(0, COLUMN_WAITING), count);
}

static void accept_and_stop(void)
{
	begin();
	CHECK_INT(judge(queue_one(56), NF_ACCEPT), 40);
	udp_expect(udp, 56);
	CHECK_INT(judge(queue_one(57), NF_STOP), 40);
	udp_expect(udp, 57);
	expect_no_message(handle);
	expect_waiting(0);
}

static void drop_and_stolen(void)
{
	begin();
	CHECK_INT(judge(queue_one(56), NF_DROP), 40);
	CHECK_INT(judge(queue_one(56), NF_STOLEN), 40);
	udp_expect_nothing(udp);
	expect_no_message(handle);
	expect_waiting(0);
}

/* Both bring the packet back: the one to the rule again, the other to the queue. */
static void repeat_and_queue(void)
{
	static const unsigned int verdicts[] = {NF_REPEAT, NF_QUEUE};

	begin();
	for (int i = 0; i < 2; i++) {
		ipq_id_t id = queue_one(56);

		CHECK_INT(judge(id, verdicts[i]), 40);
		CHECK(read_packet(handle, buf, sizeof(buf))->packet_id != id);
		CHECK_INT(judge(ipq_get_packet(buf)->packet_id, NF_ACCEPT), 40);
		udp_expect(udp, 56);
		expect_no_message(handle);
	}
}

static void queue_of_a_second_handle(void)
{
	struct ipq_handle *first;

	enter_namespace();
	shell("iptables-legacy -A OUTPUT -p udp -j NFQUEUE --queue-num 1");
	first = open_handle(PF_INET6, IPQ_COPY_META, 0);
	handle = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	udp = udp_open(AF_INET);
	judge(queue_one(56), NF_QUEUE);
	read_packet(handle, buf, sizeof(buf));
	expect_no_message(first);
	ipq_destroy_handle(first);
}

static void no_such_verdict(void)
{
	static const unsigned int verdicts[] = {6,	 255,	     256,	0x10000 | NF_ACCEPT,
						0x10003, 0xffff0000, 0xffffffff};
	ipq_id_t id;

	begin();
	id = queue_one(56);
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		CHECK_INT(ipq_set_verdict(handle, id, verdicts[i], HEADERS4, buf), 40 + HEADERS4);
		expect_error(handle, EINVAL);
		expect_no_message(handle);
		expect_waiting(1);
	}
	judge(id, NF_ACCEPT);
	udp_expect(udp, 56);
}

static void no_such_id(void)
{
	const ipq_id_t wide = (ipq_id_t)1 << 31 << 1;
	ipq_id_t id;

	begin();
	id = queue_one(56);
	CHECK_INT(judge(id + 1, NF_DROP), 40);
	expect_error(handle, ENOENT);
	CHECK_INT(judge(0, NF_DROP), 40);
	expect_error(handle, ENOENT);
	if (wide) {
		CHECK_INT(judge(id + wide, NF_DROP), 40);
		expect_error(handle, ENOENT);
	}
	expect_no_message(handle);
	judge(id, NF_ACCEPT);
	udp_expect(udp, 56);
}

static void verdict_twice(void)
{
	ipq_id_t id;

	begin();
	id = queue_one(56);
	CHECK_INT(judge(id, NF_ACCEPT), 40);
	CHECK_INT(judge(id, NF_DROP), 40);
	expect_error(handle, ENOENT);
	expect_no_message(handle);
	udp_expect(udp, 56);
}

static void verdict_before_mode(void)
{
	enter_queueing_namespace();
	handle = ipq_create_handle(0, PF_INET);
	CHECK_INT(judge(1, NF_ACCEPT), 40);
	expect_error(handle, ENOENT);
	CHECK_INT(ipq_set_mode(handle, IPQ_COPY_META, 0), 56);
	expect_no_message(handle);
}

/* What a program finds behind the error's header: its request. */
static void error_contents(void)
{
	struct nlmsghdr *nlh = (struct nlmsghdr *)buf;
	struct nlmsgerr *error = (struct nlmsgerr *)(buf + 16);
	ipq_verdict_msg_t verdict;
	ipq_mode_msg_t mode;

	begin();
	CHECK_INT(ipq_set_verdict(handle, 4711, NF_REPEAT, 30, buf), 70);
	errno = 0;
	CHECK_INT(ipq_read(handle, buf, sizeof(buf), WAIT_US), 60);
	CHECK_INT(errno, 0);
	CHECK_INT(nlh->nlmsg_len, 60);
	CHECK_INT(nlh->nlmsg_flags, 0);
	CHECK_INT(error->error, -ENOENT);
	CHECK_INT(error->msg.nlmsg_type, IPQM_VERDICT);
	CHECK_INT(error->msg.nlmsg_len, 70);
	CHECK_INT(error->msg.nlmsg_flags, NLM_F_REQUEST);
	memcpy(&verdict, buf + 36, sizeof(verdict));
	CHECK_INT(verdict.id, 4711);
	CHECK_INT(verdict.value, NF_REPEAT);
	CHECK_INT(verdict.data_len, 30);

	ipq_set_mode(handle, 9, 77);
	CHECK_INT(ipq_read(handle, buf, sizeof(buf), WAIT_US), 76);
	CHECK_INT(error->error, -EINVAL);
	CHECK_INT(error->msg.nlmsg_type, IPQM_MODE);
	CHECK_INT(error->msg.nlmsg_len, 56);
	memcpy(&mode, buf + 36, sizeof(mode));
	CHECK_INT(mode.value, 9);
	CHECK_INT(mode.range, 77);

	/* Of a replacement that does not fit the part of the message that is looked at. */
	CHECK_INT(ipq_set_verdict(handle, 4711, NF_ACCEPT, 60000, buf), 60040);
	CHECK_INT(ipq_read(handle, buf, 36, WAIT_US), 36);
	CHECK_INT(error->error, -ENOENT);
	CHECK_INT(error->msg.nlmsg_len, 60040);
	judge(1, NF_ACCEPT);
	CHECK_INT(ipq_read(handle, buf, 35, WAIT_US), -1);
	CHECK_STRING(ipq_errstr(), "Received message truncated");
	expect_no_message(handle);
}

static void out_of_order(void)
{
	enum { MANY = 1000 };
	static ipq_id_t ids[MANY];

	begin();
	for (size_t i = 0; i < MANY; i++)
		ids[i] = queue_one(i);
	expect_waiting(MANY);
	for (size_t i = 0; i < MANY; i++) {
		size_t which = i * 377 % MANY;

		CHECK_INT(judge(ids[which], which % 3 ? NF_ACCEPT : NF_DROP), 40);
		if (which % 3)
			udp_expect(udp, which);
		else
			udp_expect_nothing(udp);
	}
	expect_no_message(handle);
	expect_waiting(0);
}

/* Replacements */

static uint32_t sum16(const unsigned char *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return sum;
}

static uint16_t folded(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* The packet in buf with size bytes of data, which begin with other bytes than they did. */
static size_t replace4(unsigned char *packet, size_t size)
{
	struct iphdr *ip = (struct iphdr *)packet;
	struct udphdr *header = (struct udphdr *)(packet + 20);

	for (size_t i = 0; i < size; i++)
		packet[HEADERS4 + i] = (unsigned char)~pattern(i);
	ip->tot_len = htons((uint16_t)(HEADERS4 + size));
	ip->check = 0;
	ip->check = folded(sum16(packet, 20, 0));
	header->len = htons((uint16_t)(8 + size));
	header->check = 0;
	return HEADERS4 + size;
}

static size_t replace6(unsigned char *packet, size_t size)
{
	struct ip6_hdr *ip = (struct ip6_hdr *)packet;
	struct udphdr *header = (struct udphdr *)(packet + 40);

	for (size_t i = 0; i < size; i++)
		packet[HEADERS6 + i] = (unsigned char)~pattern(i);
	ip->ip6_plen = htons((uint16_t)(8 + size));
	header->len = ip->ip6_plen;
	header->check = 0;
	header->check =
		folded(sum16(packet + 8, 32 + 8 + size, (uint32_t)(8 + size) + IPPROTO_UDP));
	return HEADERS6 + size;
}

static void expect_replaced(size_t size)
{
	static unsigned char data[65536];

	CHECK_INT(udp_receive(udp, data, sizeof(data)), size);
	for (size_t i = 0; i < size; i++)
		CHECK_INT(data[i], (unsigned char)~pattern(i));
	expect_no_message(handle);
}

static void rewrite_case(size_t before, size_t after)
{
	ipq_packet_msg_t *msg;
	ipq_id_t id;
	size_t len;

	begin();
	id = queue_one(before);
	msg = ipq_get_packet(buf);
	CHECK_INT(msg->data_len, HEADERS4 + before);
	len = replace4(msg->payload, after);
	CHECK_INT(ipq_set_verdict(handle, id, NF_ACCEPT, len, msg->payload), 40 + len);
	expect_replaced(after);
}

static void rewrite_same(void)
{
	rewrite_case(56, 56);
}

static void rewrite_longer(void)
{
	rewrite_case(56, 56 + 28);
}

static void rewrite_shorter(void)
{
	rewrite_case(56, 56 - 28);
}

static void rewrite_odd(void)
{
	rewrite_case(56, 1001);
}

static void rewrite_largest(void)
{
	rewrite_case(100, 65531 - HEADERS4);
}

static void rewrite6(void)
{
	static const size_t after[] = {56, 84, 28, 33};

	begin6();
	for (size_t i = 0; i < 4; i++) {
		ipq_id_t id = queue_one(56);
		size_t len = replace6(ipq_get_packet(buf)->payload, after[i]);

		CHECK_INT(ntohs(ipq_get_packet(buf)->hw_protocol), 0x86dd);
		CHECK_INT(ipq_set_verdict(handle, id, NF_ACCEPT, len, ipq_get_packet(buf)->payload),
			  40 + len);
		expect_replaced(after[i]);
	}
}

static void rewrite_and_stop(void)
{
	ipq_id_t id;
	size_t len;

	begin();
	id = queue_one(56);
	len = replace4(ipq_get_packet(buf)->payload, 60);
	CHECK_INT(ipq_set_verdict(handle, id, NF_STOP, len, ipq_get_packet(buf)->payload),
		  40 + len);
	expect_replaced(60);
}

static void data_below_header(void)
{
	ipq_id_t id;

	begin();
	id = queue_one(56);
	memset(buf, 0, sizeof(buf));
	CHECK_INT(ipq_set_verdict(handle, id, NF_ACCEPT, 19, buf), 59);
	udp_expect(udp, 56);
	id = queue_one(56);
	CHECK_INT(ipq_set_verdict(handle, id, NF_ACCEPT, 1, buf), 41);
	udp_expect(udp, 56);
	id = queue_one(56);
	memset(buf, 0, sizeof(buf));
	CHECK_INT(ipq_set_verdict(handle, id, NF_ACCEPT, 20, buf), 60);
	udp_expect_nothing(udp);
	expect_no_message(handle);
}

static void data_below_header6(void)
{
	ipq_id_t id;

	begin6();
	id = queue_one(56);
	memset(buf, 0, sizeof(buf));
	CHECK_INT(ipq_set_verdict(handle, id, NF_ACCEPT, 39, buf), 79);
	udp_expect(udp, 56);
	id = queue_one(56);
	memset(buf, 0, sizeof(buf));
	CHECK_INT(ipq_set_verdict(handle, id, NF_ACCEPT, 40, buf), 80);
	udp_expect_nothing(udp);
	expect_no_message(handle);
}

static void no_data(void)
{
	begin();
	CHECK_INT(ipq_set_verdict(handle, queue_one(56), NF_ACCEPT, 100, NULL), 40);
	udp_expect(udp, 56);
	CHECK_INT(ipq_set_verdict(handle, queue_one(56), NF_ACCEPT, 0, buf), 40);
	udp_expect(udp, 56);
}

static void drop_with_data(void)
{
	begin();
	CHECK_INT(ipq_set_verdict(handle, queue_one(56), NF_DROP, 1000, buf), 1040);
	CHECK_INT(ipq_set_verdict(handle, queue_one(56), NF_DROP, 100000, buf), 100040);
	udp_expect_nothing(udp);
	expect_no_message(handle);
	expect_waiting(0);
}

static void data_too_long(void)
{
	ipq_id_t id;

	begin();
	id = queue_one(56);
	CHECK_INT(ipq_set_verdict(handle, id, NF_ACCEPT, 65532, buf), -1);
	CHECK_INT(errno, EMSGSIZE);
	CHECK_STRING(ipq_errstr(), "Failed to send netlink message");
	CHECK_INT(ipq_set_verdict(handle, id, NF_ACCEPT, SIZE_MAX, buf), -1);
	CHECK_INT(errno, EMSGSIZE);
	expect_waiting(1);
	judge(id, NF_ACCEPT);
	udp_expect(udp, 56);
}

static void mark_stays(void)
{
	begin();
	shell("iptables-legacy -t mangle -A OUTPUT -p udp -j MARK --set-mark 7");
	shell("iptables-legacy -t mangle -A POSTROUTING -p udp -m mark ! --mark 7 -j DROP");
	judge(queue_one(56), NF_ACCEPT);
	udp_expect(udp, 56);
}

static bool is_tcp_complete(const ipq_packet_msg_t *msg)
{
	const unsigned char *tcp = msg->payload + 20;
	uint32_t len = (uint32_t)msg->data_len - 20;

	return folded(sum16(tcp, len, sum16(msg->payload + 12, 8, len + IPPROTO_TCP))) == 0;
}

/* A sender in a process of its own, which ends when all has arrived. */
static pid_t tcp_start(size_t size, struct sockaddr_in *to, int *listener)
{
	static unsigned char data[1 << 20];
	socklen_t len = sizeof(*to);
	pid_t child;

	*to = (struct sockaddr_in){.sin_family = AF_INET};
	to->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*listener = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(bind(*listener, (struct sockaddr *)to, len), 0);
	CHECK_INT(getsockname(*listener, (struct sockaddr *)to, &len), 0);
	CHECK_INT(listen(*listener, 1), 0);
	child = fork();
	if (child == 0) {
		int out = socket(AF_INET, SOCK_STREAM, 0);
		int in;

		CHECK_INT(connect(out, (struct sockaddr *)to, len), 0);
		in = accept(*listener, NULL, NULL);
		for (size_t i = 0; i < size; i++)
			data[i] = pattern(i);
		if (fork() == 0) {
			CHECK_INT(send(out, data, size, 0), size);
			_exit(0);
		}
		CHECK_INT(recv(in, data, size, MSG_WAITALL), size);
		for (size_t i = 0; i < size; i++)
			CHECK_INT(data[i], pattern(i));
		_exit(0);
	}
	return child;
}

static void tcp(void)
{
	struct sockaddr_in to;
	int listener, status, full = 0;
	pid_t child;

	enter_namespace();
	shell("ip link set lo mtu 1500");
	shell("iptables-legacy -A OUTPUT -p tcp -j QUEUE");
	handle = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	child = tcp_start(1 << 20, &to, &listener);
	while (waitpid(child, &status, WNOHANG) == 0) {
		ipq_packet_msg_t *msg = ipq_get_packet(buf);

		if (ipq_read(handle, buf, sizeof(buf), 1000) <= 0)
			continue;
		CHECK(msg->data_len <= 1500);
		full += msg->data_len == 1500;
		CHECK(is_tcp_complete(msg));
		/* The same bytes again: they must be good for the wire as they came. */
		CHECK(ipq_set_verdict(handle, msg->packet_id, NF_ACCEPT, msg->data_len,
				      msg->payload) > 0);
	}
	CHECK_INT(status, 0);
	CHECK(full >= 700);
}

static const struct test_case cases[] = {
	{"NF_ACCEPT and NF_STOP let a packet through", accept_and_stop},
	{"NF_DROP and NF_STOLEN do not, and none is left waiting", drop_and_stolen},
	{"NF_REPEAT and NF_QUEUE bring it again", repeat_and_queue},
	{"NF_QUEUE brings it to the same queue, if that is not queue 0", queue_of_a_second_handle},
	{"a verdict that there is not: EINVAL in band, and the packet waits", no_such_verdict},
	{"an unknown id: ENOENT in band, wide ids too", no_such_id},
	{"a second verdict: ENOENT in band, the first one counts", verdict_twice},
	{"a verdict before the first mode: ENOENT in band", verdict_before_mode},
	{"an error brings the request that it is about", error_contents},
	{"a thousand packets, judged out of order", out_of_order},
	{"a replacement of the same length", rewrite_same},
	{"a replacement that is 28 bytes longer", rewrite_longer},
	{"a replacement that is 28 bytes shorter", rewrite_shorter},
	{"a replacement of odd length", rewrite_odd},
	{"a replacement of 65,531 bytes", rewrite_largest},
	{"replacements of IPv6 packets", rewrite6},
	{"a replacement with NF_STOP", rewrite_and_stop},
	{"less data than an IPv4 header: as if there was none", data_below_header},
	{"less data than an IPv6 header: as if there was none", data_below_header6},
	{"a length without data, data without a length: no replacement", no_data},
	{"NF_DROP does not look at the data", drop_with_data},
	{"more than 65,531 bytes of data: -1, EMSGSIZE, and the packet waits", data_too_long},
	{"the mark stays", mark_stays},
	{"a TCP stream comes in packets of the wire's size with their checksums, and goes back so",
	 tcp},
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
