/* Handles on live queues: who owns what, processes, threads. */
#include "libipq_test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static _Alignas(8) unsigned char buf[MESSAGE_MAX];

/* A child that runs main and lives until it is ended or its parent is gone. It reports itself ready
 * before this returns. */
static pid_t child_start(void (*body)(void))
{
	int ready[2];
	pid_t child;
	char byte;

	CHECK_INT(pipe(ready), 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		body();
		CHECK_INT(write(ready[1], "", 1), 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	CHECK_INT(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

static void child_end(pid_t child)
{
	kill(child, SIGKILL);
	CHECK_INT(waitpid(child, NULL, 0), child);
}

static void own_queue_0(void)
{
	open_handle(PF_INET, IPQ_COPY_META, 0);
}

static void give_up_net_admin(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	CHECK_INT(syscall(SYS_capget, &header, data), 0);
	data[0].effective &= ~CAP_TO_MASK(CAP_NET_ADMIN);
	data[0].permitted &= ~CAP_TO_MASK(CAP_NET_ADMIN);
	CHECK_INT(syscall(SYS_capset, &header, data), 0);
}

static void set_mode_meets(int error)
{
	struct ipq_handle *h = ipq_create_handle(0, PF_INET);

	CHECK(h);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 0), 56);
	expect_error(h, error);
	expect_no_message(h);
	ipq_destroy_handle(h);
}

static void without_root(void)
{
	enter_queueing_namespace();
	CHECK_INT(setresuid(65534, 65534, 65534), 0);
	set_mode_meets(EPERM);
}

static void without_net_admin(void)
{
	enter_queueing_namespace();
	give_up_net_admin();
	set_mode_meets(EPERM);
}

static void without_net_admin_owned(void)
{
	enter_queueing_namespace();
	child_start(own_queue_0);
	give_up_net_admin();
	set_mode_meets(EPERM);
}

static void owned(void)
{
	struct ipq_handle *h;
	pid_t child;

	enter_queueing_namespace();
	child = child_start(own_queue_0);
	h = ipq_create_handle(0, PF_INET);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 0), 56);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 0), 56);
	CHECK_INT(ipq_set_verdict(h, 1, NF_ACCEPT, 0, NULL), 40);
	for (int i = 0; i < 3; i++)
		expect_error(h, EBUSY);
	expect_no_message(h);
	CHECK_INT(queue_column(0, COLUMN_OWNER), child);

	child_end(child);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 0), 56);
	expect_no_message(h);
	CHECK_INT(queue_column(0, COLUMN_OWNER), getpid());
	ipq_destroy_handle(h);
}

/* Where the kernel cannot be asked who owns a queue. */
static void without_proc(void)
{
	struct ipq_handle *h;
	pid_t child;
	int udp;

	enter_queueing_namespace();
	udp = udp_open(AF_INET);
	child = child_start(own_queue_0);
	CHECK_INT(unshare(CLONE_NEWNS), 0);
	CHECK_INT(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL), 0);
	CHECK_INT(mount("none", "/proc", "tmpfs", 0, NULL), 0);
	h = ipq_create_handle(0, PF_INET);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 0), 56);
	expect_error(h, EPERM);
	child_end(child);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 0), 56);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_PACKET, 30), 56);
	expect_no_message(h);
	udp_send(udp, 56);
	CHECK_INT(read_packet(h, buf, sizeof(buf))->data_len, 30);
	ipq_destroy_handle(h);
}

/* Processes */

static void fork_then_parent_exits(void)
{
	static struct ipq_handle *h; /* the parent ends with it, which loses nothing */
	int udp, alive[2];
	pid_t parent;
	char byte;

	enter_queueing_namespace();
	udp = udp_open(AF_INET);
	CHECK_INT(pipe(alive), 0);
	/* What daemon() does, with this process as the witness. */
	parent = fork();
	if (parent == 0) {
		h = ipq_create_handle(0, PF_INET);
		CHECK(h);
		CHECK_INT(ipq_set_mode(h, IPQ_COPY_PACKET, 0), 56);
		parent = getpid();
		if (fork() != 0)
			_exit(0);
		prctl(PR_SET_PDEATHSIG, 0);
		while (getppid() == parent)
			sched_yield();
		CHECK_INT(ipq_set_mode(h, IPQ_COPY_PACKET, 30), 56);
		udp_send(udp, 56);
		CHECK_INT(read_packet(h, buf, sizeof(buf))->data_len, 30);
		ipq_set_verdict(h, ipq_get_packet(buf)->packet_id, NF_ACCEPT, 0, NULL);
		expect_no_message(h);
		CHECK_INT(write(alive[1], "", 1), 1);
		ipq_destroy_handle(h);
		_exit(0);
	}
	expect_child(parent);
	close(alive[1]);
	CHECK_INT(read(alive[0], &byte, 1), 1);
	udp_expect(udp, 56);
}

