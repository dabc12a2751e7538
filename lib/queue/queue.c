/* A live queue: one netlink socket, bound to one NFQUEUE number. */
#include "batch.h"
#include "messages.h"
#include "wait.h"
#include "lib/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <sys/socket.h>

_Static_assert((int)IPQ_QUEUE_FAIL_OPEN == NFQA_CFG_F_FAIL_OPEN, "NFQA_CFG_F_FAIL_OPEN");
_Static_assert((int)IPQ_QUEUE_CONNTRACK == NFQA_CFG_F_CONNTRACK, "NFQA_CFG_F_CONNTRACK");
_Static_assert((int)IPQ_QUEUE_GSO == NFQA_CFG_F_GSO, "NFQA_CFG_F_GSO");
_Static_assert((int)IPQ_QUEUE_UID_GID == NFQA_CFG_F_UID_GID, "NFQA_CFG_F_UID_GID");
_Static_assert((int)IPQ_QUEUE_SECCTX == NFQA_CFG_F_SECCTX, "NFQA_CFG_F_SECCTX");

enum {
	META_ROOM = 4096,    /* all attributes beside the payload; security contexts are long */
	SKB_OVERHEAD = 2048, /* what the kernel charges a message beside its bytes */
	RCVBUF_LEAST = 8 << 20,
	SEND_LIMIT = 128 << 10, /* below the default SO_SNDBUF, which bounds a message */
	SEND_RETRIES = 100,
	PROBES = 64,
	CACHE_LINE = 64
};

struct ipq_queue {
	struct ipq_source source;
	struct mnl_socket *socket;
	struct ipq_wait wait; /* for messages on the socket */
	uint16_t queue_num;
	uint32_t flags; /* that the kernel has taken */
	uint32_t seq;
	int failed; /* what receive() gives once the packets that came before it are judged */
	struct ipq_batch *attached; /* whose slots iov points to */
	uint32_t filled;	    /* of them: they have messages in them */
	struct mmsghdr messages[IPQ_BATCH_MAX];
	struct iovec iov[IPQ_BATCH_MAX];
	struct ipq_verdict_buffer verdicts;
	size_t held_len; /* of held: verdicts of held packets, to be sent together */
	uint8_t held[SEND_LIMIT];
};

/* Configuration. Requests are answered one by one, before packets can come. */

