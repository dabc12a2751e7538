/* Raw sockets: the way out of a live queue's outbox.
 *
 * raw(7) and ipv6(7): with IPPROTO_RAW the caller brings the IP header. Of IPv4 the kernel fills in length,
 * checksum, and where they are 0 the source and the identification; of IPv6 nothing, so that an ICMPv6 packet
 * without a source goes by a socket whose header the kernel makes. */
#include "send.h"
#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/packet/packet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip6.h>
#include <sys/socket.h>

enum {
	SNDBUF = 16 << 20, /* bytes: what waits in a queue of ours is still the socket's */
	IP6_HEADER = 40,
	LOOPBACK = 1,	 /* its index; the link of an address of this machine's own is another */
	BROADCASTS = 64, /* addresses whose kind is remembered */
	BROADCAST_LIFE_S = 2,
	PIECES_MOST = IPQ_PACKET_MAX / 8
};

/* By which socket a packet goes. */
enum way { WAY_IP, WAY_IP6, WAY_ICMP6, WAYS };

struct control {
	struct cmsghdr header;
	uint32_t mark;
	uint32_t padding;
};

_Static_assert(sizeof(struct control) == CMSG_SPACE(sizeof(uint32_t)), "a message's mark");

struct ipq_raw {
	struct ipq_outbox *outbox;
	int sockets[WAYS]; /* -1: the kernel has no such family */
	int probes[2];	   /* of UDP, for what the kernel says of a way: IPv4, IPv6 */
	uint32_t id;	   /* of the last packet that was cut into fragments */
	struct {
		uint32_t address;
		bool is_broadcast;
		int64_t until_s;
	} broadcasts[BROADCASTS];
	struct mmsghdr messages[IPQ_OUTBOX_PACKETS];
	struct ipq_sent *packets[IPQ_OUTBOX_PACKETS]; /* of the messages */
	struct iovec iov[IPQ_OUTBOX_PACKETS];
	struct sockaddr_in6 to[IPQ_OUTBOX_PACKETS]; /* or a struct sockaddr_in */
	struct control control[IPQ_OUTBOX_PACKETS];
	uint8_t piece[IPQ_PACKET_MAX];
};

static bool is_v4(const struct ipq_sent *sent)
{
	return sent->data[0] >> 4 == 4;
}

/* Whether the kernel has to find the packet's source, which it counts in the checksum. */
static bool is_sourceless(const struct ipq_sent *sent)
{
	return IN6_IS_ADDR_UNSPECIFIED((const struct in6_addr *)(sent->data + 8)) &&
	       sent->data[6] == IPPROTO_ICMPV6;
}

static enum way way_of(const struct ipq_sent *sent)
{
	if (is_v4(sent))
		return WAY_IP;
	return is_sourceless(sent) ? WAY_ICMP6 : WAY_IP6;
}

static socklen_t address_of(const struct ipq_sent *sent, struct sockaddr_in6 *to)
{
	struct sockaddr_in *to4 = (struct sockaddr_in *)to;

	memset(to, 0, sizeof(*to));
	if (is_v4(sent)) {
		to4->sin_family = AF_INET;
		memcpy(&to4->sin_addr, sent->data + 16, sizeof(to4->sin_addr));
		return sizeof(*to4);
	}
	to->sin6_family = AF_INET6;
	memcpy(&to->sin6_addr, sent->data + 24, sizeof(to->sin6_addr));
	if (IN6_IS_ADDR_LINKLOCAL(&to->sin6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&to->sin6_addr))
		to->sin6_scope_id = sent->device == LOOPBACK ? 0 : sent->device;
	return sizeof(*to);
}

static void fill(struct ipq_raw *raw, uint32_t number, struct ipq_sent *sent)
{
	struct control *control = &raw->control[number];
	struct msghdr *message = &raw->messages[number].msg_hdr;
	uint32_t skipped = way_of(sent) == WAY_ICMP6 ? IP6_HEADER : 0;

	raw->packets[number] = sent;
	raw->iov[number] = (struct iovec){sent->data + skipped, sent->len - skipped};
	*control = (struct control){
		.header = {.cmsg_len = CMSG_LEN(sizeof(uint32_t)),
			   .cmsg_level = SOL_SOCKET,
			   .cmsg_type = SO_MARK},
		.mark = sent->mark,
	};
	*message = (struct msghdr){
		.msg_name = &raw->to[number],
		.msg_namelen = address_of(sent, &raw->to[number]),
		.msg_iov = &raw->iov[number],
		.msg_iovlen = 1,
		/* The socket's own mark is that of most. */
		.msg_control = sent->mark == raw->outbox->mark ? NULL : control,
		.msg_controllen = sent->mark == raw->outbox->mark ? 0 : sizeof(*control),
	};
}

