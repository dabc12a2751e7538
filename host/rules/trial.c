#include "trial.h"
#include "command.h"
#include "lib/packet/packet.h"
#include "lib/queue/queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define KEPT "/run/ipq-lua.kernel"

enum {
	TIME_LIMIT_S = 5,
	WAIT_MS = 2000,
	PORT = 9,
	SEGMENT = 100,
	TEXT_MAX = 512,
	ALL = IPQ_SET_LAYOUT | IPQ_SET_SEGMENTED,
	UNKNOWN = 255 /* an exit status */
};

/*
 * Segmentation of changed UDP is tried where a kernel is known to survive it. Before Linux 6.12 it makes
 * checksums from a place that nobody has set (gso_make_checksum() in include/linux/skbuff.h): those of
 * 6.1 are wrong, and 5.10 reads behind its memory and stops. What lies between is not known.
 */
enum { SEGMENTS_MAJOR = 6, SEGMENTS_MINOR = 12 };

static bool may_try_segments(void)
{
	unsigned int major, minor;
	struct utsname name;

	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > SEGMENTS_MAJOR || (major == SEGMENTS_MAJOR && minor >= SEGMENTS_MINOR);
}

/* In the namespace */

static bool loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is_up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;

	if (fd >= 0)
		close(fd);
	return is_up;
}

static bool rule_add(void)
{
	static const char *const ways[][13] = {
		{"iptables", "-w", "2", "-A", "OUTPUT", "-p", "udp", "-j", "NFQUEUE", "--queue-num",
		 "0"},
		{"iptables-legacy", "-w", "2", "-A", "OUTPUT", "-p", "udp", "-j", "NFQUEUE",
		 "--queue-num", "0"},
		{"nft", "add table ip t; add chain ip t o { type filter hook output priority 0; };"
			" add rule ip t o meta l4proto udp queue num 0"},
	};
	bool is_added = false;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]) && !is_added; i++) {
		char *text;

		is_added = command_run(ways[i], COMMAND_OUTPUT, &text, NULL) == 0;
		free(text);
	}
	return is_added;
}

/* A socket that gets what it sends: its own address is its peer's. */
static int own_peer(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(PORT),
				      .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
			connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* What is sent, in this order, as the first byte of a datagram tells. */
enum { LAID_OUT = 'a', SEGMENTS = 'b', LAST = 'c', HEADERS = 28 };

static bool send_all(int fd)
{
	const int size = SEGMENT;
	char segments[2 * SEGMENT];

	memset(segments, SEGMENTS, sizeof(segments));
	if (send(fd, "a", 1, 0) != 1)
		return false;
	if (!may_try_segments())
		return send(fd, "c", 1, 0) == 1;
	/* Before Linux 4.18 there are none: it is one datagram then. */
	(void)setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
	return send(fd, segments, sizeof(segments), 0) == sizeof(segments) &&
	       send(fd, "c", 1, 0) == 1;
}

/* Four times "no operation" (RFC 791 section 3.1) and a header of six words; another TTL. */
static bool change(struct ipq_packet *packet, uint8_t kind)
{
	if (kind == LAID_OUT)
		(void)(ipq_rewrite_replace(packet, 20, 0, "\1\1\1\1", 4) ||
		       ipq_rewrite_store(packet, 0, "\x46", 1));
	else if (kind == SEGMENTS)
		(void)ipq_rewrite_store(packet, 8, "\x21", 1);
	return ipq_rewrite_finish(packet) == IPQ_REWRITE_OK;
}

static bool judge(struct ipq_queue *queue, const struct ipq_queue_options *options)
{
	struct ipq_source *source = ipq_queue_source(queue);
	struct ipq_batch *batch;
	uint8_t kind = 0;

	if (ipq_batch_new(&batch, IPQ_BATCH_MAX, ipq_queue_slot_size(options)) < 0)
		return false;
	while (kind != LAST) {
		int ret = source->receive(source, batch);

		if (ret == -EAGAIN || ret == -EINTR)
			continue;
		if (ret < 0)
			return false;
		for (uint32_t i = 0; i < batch->count; i++) {
			struct ipq_packet *packet = &batch->packets[i];

			if (packet->data_len <= HEADERS)
				return false;
			kind = packet->data[HEADERS];
			if (!change(packet, kind))
				return false;
		}
		if (source->commit(source, batch) < 0)
			return false;
		ipq_batch_clear(batch);
	}
	return true;
}

/* What has not come when the last one has: the kernel keeps their order. */
static int missing(int fd)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	uint32_t lost = ALL;
	char byte = 0;

	while (byte != LAST) {
		if (poll(&readable, 1, WAIT_MS) != 1 || recv(fd, &byte, 1, 0) != 1)
			return UNKNOWN;
		if (byte == LAID_OUT)
			lost &= ~(uint32_t)IPQ_SET_LAYOUT;
		else if (byte == SEGMENTS)
			lost &= ~(uint32_t)IPQ_SET_SEGMENTED;
	}
	return (int)lost;
}