static int request(struct ipq_queue *queue, struct nlmsghdr *nlh)
{
	char answer[1024];
	ssize_t len;

	nlh->nlmsg_flags |= NLM_F_ACK;
	nlh->nlmsg_seq = ++queue->seq;
	if (mnl_socket_sendto(queue->socket, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	len = mnl_socket_recvfrom(queue->socket, answer, sizeof(answer));
	if (len < 0 || mnl_cb_run(answer, (size_t)len, nlh->nlmsg_seq,
				  mnl_socket_get_portid(queue->socket), NULL, NULL) < 0)
		return -errno;
	return 0;
}

static int request_flags(struct ipq_queue *queue, uint32_t flags)
{
	char buf[IPQ_CONFIG_SIZE];
	int ret = request(queue, ipq_netlink_flags(buf, queue->queue_num, flags, flags));

	if (ret == 0)
		queue->flags |= flags;
	return ret;
}

/* The kernel refuses all flags when it lacks one, so then each is asked for alone. */
static int request_wanted_flags(struct ipq_queue *queue, uint32_t wanted)
{
	int ret = wanted ? request_flags(queue, wanted) : 0;

	if (ret != -EOPNOTSUPP)
		return ret;
	for (uint32_t flag = 1; flag <= wanted; flag <<= 1) {
		ret = wanted & flag ? request_flags(queue, flag) : 0;
		if (ret < 0 && (ret != -EOPNOTSUPP || flag == IPQ_QUEUE_FAIL_OPEN))
			return ret;
	}
	return 0;
}

uint32_t ipq_queue_rcvbuf(const struct ipq_queue_options *options)
{
	uint64_t bytes = (uint64_t)options->maxlen * (ipq_queue_slot_size(options) + SKB_OVERHEAD);

	if (options->rcvbuf)
		return options->rcvbuf;
	if (bytes < RCVBUF_LEAST)
		return RCVBUF_LEAST;
	return bytes < INT_MAX / 2 ? (uint32_t)bytes : INT_MAX / 2;
}

/* A connected netlink socket takes messages from its peer alone: nobody but the kernel can send us
 * packets, and no sender needs to be looked at on the packet path. */
static int socket_connect(struct ipq_queue *queue)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int on = 1;

	if (connect(queue->wait.fd, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	/* An overrun otherwise stops the socket until it is empty; here it costs the packets that
	 * did not fit. Kernels before 2.6.30 lack the option. */
	(void)mnl_socket_setsockopt(queue->socket, NETLINK_NO_ENOBUFS, &on, sizeof(on));
	return 0;
}

static int socket_open(struct ipq_queue *queue)
{
	queue->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!queue->socket)
		return -errno;
	if (mnl_socket_bind(queue->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	queue->wait.fd = mnl_socket_get_fd(queue->socket);
	return socket_connect(queue);
}

static int rcvbuf_set(struct ipq_queue *queue, const struct ipq_queue_options *options)
{
	int rcvbuf = (int)ipq_queue_rcvbuf(options);

	if (setsockopt(queue->wait.fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)) < 0 &&
	    setsockopt(queue->wait.fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)) < 0)
		return -errno;
	return 0;
}

bool ipq_queue_copies(const struct ipq_queue_options *options)
{
	return (options->copy_mode == NFQNL_COPY_META || options->copy_mode == NFQNL_COPY_PACKET) &&
	       options->copy_range >= 1;
}

static int options_check(const struct ipq_queue_options *options)
{
	if (!ipq_queue_copies(options) || options->maxlen < 1 || options->rcvbuf > INT_MAX / 2)
		return -ERANGE;
	return 0;
}

static uint32_t range_of(const struct ipq_queue_options *options)
{
	if (options->copy_mode != NFQNL_COPY_PACKET)
		return 0;
	return options->copy_range < IPQ_PAYLOAD_MAX ? options->copy_range : IPQ_PAYLOAD_MAX;
}

/* Packets */

static void attach(struct ipq_queue *queue, struct ipq_batch *batch)
{
	for (uint32_t i = 0; i < batch->capacity; i++) {
		queue->iov[i].iov_base = batch->slots + (size_t)i * batch->slot_size;
		queue->iov[i].iov_len = batch->slot_size;
		queue->messages[i].msg_hdr.msg_iov = &queue->iov[i];
		queue->messages[i].msg_hdr.msg_iovlen = 1;
	}
	queue->attached = batch;
}

/* What is in a slot has its verdict, or wants none. Whoever looks into the slots after this process
 * died finds nothing there: see settle.c. */
static void slots_clear(struct ipq_queue *queue)
{
	static const uint32_t no_message;

	for (uint32_t i = 0; i < queue->filled; i++)
		memcpy(queue->iov[i].iov_base, &no_message, sizeof(no_message));
	queue->filled = 0;
}

static int messages_send(struct ipq_queue *queue, struct iovec *iov, size_t iovlen)
{
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = iovlen};
	int tries = SEND_RETRIES;

	while (sendmsg(queue->wait.fd, &message, 0) < 0) {
		struct timespec pause = {.tv_nsec = 1000000};

		if (errno == EINTR)
			continue;
		/* The kernel is short of memory. Nothing of the message was looked at yet. */
		if ((errno != ENOBUFS && errno != ENOMEM) || tries-- == 0)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int verdicts_send(struct ipq_queue *queue)
{
	return messages_send(queue, queue->verdicts.iov, queue->verdicts.iovlen);
}

/* Encodes verdicts of the batch from number next on, and gives the number to go on with. That of a
 * packet that cannot have its own is the error verdict. */
static uint32_t verdicts_encode(struct ipq_queue *queue, struct ipq_batch *batch, uint32_t next)
{
	struct ipq_packet *packet = &batch->packets[next];
	int ret = ipq_verdict_encode(&queue->verdicts, batch, next, SEND_LIMIT);

	if (ret >= 0)
		return (uint32_t)ret;
	packet->verdict = ipq_verdict_valid(batch->error_verdict) ? batch->error_verdict : IPQ_DROP;
	packet->set = 0;
	batch->counters.errors++;
	return (uint32_t)ipq_verdict_encode(&queue->verdicts, batch, next, SEND_LIMIT);
}

static int verdicts_commit(struct ipq_queue *queue, struct ipq_batch *batch)
{
	uint32_t next = 0;
	int ret;

	while (next < batch->count) {
		if (batch->packets[next].held) {
			next++;
			continue;
		}
		next = verdicts_encode(queue, batch, next);
		ret = verdicts_send(queue);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int queue_commit(struct ipq_source *source, struct ipq_batch *batch)
{
	struct ipq_queue *queue = (struct ipq_queue *)source;
	int ret = verdicts_commit(queue, batch);

	if (batch == queue->attached)
		slots_clear(queue);
	return ret;
}

static int queue_flush(struct ipq_source *source)
{
	struct ipq_queue *queue = (struct ipq_queue *)source;
	struct iovec iov = {.iov_base = queue->held, .iov_len = queue->held_len};
	int ret;

	if (!queue->held_len)
		return 0;
	queue->held_len = 0;
	ret = messages_send(queue, &iov, 1);
	if (ret < 0)
		queue->failed = ret;
	return ret;
}

/* Keeps the verdict that is encoded, with its payload, which others may overwrite. */
static int verdict_keep(struct ipq_queue *queue)
{
	const struct ipq_verdict_buffer *verdicts = &queue->verdicts;
	int ret;

	if (verdicts->total > sizeof(queue->held) - queue->held_len) {
		ret = queue_flush(&queue->source);
		if (ret < 0)
			return ret;
	}
	for (size_t i = 0; i < verdicts->iovlen; i++) {
		memcpy(queue->held + queue->held_len, verdicts->iov[i].iov_base,
		       verdicts->iov[i].iov_len);
		queue->held_len += verdicts->iov[i].iov_len;
	}
	return 0;
}

static int queue_commit_held(struct ipq_source *source, struct ipq_batch *batch,
			     struct ipq_packet *packet)
{
	struct ipq_queue *queue = (struct ipq_queue *)source;
	struct ipq_batch one = {
		.packets = packet,
		.count = 1,
		.capacity = 1,
		.error_verdict = batch->error_verdict,
	};

	packet->held = 0;
	packet->queue_num = queue->queue_num;
	(void)verdicts_encode(queue, &one, 0);
	batch->counters.errors += one.counters.errors;
	return verdict_keep(queue);
}

/* A packet that cannot be shown to a filter gets the error verdict at once, by its id alone. */
static int fail_malformed(struct ipq_queue *queue, struct ipq_batch *batch,
			  const struct ipq_packet *malformed)
{
	struct ipq_packet packet = {
		.packet_id = malformed->packet_id,
		.queue_num = queue->queue_num,
		.verdict = batch->error_verdict,
	};
	struct ipq_batch one = {
		.packets = &packet,
		.count = 1,
		.capacity = 1,
		.error_verdict = batch->error_verdict,
	};

	batch->counters.malformed++;
	if (malformed->present & IPQ_HAS_PACKET_HDR)
		return verdicts_commit(queue, &one);
	/* It waits in the kernel, and a batch verdict would be its own, unseen. */
	batch->unknown = IPQ_UNKNOWN_LEFT;
	return 0;
}

static void note_refusal(struct ipq_batch *batch, const void *message, size_t len)
{
	struct nlmsghdr nlh;
	struct nlmsgerr error;

	if (len < sizeof(nlh) + sizeof(error))
		return;
	memcpy(&nlh, message, sizeof(nlh));
	memcpy(&error, (const uint8_t *)message + sizeof(nlh), sizeof(error));
	if (nlh.nlmsg_type != NLMSG_ERROR || error.error >= 0)
		return;
	if (error.error == -ENOENT && __atomic_load_n(&batch->unanswered, __ATOMIC_RELAXED) > 0) {
		(void)__atomic_fetch_sub(&batch->unanswered, 1, __ATOMIC_RELAXED);
		return;
	}
	batch->counters.refused++;
	batch->counters.last_refusal = (uint64_t) - (int64_t)error.error;
}

static int take(struct ipq_queue *queue, struct ipq_batch *batch, const void *message, size_t len)
{
	struct ipq_packet *packet = ipq_batch_add(batch);
	int ret = ipq_attr_parse(packet, message, len);

	/* One of a queue that a process which shares the socket has bound is nobody's. */
	if (ret == 0 && packet->queue_num == queue->queue_num)
		return 0;
	ipq_batch_drop_last(batch);
	if (ret == 0)
		return 0;
	if (ret != -ENOMSG)
		return fail_malformed(queue, batch, packet);
	note_refusal(batch, message, len);
	return 0;
}

/* Ids ascend, and messages come in their order. So what waits with an id below that of the first
 * packet of this batch, and is not held by it, is what somebody has left. */
static int settle_left(struct ipq_queue *queue, struct ipq_batch *batch)
{
	struct ipq_packet packets[2] = {
		{.packet_id = batch->packets[0].packet_id - 1,
		 .queue_num = queue->queue_num,
		 .verdict = batch->error_verdict},
	};
	struct ipq_batch left = {.packets = packets, .count = 2, .capacity = 2};
	int ret;

	/* Two of the same kind make one verdict of all up to the second. */
	packets[1] = packets[0];
	ret = ipq_verdict_encode(&queue->verdicts, &left, 0, SEND_LIMIT);
	if (ret > 0)
		ret = verdicts_send(queue);
	if (ret == 0)
		(void)__atomic_fetch_add(&batch->unanswered, 1, __ATOMIC_RELAXED);
	return ret;
}

/* Where it leaves a message that cannot be read, packets are left once more. */
static int take_all(struct ipq_queue *queue, struct ipq_batch *batch)
{
	bool are_left = __atomic_load_n(&batch->unknown, __ATOMIC_RELAXED) == IPQ_UNKNOWN_LEFT;
	int failed = 0, ret;

	if (are_left)
		batch->unknown = IPQ_UNKNOWN_NONE;
	for (uint32_t i = 0; i < queue->filled; i++) {
		ret = take(queue, batch, queue->iov[i].iov_base, queue->messages[i].msg_len);
		if (ret < 0)
			failed = ret;
	}
	if (are_left && batch->count && !batch->held_count) {
		ret = settle_left(queue, batch);
		failed = ret < 0 ? ret : failed;
	} else if (are_left) {
		batch->unknown = IPQ_UNKNOWN_LEFT;
	}
	return failed;
}

static int queue_receive(struct ipq_source *source, struct ipq_batch *batch)
{
	struct ipq_queue *queue = (struct ipq_queue *)source;
	struct ipq_wait *wait = &queue->wait;
	int count, ret;

	if (queue->attached != batch)
		attach(queue, batch);
	ipq_batch_clear(batch);
	/* Where no packet came there was nothing to commit. */
	slots_clear(queue);
	if (queue->failed)
		return queue->failed;
	wait->wake_ns = batch->wake_ns;
	if (wait->retired_ns)
		return batch->held_count ? ipq_wait_for_time(wait) : 0;
	count = ipq_wait_receive(wait, queue->messages, batch->capacity);
	if (count == -EAGAIN && wait->is_stopping)
		return 0;
	if (count == -ENOBUFS) {
		batch->counters.overruns++;
		return -EAGAIN;
	}
	if (count < 0)
		return count;
	queue->filled = (uint32_t)count;
	ret = take_all(queue, batch);
	if (ret < 0)
		queue->failed = ret;
	if (batch->count)
		return (int)batch->count;
	return queue->failed ? queue->failed : -EAGAIN;
}

/* While packets come no answer is asked for: it would have to be told from them. */
static int tell_kernel(struct ipq_queue *queue, const struct nlmsghdr *nlh)
{
	return mnl_socket_sendto(queue->socket, nlh, nlh->nlmsg_len) < 0 ? -errno : 0;
}

int ipq_queue_copy(struct ipq_queue *queue, const struct ipq_queue_options *options)
{
	char buf[IPQ_CONFIG_SIZE];

	return tell_kernel(queue, ipq_netlink_mode(buf, queue->queue_num, options->copy_mode,
						   range_of(options)));
}

/* A rule may wait for its reader; but up there? */
int ipq_queue_probe(struct ipq_queue **queue, const struct ipq_queue_options *options)
{
	struct ipq_queue_options scratch = *options;
	struct ipq_procfs_queue listed;
	int ret = -EPERM;

	for (int num = UINT16_MAX; num > UINT16_MAX - PROBES; num--) {
		if (ipq_procfs_queue((uint16_t)num, &listed) == 0)
			continue;
		scratch.queue_num = (uint16_t)num;
		ret = ipq_queue_open(queue, &scratch);
		if (ret != -EPERM || !ipq_has_net_admin())
			break;
	}
	return ret;
}

/* Which flags the kernel takes: on the socket of a queue that is bound the answer would be among the
 * packets. */
static uint32_t granted_flags(const struct ipq_queue_options *options)
{
	struct ipq_queue *queue;
	uint32_t flags;

	if (ipq_queue_probe(&queue, options) < 0)
		return options->flags & (IPQ_QUEUE_GSO | IPQ_QUEUE_FAIL_OPEN);
	flags = queue->flags;
	ipq_queue_close(queue);
	return flags;
}

int ipq_queue_rebind(struct ipq_queue *queue, const struct ipq_queue_options *options)
{
	uint32_t mask = IPQ_QUEUE_GSO | IPQ_QUEUE_FAIL_OPEN;
	uint16_t num = queue->queue_num;
	char buf[IPQ_CONFIG_SIZE];
	int ret;

	ret = options_check(options);
	if (ret == 0)
		ret = rcvbuf_set(queue, options);
	if (ret == 0)
		ret = tell_kernel(queue, ipq_netlink_maxlen(buf, num, options->maxlen));
	queue->flags = granted_flags(options);
	mask |= queue->flags;
	if (ret == 0)
		ret = tell_kernel(queue, ipq_netlink_flags(buf, num, mask, queue->flags));
	return ret < 0 ? ret : ipq_queue_copy(queue, options);
}

int ipq_queue_renew(struct ipq_queue *queue, const struct ipq_queue_options *options)
{
	uint32_t mask = queue->flags | IPQ_QUEUE_GSO | IPQ_QUEUE_FAIL_OPEN;
	uint16_t num = queue->queue_num;
	char buf[IPQ_CONFIG_SIZE];
	int ret = tell_kernel(queue, ipq_netlink_maxlen(buf, num, options->maxlen));

	if (ret == 0)
		ret = tell_kernel(queue, ipq_netlink_flags(buf, num, mask, queue->flags));
	return ret;
}

/* What no process in the sandbox can do to the socket, but one without. */
static int socket_restore(struct ipq_queue *queue, const struct ipq_queue_options *options)
{
	int off = 0, flags = fcntl(queue->wait.fd, F_GETFL);

	(void)setsockopt(queue->wait.fd, SOL_SOCKET, SO_DETACH_FILTER, &off, sizeof(off));
	if (flags >= 0 && flags & O_NONBLOCK &&
	    fcntl(queue->wait.fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return -errno;
	return rcvbuf_set(queue, options);
}

int ipq_queue_restore(struct ipq_queue *queue, const struct ipq_queue_options *options)
{
	struct ipq_procfs_queue listed;
	char buf[IPQ_CONFIG_SIZE];
	int ret = socket_connect(queue);

	if (ret == 0)
		ret = socket_restore(queue, options);
	/* What the kernel refuses is told among the packets, as if it were a verdict. */
	if (ret == 0 && ipq_procfs_queue(queue->queue_num, &listed) == -ENOENT)
		ret = tell_kernel(queue, ipq_netlink_bind(buf, queue->queue_num));
	if (ret == 0)
		ret = ipq_queue_renew(queue, options);
	return ret < 0 ? ret : ipq_queue_copy(queue, options);
}

int ipq_queue_unbind(struct ipq_queue *queue, uint16_t queue_num)
{
	char buf[IPQ_CONFIG_SIZE];

	return tell_kernel(queue, ipq_netlink_unbind(buf, queue_num));
}

bool ipq_queue_is(const struct ipq_queue *queue, const struct ipq_queue_options *options,
		  const struct ipq_procfs_queue *listed)
{
	int flags = fcntl(queue->wait.fd, F_GETFL);

	return listed->portid == ipq_queue_portid(queue) &&
	       listed->copy_mode == options->copy_mode && listed->copy_range == range_of(options) &&
	       flags >= 0 && !(flags & O_NONBLOCK);
}

/* With length 0 the kernel turns new packets away (or lets them through, when failing open) while
 * those that wait are judged. */
static int queue_stop(struct ipq_source *source)
{
	struct ipq_queue *queue = (struct ipq_queue *)source;
	char buf[IPQ_CONFIG_SIZE];

	queue->wait.is_stopping = true;
	/* It is another process's. */
	if (queue->wait.retired_ns)
		return 0;
	return tell_kernel(queue, ipq_netlink_maxlen(buf, queue->queue_num, 0));
}

static void queue_close(struct ipq_source *source)
{
	(void)queue_flush(source);
	ipq_queue_close((struct ipq_queue *)source);
}

/* The object */

void ipq_queue_defaults(struct ipq_queue_options *options)
{
	*options = (struct ipq_queue_options){
		.copy_mode = NFQNL_COPY_PACKET,
		.copy_range = IPQ_PAYLOAD_MAX,
		.maxlen = 1024,
		.flags = IPQ_QUEUE_CONNTRACK | IPQ_QUEUE_GSO | IPQ_QUEUE_UID_GID | IPQ_QUEUE_SECCTX,
	};
}

static struct ipq_queue *queue_make(uint16_t queue_num)
{
	struct ipq_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->queue_num = queue_num;
	queue->source = (struct ipq_source){
		.receive = queue_receive,
		.commit = queue_commit,
		.commit_held = queue_commit_held,
		.flush = queue_flush,
		.stop = queue_stop,
		.close = queue_close,
	};
	return queue;
}

int ipq_queue_new(struct ipq_queue **queue, uint16_t queue_num)
{
	struct ipq_queue *q = queue_make(queue_num);
	int ret = q ? socket_open(q) : -ENOMEM;

	if (ret < 0) {
		ipq_queue_close(q);
		return ret;
	}
	*queue = q;
	return 0;
}

static bool is_netfilter_socket(int fd)
{
	int domain = 0, protocol = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
	       domain == AF_NETLINK && protocol == NETLINK_NETFILTER;
}

int ipq_queue_adopt(struct ipq_queue **queue, int fd, uint16_t queue_num)
{
	struct ipq_queue *q;

	if (!is_netfilter_socket(fd))
		return -EINVAL;
	q = queue_make(queue_num);
	if (q)
		q->socket = mnl_socket_fdopen(fd);
	if (!q || !q->socket) {
		ipq_queue_close(q);
		return -ENOMEM;
	}
	q->wait.fd = fd;
	*queue = q;
	return 0;
}

int ipq_queue_fd(const struct ipq_queue *queue)
{
	return queue->wait.fd;
}

uint32_t ipq_queue_portid(const struct ipq_queue *queue)
{
	return mnl_socket_get_portid(queue->socket);
}

int ipq_queue_bind(struct ipq_queue *queue, const struct ipq_queue_options *options)
{
	uint16_t num = queue->queue_num;
	char buf[IPQ_CONFIG_SIZE];
	int ret;

	ret = options_check(options);
	if (ret == 0)
		ret = rcvbuf_set(queue, options);
	if (ret == 0)
		ret = request(queue, ipq_netlink_bind(buf, num));
	if (ret == 0)
		ret = request(queue, ipq_netlink_maxlen(buf, num, options->maxlen));
	if (ret == 0)
		ret = request_wanted_flags(queue, options->flags);
	/* Last, and without an answer: from here on packets come, which might be taken for it. */
	return ret < 0 ? ret : ipq_queue_copy(queue, options);
}

int ipq_queue_open(struct ipq_queue **queue, const struct ipq_queue_options *options)
{
	struct ipq_queue *q;
	int ret = ipq_queue_new(&q, options->queue_num);

	if (ret < 0)
		return ret;
	ret = ipq_queue_bind(q, options);
	if (ret < 0) {
		ipq_queue_close(q);
		return ret;
	}
	*queue = q;
	return 0;
}

void ipq_queue_close(struct ipq_queue *queue)
{
	if (!queue)
		return;
	if (queue->socket)
		mnl_socket_close(queue->socket);
	free(queue);
}

struct ipq_source *ipq_queue_source(struct ipq_queue *queue)
{
	return &queue->source;
}

uint32_t ipq_queue_slot_size(const struct ipq_queue_options *options)
{
	uint32_t lines = (META_ROOM + range_of(options) + CACHE_LINE - 1) / CACHE_LINE;

	/* An odd number of cache lines, so that slots do not begin in the same set of the cache. */
	return (lines | 1) * CACHE_LINE;
}

void ipq_queue_retire(struct ipq_queue *queue, uint32_t ms)
{
	queue->wait.retired_ns = ipq_monotonic_ns() + (int64_t)ms * 1000000;
}

void ipq_queue_spin(struct ipq_queue *queue, uint32_t us)
{
	queue->wait.spin_us = us;
}

uint32_t ipq_queue_flags(const struct ipq_queue *queue)
{
	return queue->flags;
}