static enum ipq_unsent reason_of(int error)
{
	switch (error) {
	case ENOBUFS:
	case ENOMEM:
	case EAGAIN: return IPQ_UNSENT_BUFFER;
	case EMSGSIZE: return IPQ_UNSENT_LENGTH;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENODEV:
	case ENXIO:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
	case EBADF: /* there is no such family */
	case EINVAL: return IPQ_UNSENT_ROUTE;
	default: return IPQ_UNSENT_REFUSED;
	}
}

static void count(struct ipq_raw *raw, enum ipq_unsent reason)
{
	struct ipq_counters *counters = &raw->outbox->batch->counters;

	if (reason == IPQ_UNSENT_NOT)
		counters->sent++;
	else
		counters->unsent[reason]++;
}

/* The kernel keeps what it says of packets that are too large until somebody reads it. */
static void forget_errors(int fd)
{
	struct msghdr message = {0};

	while (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
		;
}

/* Has a probe ask for a way. The kernel would go on by the source address, and by the link, that it has chosen
 * for the way before. */
static int probe_connect(int probe, uint32_t mark, const struct sockaddr_in6 *to, socklen_t len)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	(void)connect(probe, &nobody, sizeof(nobody));
	(void)setsockopt(probe, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	return connect(probe, (const struct sockaddr *)to, len);
}

/* The bytes of a packet that its way takes; 0: that is not known. */
static uint32_t mtu_of(struct ipq_raw *raw, const struct ipq_sent *sent)
{
	int probe = raw->probes[is_v4(sent) ? 0 : 1], mtu = 0;
	struct sockaddr_in6 to;
	socklen_t len = address_of(sent, &to), size = sizeof(mtu);

	/* The discard service's port: nothing is sent there. */
	((struct sockaddr_in *)&to)->sin_port = htons(9);
	if (probe_connect(probe, sent->mark, &to, len) < 0 ||
	    getsockopt(probe, is_v4(sent) ? IPPROTO_IP : IPPROTO_IPV6,
		       is_v4(sent) ? IP_MTU : IPV6_MTU, &mtu, &size) < 0)
		return 0;
	return mtu > 0 ? (uint32_t)mtu : 0;
}

/* By the first message, which has been sent or refused already. */
static int send_one(struct ipq_raw *raw, struct ipq_sent *sent)
{
	int fd = raw->sockets[way_of(sent)];
	ssize_t ret;

	fill(raw, 0, sent);
	do
		ret = sendmsg(fd, &raw->messages[0].msg_hdr, 0);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

/* Sends a packet that its way does not take in pieces that it takes. Connection tracking puts fragments together
 * before a rule queues them: what comes back is the packet. */
static enum ipq_unsent send_cut(struct ipq_raw *raw, const struct ipq_sent *sent)
{
	struct ipq_sent piece = *sent;
	uint32_t offset = 0, mtu = mtu_of(raw, sent);
	int len, ret;

	piece.data = raw->piece;
	raw->id++;
	if (!mtu || mtu >= sent->len)
		return IPQ_UNSENT_LENGTH;
	for (int i = 0; i < PIECES_MOST; i++) {
		len = ipq_packet_split(sent->data, sent->len, mtu, raw->id, &offset, raw->piece,
				       sizeof(raw->piece));
		if (len == 0)
			ipq_own_add(raw->outbox->own, sent->data, sent->len);
		if (len <= 0)
			return (enum ipq_unsent) - len;
		piece.len = (uint32_t)len;
		ret = send_one(raw, &piece);
		if (ret < 0)
			return reason_of(-ret);
		ipq_own_add(raw->outbox->own, piece.data, piece.len);
	}
	return IPQ_UNSENT_LENGTH;
}

/* The message that the kernel refused. */
static void refused(struct ipq_raw *raw, uint32_t number, int error)
{
	struct ipq_sent *sent = raw->packets[number];
	enum ipq_unsent reason = reason_of(error);

	if (error == EMSGSIZE) {
		forget_errors(raw->sockets[way_of(sent)]);
		reason = send_cut(raw, sent);
	}
	count(raw, reason);
}

/* Sends the messages that were filled in for one socket. */
static void send_all(struct ipq_raw *raw, int fd, uint32_t number)
{
	uint32_t next = 0;

	while (next < number) {
		int ret = sendmmsg(fd, raw->messages + next, number - next, 0);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0) {
			refused(raw, next++, errno);
			continue;
		}
		for (uint32_t end = next + (uint32_t)ret; next < end; next++) {
			count(raw, IPQ_UNSENT_NOT);
			ipq_own_add(raw->outbox->own, raw->packets[next]->data,
				    raw->packets[next]->len);
		}
	}
}

static void flush(struct ipq_outbox *outbox)
{
	struct ipq_raw *raw = outbox->way;

	for (int way = 0; way < WAYS; way++) {
		uint32_t number = 0;

		for (uint32_t i = 0; i < outbox->count; i++)
			if (way_of(&outbox->sent[i]) == (enum way)way)
				fill(raw, number++, &outbox->sent[i]);
		send_all(raw, raw->sockets[way], number);
	}
}

/* The kernel refuses to connect to a broadcast address, as long as nobody has said that he means it. */
static bool ask_broadcast(struct ipq_raw *raw, const uint8_t *address)
{
	struct sockaddr_in6 to = {0};
	struct sockaddr_in *to4 = (struct sockaddr_in *)&to;

	to4->sin_family = AF_INET;
	to4->sin_port = htons(9);
	memcpy(&to4->sin_addr, address, sizeof(to4->sin_addr));
	return probe_connect(raw->probes[0], raw->outbox->mark, &to, sizeof(*to4)) < 0 &&
	       errno == EACCES;
}

static bool is_broadcast(struct ipq_outbox *outbox, const uint8_t *address)
{
	struct ipq_raw *raw = outbox->way;
	uint32_t number = ipq_load32(address);
	int64_t now_s = ipq_coarse_ns() / 1000000000;

	typeof(raw->broadcasts[0]) *known = &raw->broadcasts[number % BROADCASTS];

	if (known->address != number || now_s >= known->until_s) {
		known->address = number;
		known->is_broadcast = ask_broadcast(raw, address);
		known->until_s = now_s + BROADCAST_LIFE_S;
	}
	return known->is_broadcast;
}

static void set_option(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

/* -1 where the kernel has no such family; another negative number is an error. */
static int open_socket(int family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

	if (fd < 0)
		return errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT ? -1 : -errno - 1;
	return fd;
}

static void set_up(struct ipq_raw *raw, int fd, enum way way)
{
	struct icmp6_filter none;

	ICMP6_FILTER_SETBLOCKALL(&none);
	set_option(fd, SOL_SOCKET, SO_SNDBUF, SNDBUF);
	set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, SNDBUF);
	set_option(fd, SOL_SOCKET, SO_MARK, (int)raw->outbox->mark);
	/* What else would be lost without a word: that there is no memory. */
	set_option(fd, way == WAY_IP ? IPPROTO_IP : IPPROTO_IPV6,
		   way == WAY_IP ? IP_RECVERR : IPV6_RECVERR, 1);
	/* Nothing comes in. */
	set_option(fd, SOL_SOCKET, SO_RCVBUF, 1);
	if (way == WAY_ICMP6)
		(void)setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &none, sizeof(none));
}