static void fork_before_mode(void)
{
	struct ipq_handle *h;
	pid_t child;
	int udp;

	enter_queueing_namespace();
	h = ipq_create_handle(0, PF_INET);
	child = fork();
	if (child == 0) {
		CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 0), 56);
		_exit(0);
	}
	expect_child(child);
	/* The queue is the socket's, which both have. */
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_PACKET, 30), 56);
	expect_no_message(h);
	udp = udp_open(AF_INET);
	udp_send(udp, 56);
	CHECK_INT(read_packet(h, buf, sizeof(buf))->data_len, 30);
	ipq_destroy_handle(h);
}

static void destroy_in_child(void)
{
	struct ipq_handle *h;
	pid_t child;
	int udp;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	udp = udp_open(AF_INET);
	udp_send(udp, 56);
	child = fork();
	if (child == 0) {
		CHECK_INT(ipq_destroy_handle(h), 0);
		h = ipq_create_handle(0, PF_INET);
		CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 0), 56);
		expect_error(h, EBUSY);
		ipq_destroy_handle(h);
		_exit(0);
	}
	expect_child(child);
	ipq_set_verdict(h, read_packet(h, buf, sizeof(buf))->packet_id, NF_ACCEPT, 0, NULL);
	udp_expect(udp, 56);
	ipq_destroy_handle(h);
}

static void destroy_with_packets(void)
{
	struct ipq_handle *h;
	int udp;

	enter_queueing_namespace();
	udp = udp_open(AF_INET);
	for (int i = 0; i < 3; i++) {
		h = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
		udp_send(udp, 56);
		udp_send(udp, 56);
		read_packet(h, buf, sizeof(buf));
		CHECK_INT(queue_column(0, COLUMN_WAITING), 2);
		CHECK_INT(ipq_destroy_handle(h), 0);
		CHECK_INT(queue_column(0, COLUMN_OWNER), -1);
		udp_expect_nothing(udp);
	}
}

static void no_listener(void)
{
	struct ipq_handle *h;
	int udp;

	enter_queueing_namespace();
	udp = udp_open(AF_INET);
	udp_send(udp, 56);
	udp_expect_nothing(udp);
	h = open_handle(PF_INET, IPQ_COPY_META, 0);
	expect_no_message(h);
	ipq_destroy_handle(h);
}

static void device_down(void)
{
	struct ipq_handle *h;
	ipq_id_t id;
	int udp;

	enter_queueing_namespace();
	h = open_handle(PF_INET, IPQ_COPY_META, 0);
	udp = udp_open(AF_INET);
	udp_send(udp, 56);
	id = read_packet(h, buf, sizeof(buf))->packet_id;
	shell("ip link set lo down");
	CHECK_INT(queue_column(0, COLUMN_WAITING), 0);
	CHECK_INT(ipq_set_verdict(h, id, NF_ACCEPT, 0, NULL), 40);
	expect_error(h, ENOENT);
	ipq_destroy_handle(h);
}

/* The socket's room for messages */

static int room_of(int fd)
{
	socklen_t len = sizeof(int);
	int bytes;

	CHECK_INT(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &len), 0);
	return bytes;
}

static void set_room(int fd, int bytes)
{
	CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
}

/* The kernel counts double. */
static void room(void)
{
	struct ipq_handle *h = ipq_create_handle(0, PF_INET);

	CHECK_INT(room_of(h->fd), 16 << 20);
	set_room(h->fd, 50000);
	CHECK_INT(ipq_set_mode(h, IPQ_COPY_META, 0), 56);
	CHECK_INT(room_of(h->fd), 100000);
	ipq_destroy_handle(h);
}

static void room_without_net_admin(void)
{
	int plain = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	struct ipq_handle *h;

	set_room(plain, 8 << 20);
	give_up_net_admin();
	errno = ENOENT;
	h = ipq_create_handle(0, PF_INET);
	CHECK(h);
	CHECK_INT(errno, ENOENT);
	CHECK_STRING(ipq_errstr(), "Unknown error");
	CHECK_INT(room_of(h->fd), room_of(plain));
	ipq_destroy_handle(h);
}

/* Threads */

enum { READERS = 3, PACKETS = 600 };

static struct ipq_handle *shared;
static atomic_int judged;
static atomic_ulong next_id;

static void *judge_next_id(void *unused)
{
	while (atomic_load(&next_id) == 0)
		sched_yield();
	CHECK_INT(ipq_set_verdict(shared, atomic_load(&next_id), NF_ACCEPT, 0, NULL), 40);
	return unused;
}