static int try_here(void)
{
	struct ipq_queue_options options;
	struct ipq_queue *queue;
	int fd;

	ipq_queue_defaults(&options);
	if (unshare(CLONE_NEWNET) < 0 || !loopback_up() || !rule_add() ||
	    ipq_queue_open(&queue, &options) < 0)
		return UNKNOWN;
	fd = own_peer();
	if (fd < 0 || !send_all(fd) || !judge(queue, &options))
		return UNKNOWN;
	return missing(fd);
}

/* Around it */

static bool try_apart(uint32_t *lost)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		sigset_t all;

		/* It is over with its parent, and when its time is. */
		signal(SIGALRM, SIG_DFL);
		sigemptyset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(TIME_LIMIT_S);
		_exit(try_here());
	}
	if (pid < 0)
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	if (!WIFEXITED(status) || WEXITSTATUS(status) & ~ALL)
		return false;
	*lost = (uint32_t)WEXITSTATUS(status);
	return true;
}

/* What the file has to say of what is lost. */
static void describe(char text[TEXT_MAX], uint32_t lost)
{
	struct utsname name;

	if (uname(&name) < 0)
		memset(&name, 0, sizeof(name));
	snprintf(text, TEXT_MAX, "%s\n%s\nloses:%s%s\n", name.release, name.version,
		 lost & IPQ_SET_LAYOUT ? " layout" : "",
		 lost & IPQ_SET_SEGMENTED ? " segments" : "");
}

/* Nobody is believed but root. */
static bool read_kept(uint32_t *lost)
{
	static const uint32_t all[] = {0, IPQ_SET_LAYOUT, IPQ_SET_SEGMENTED, ALL};
	int fd = open(KEPT, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char text[TEXT_MAX], wanted[TEXT_MAX];
	struct stat about;
	ssize_t len = -1;

	if (fd >= 0 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_uid == 0)
		len = read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (len < 0)
		return false;
	text[len] = '\0';
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		describe(wanted, all[i]);
		*lost = all[i];
		if (strcmp(text, wanted) == 0)
			return true;
	}
	return false;
}

/* As a whole or not at all. Where it cannot be, it is tried again the next time. */
static void keep(uint32_t lost)
{
	char path[] = KEPT ".XXXXXX", text[TEXT_MAX];
	int fd = mkostemp(path, O_CLOEXEC);
	size_t len;

	if (fd < 0)
		return;
	describe(text, lost);
	len = strlen(text);
	if (fchmod(fd, 0644) < 0 || write(fd, text, len) != (ssize_t)len || rename(path, KEPT) < 0)
		(void)unlink(path);
	close(fd);
}

bool trial_loses(uint32_t *lost)
{
	const uint32_t known = may_try_segments() ? 0 : IPQ_SET_SEGMENTED;
	bool is_tried = read_kept(lost);

	if (!is_tried) {
		*lost = 0;
		is_tried = try_apart(lost);
		if (is_tried)
			keep(*lost | known);
	}
	*lost |= known;
	return is_tried;
}
