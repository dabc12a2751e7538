/* Sends the IPv4 packets of a capture (pcap of raw IP without options, in this machine's byte order) by a
 * raw socket, time and again: inject CAPTURE SECONDS [RATE [same]]. The rate is in packets a second; without
 * it, or with 0, they go as fast as they can. Each time the clients, who are in 127.1.0.0/24, have other
 * addresses, 256 times: a program that knows connections does not see one twice. With "same" they keep theirs.
 * It costs less than any queue program. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
	FILE_HEADER = 24,
	FRAME_HEADER = 16,
	AT_ONCE = 64,
	IP_PROTOCOL = 9,
	IP_SOURCE = 12,
	IP_DESTINATION = 16,
	TCP_CHECKSUM = 20 + 16,
	UDP_CHECKSUM = 20 + 6
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint32_t length_at(const uint8_t *frame)
{
	uint32_t len;

	memcpy(&len, frame + 8, sizeof(len));
	return len;
}

/* RFC 1624, section 3. The kernel computes the IP header's own. */
static void adjust(uint8_t *packet, uint16_t before, uint16_t after)
{
	uint8_t *field =
		packet + (packet[IP_PROTOCOL] == IPPROTO_TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
	uint32_t sum = (uint16_t) ~(field[0] << 8 | field[1]) + (uint32_t)(uint16_t)~before + after;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (uint16_t) ~(sum + (sum >> 16));
	field[0] = (uint8_t)(sum >> 8);
	field[1] = (uint8_t)sum;
}

/* The next network of clients, in all packets. */
static void renumber(uint8_t *at, const uint8_t *end)
{
	while (at + FRAME_HEADER <= end) {
		uint8_t *packet = at + FRAME_HEADER;
		uint8_t *client =
			packet + (packet[IP_SOURCE + 1] == 1 ? IP_SOURCE : IP_DESTINATION);
		uint16_t before = (uint16_t)(client[2] << 8 | client[3]);

		client[2]++;
		adjust(packet, before, (uint16_t)(client[2] << 8 | client[3]));
		at = packet + length_at(at);
	}
}

/* Sends up to AT_ONCE packets from *at on, which goes on behind them. Gives their number. */
static unsigned int send_some(int fd, const uint8_t **at, const uint8_t *end)
{
	static struct mmsghdr messages[AT_ONCE];
	static struct sockaddr_in to[AT_ONCE];
	static struct iovec iov[AT_ONCE];
	unsigned int count = 0;

	while (count < AT_ONCE && *at + FRAME_HEADER <= end) {
		const uint8_t *packet = *at + FRAME_HEADER;
		uint32_t len = length_at(*at);

		*at = packet + len;
		to[count].sin_family = AF_INET;
		memcpy(&to[count].sin_addr, packet + IP_DESTINATION, sizeof(to->sin_addr));
		iov[count] = (struct iovec){(void *)packet, len};
		messages[count].msg_hdr = (struct msghdr){.msg_name = &to[count],
							  .msg_namelen = sizeof(to[count]),
							  .msg_iov = &iov[count],
							  .msg_iovlen = 1};
		count++;
	}
	/* A full queue answers with an error, which is what is wanted: it stays full. */
	for (unsigned int sent = 0; sent < count;) {
		int ret = sendmmsg(fd, messages + sent, count - sent, 0);

		sent += ret > 0 ? (unsigned int)ret : 1;
	}
	return count;
}

int main(int argc, char **argv)
{
	int file = argc >= 3 && argc <= 5 ? open(argv[1], O_RDONLY) : -1;
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), sndbuf = 64 << 20;
	double rate = argc >= 4 ? atof(argv[3]) : 0, sent = 0, start, until;
	const uint8_t *at, *end;
	struct stat status;
	uint8_t *bytes;

	if (file < 0 || fd < 0 || fstat(file, &status) < 0)
		return 1;
	bytes = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	if (bytes == MAP_FAILED)
		return 1;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf));
	end = bytes + status.st_size;
	start = now();
	for (at = bytes + FILE_HEADER, until = start + atof(argv[2]); now() < until;) {
		if (rate > 0 && sent > (now() - start) * rate)
			continue;
		sent += send_some(fd, &at, end);
		if (at + FRAME_HEADER > end) {
			if (argc < 5)
				renumber(bytes + FILE_HEADER, end);
			at = bytes + FILE_HEADER;
		}
	}
	return 0;
}