static void verdict_from_another_thread(void)
{
	pthread_t thread;
	int udp;

	enter_queueing_namespace();
	shared = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	udp = udp_open(AF_INET);
	CHECK_INT(pthread_create(&thread, NULL, judge_next_id, NULL), 0);
	udp_send(udp, 56);
	atomic_store(&next_id, read_packet(shared, buf, sizeof(buf))->packet_id);
	udp_expect(udp, 56);
	pthread_join(thread, NULL);
}

static void *read_once(void *result)
{
	static _Alignas(8) unsigned char message[4096];

	*(ssize_t *)result = ipq_read(shared, message, sizeof(message), 0);
	return NULL;
}

/* Whether a thread of this process sleeps in a system call other than the caller. */
static bool is_blocked(const char *stat_path)
{
	FILE *file = fopen(stat_path, "r");
	char state = 0;

	CHECK(file);
	CHECK_INT(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
	fclose(file);
	return state == 'S';
}

static atomic_int reader_tid;

static void *read_blocked(void *result)
{
	atomic_store(&reader_tid, (int)syscall(SYS_gettid));
	return read_once(result);
}

static void verdict_while_blocked(void)
{
	ssize_t result = 0;
	pthread_t thread;
	char path[64];
	ipq_id_t id;
	int udp;

	enter_queueing_namespace();
	shared = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	udp = udp_open(AF_INET);
	udp_send(udp, 56);
	id = read_packet(shared, buf, sizeof(buf))->packet_id;
	CHECK_INT(pthread_create(&thread, NULL, read_blocked, &result), 0);
	while (atomic_load(&reader_tid) == 0)
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", atomic_load(&reader_tid));
	while (!is_blocked(path))
		sched_yield();
	CHECK_INT(ipq_set_verdict(shared, id, NF_ACCEPT, 0, NULL), 40);
	udp_expect(udp, 56);
	CHECK_INT(ipq_set_mode(shared, IPQ_COPY_META, 0), 56);
	udp_send(udp, 56);
	pthread_join(thread, NULL);
	CHECK_INT(result, 112);
}

static void *read_and_judge(void *unused)
{
	_Alignas(8) unsigned char message[8192];
	ssize_t size;

	while (atomic_load(&judged) < PACKETS) {
		ipq_packet_msg_t *msg = ipq_get_packet(message);

		size = ipq_read(shared, message, sizeof(message), 10000);
		if (size == 0)
			continue;
		CHECK(size > 112);
		CHECK_STRING(msg->outdev_name, "lo");
		for (size_t i = HEADERS4; i < msg->data_len; i++)
			CHECK_INT(msg->payload[i], pattern(i - HEADERS4));
		CHECK(ipq_set_verdict(shared, msg->packet_id, NF_ACCEPT, msg->data_len,
				      msg->payload) > 0);
		atomic_fetch_add(&judged, 1);
	}
	return unused;
}

static void many_readers(void)
{
	static unsigned char data[65536];
	pthread_t threads[READERS];
	int udp;

	enter_queueing_namespace();
	shared = open_handle(PF_INET, IPQ_COPY_PACKET, 0);
	udp = udp_open(AF_INET);
	for (int i = 0; i < READERS; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, read_and_judge, NULL), 0);
	for (size_t i = 0; i < PACKETS; i++) {
		udp_send(udp, 1000 + i * 5);
		/* No more than the socket holds. */
		while ((long)i - atomic_load(&judged) > 10)
			sched_yield();
	}
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(atomic_load(&judged), PACKETS);
	for (int i = 0; i < PACKETS; i++)
		CHECK(udp_receive(udp, data, sizeof(data)) >= 1000);
	expect_no_message(shared);
}

static const struct test_case cases[] = {
	{"without root: set_mode gives 56, EPERM comes in band, once", without_root},
	{"without CAP_NET_ADMIN: EPERM in band", without_net_admin},
	{"without CAP_NET_ADMIN on an owned queue: EPERM in band", without_net_admin_owned},
	{"an owned queue: EBUSY in band for each request, until it is free", owned},
	{"without /proc: one bind, and another one after it failed", without_proc},
	{"fork, and exit of the parent: the child goes on", fork_then_parent_exits},
	{"fork before the first mode: either may set it", fork_before_mode},
	{"a child that destroys its handle leaves the parent's alone", destroy_in_child},
	{"destroy with packets waiting drops them", destroy_with_packets},
	{"without a listener packets are dropped", no_listener},
	{"a device that goes down takes its waiting packets along", device_down},
	{"the socket has room for 8 MB, until the program sets it", room},
	{"without CAP_NET_ADMIN the socket has the room that anybody may have",
	 room_without_net_admin},
	{"a verdict from another thread", verdict_from_another_thread},
	{"verdicts and modes while another thread is blocked in ipq_read", verdict_while_blocked},
	{"several threads read and judge", many_readers},
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