static int open_all(struct ipq_raw *raw)
{
	static const int families[] = {AF_INET, AF_INET6, AF_INET6};
	static const int protocols[] = {IPPROTO_RAW, IPPROTO_RAW, IPPROTO_ICMPV6};

	for (int way = 0; way < WAYS; way++) {
		raw->sockets[way] = open_socket(families[way], SOCK_RAW, protocols[way]);
		if (raw->sockets[way] < -1)
			return raw->sockets[way] + 1;
		if (raw->sockets[way] >= 0)
			set_up(raw, raw->sockets[way], (enum way)way);
	}
	for (int i = 0; i < 2; i++) {
		raw->probes[i] = open_socket(families[i], SOCK_DGRAM, 0);
		if (raw->probes[i] < -1)
			return raw->probes[i] + 1;
	}
	return 0;
}

int ipq_raw_open(struct ipq_raw **raw, struct ipq_outbox *outbox)
{
	struct ipq_raw *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	r->outbox = outbox;
	/* Not those that others begin with. */
	r->id = (uint32_t)ipq_monotonic_ns();
	memset(r->sockets, -1, sizeof(r->sockets));
	memset(r->probes, -1, sizeof(r->probes));
	outbox->own = ipq_own_new();
	ret = outbox->own ? open_all(r) : -ENOMEM;
	if (ret < 0) {
		ipq_raw_close(r);
		return ret;
	}
	outbox->flush = flush;
	outbox->is_broadcast = is_broadcast;
	outbox->way = r;
	outbox->is_live = 1;
	*raw = r;
	return 0;
}

void ipq_raw_probes(const struct ipq_raw *raw, int fds[2])
{
	fds[0] = raw->probes[0];
	fds[1] = raw->probes[1];
}

static void close_all(const int *fds, int number)
{
	for (int i = 0; i < number; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void ipq_raw_close(struct ipq_raw *raw)
{
	if (!raw)
		return;
	close_all(raw->sockets, WAYS);
	close_all(raw->probes, 2);
	ipq_own_free(raw->outbox->own);
	raw->outbox->own = NULL;
	raw->outbox->flush = NULL;
	raw->outbox->is_broadcast = NULL;
	raw->outbox->way = NULL;
	free(raw);
}
