/* What a person would write in C on this project's lib: send_loop reset|duplicate|answer. The best loop, and behind the
 * verdicts of a batch one sendmmsg(2) on a raw socket, with packets that are made here: a reset for each SYN, each packet
 * a second time, or the answer to each DNS query. IPv4 without options. */
#include "lib/bytes.h"
#include "lib/packet/checksum.h"
#include "lib/queue/queue.h"

#include <errno.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { IP = 20, TCP = 20, UDP = 8, ROOM = 2048, MARK = 0x20000000 };

static struct {
	int fd;
	unsigned int count;
	struct mmsghdr messages[IPQ_BATCH_MAX];
	struct iovec iov[IPQ_BATCH_MAX];
	struct sockaddr_in to[IPQ_BATCH_MAX];
	uint8_t bytes[IPQ_BATCH_MAX][ROOM];
} out;

static void put(uint8_t *bytes, size_t len)
{
	unsigned int i = out.count++;

	out.to[i].sin_family = AF_INET;
	memcpy(&out.to[i].sin_addr, bytes + 16, 4);
	out.iov[i] = (struct iovec){bytes, len};
	out.messages[i].msg_hdr = (struct msghdr){.msg_name = &out.to[i],
						  .msg_namelen = sizeof(out.to[i]),
						  .msg_iov = &out.iov[i],
						  .msg_iovlen = 1};
}

/* The IP header of an answer to that packet; the kernel computes its checksum. */
static void turn(uint8_t *to, const uint8_t *from, uint32_t len)
{
	memset(to, 0, IP);
	to[0] = 0x45;
	ipq_store16(to + 2, len);
	to[8] = 64;
	to[9] = from[9];
	memcpy(to + 12, from + 16, 4);
	memcpy(to + 16, from + 12, 4);
	memcpy(to + IP, from + IP + 2, 2);
	memcpy(to + IP + 2, from + IP, 2);
}

static void finish(uint8_t *packet, uint32_t len, uint32_t field)
{
	uint8_t pseudo[12] = {0};
	uint16_t sum;

	memcpy(pseudo, packet + 12, 8);
	pseudo[9] = packet[9];
	ipq_store16(pseudo + 10, len - IP);
	sum = ipq_checksum_fold(ipq_checksum_add(ipq_checksum_add(0, pseudo, sizeof(pseudo)),
						 packet + IP, len - IP));
	memcpy(packet + IP + field, &sum, sizeof(sum));
}

static uint32_t reset(const struct ipq_packet *packet)
{
	const uint8_t *p = packet->data;
	uint8_t *to = out.bytes[out.count];
	uint32_t ack;

	if (packet->data_len < IP + TCP || p[9] != IPPROTO_TCP || !(p[IP + 13] & 2))
		return IPQ_ACCEPT;
	turn(to, p, IP + TCP);
	ack = htobe32(ipq_load32(p + IP + 4) + 1);
	memset(to + IP + 4, 0, TCP - 4);
	memcpy(to + IP + 8, &ack, sizeof(ack));
	to[IP + 12] = 5 << 4;
	to[IP + 13] = 0x14;
	finish(to, IP + TCP, 16);
	put(to, IP + TCP);
	return IPQ_DROP;
}

static uint32_t duplicate(const struct ipq_packet *packet)
{
	put(packet->data, packet->data_len);
	return IPQ_ACCEPT;
}

static uint32_t answer(const struct ipq_packet *packet)
{
	static const uint8_t flags[] = {0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0};
	static const uint8_t record[] = {192, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 0, 0, 0, 0};
	const uint8_t *p = packet->data, *query = p + IP + UDP;
	uint8_t *to = out.bytes[out.count], *dns = to + IP + UDP;
	uint32_t len = packet->data_len, most = ROOM - (uint32_t)sizeof(record), total;

	if (len < IP + UDP + 17 || len > most || p[9] != IPPROTO_UDP ||
	    ipq_load16(p + IP + 2) != 53)
		return IPQ_ACCEPT;
	total = len + (uint32_t)sizeof(record);
	turn(to, p, total);
	ipq_store16(to + IP + 4, total - IP);
	memset(to + IP + 6, 0, 2);
	memcpy(dns, query, 2);
	memcpy(dns + 2, flags, sizeof(flags));
	memcpy(dns + 12, query + 12, len - IP - UDP - 12);
	memcpy(to + len, record, sizeof(record));
	finish(to, total, 6);
	put(to, total);
	return IPQ_DROP;
}

static void send_all(void)
{
	for (unsigned int sent = 0; sent < out.count;) {
		int ret = sendmmsg(out.fd, out.messages + sent, out.count - sent, 0);

		sent += ret > 0 ? (unsigned int)ret : 1;
	}
	out.count = 0;
}

int main(int argc, char **argv)
{
	uint32_t (*judge)(const struct ipq_packet *) = duplicate;
	int sndbuf = 16 << 20, mark = MARK, ret;
	struct ipq_queue_options options;
	struct ipq_source *source;
	struct ipq_queue *queue;
	struct ipq_batch *batch;

	if (argc > 1 && strcmp(argv[1], "reset") == 0)
		judge = reset;
	else if (argc > 1 && strcmp(argv[1], "answer") == 0)
		judge = answer;
	out.fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (out.fd < 0)
		return 1;
	setsockopt(out.fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf));
	setsockopt(out.fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	ipq_queue_defaults(&options);
	options.flags &= ~(uint32_t)IPQ_QUEUE_GSO;
	if (ipq_batch_new(&batch, IPQ_BATCH_MAX, ipq_queue_slot_size(&options)) < 0 ||
	    ipq_queue_open(&queue, &options) < 0)
		return 1;
	source = ipq_queue_source(queue);
	for (;;) {
		ret = source->receive(source, batch);
		if (ret < 0 && ret != -EAGAIN && ret != -EINTR)
			return 1;
		for (uint32_t i = 0; i < batch->count; i++)
			batch->packets[i].verdict = judge(&batch->packets[i]);
		if (ret > 0 && source->commit(source, batch) < 0)
			return 1;
		send_all();
	}
}
