/* Sends the IPv4 packets of a capture (pcap of raw IP, in this machine's byte order) by a raw socket, as
 * they are, time and again: inject CAPTURE SECONDS. It costs less than any queue program. */
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

enum { FILE_HEADER = 24, FRAME_HEADER = 16, AT_ONCE = 64, IP_DESTINATION = 16 };

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

/* Sends up to AT_ONCE packets from *at on, which goes on behind them. */
static void send_some(int fd, const uint8_t **at, const uint8_t *end)
{
	static struct mmsghdr messages[AT_ONCE];
	static struct sockaddr_in to[AT_ONCE];
	static struct iovec iov[AT_ONCE];
	unsigned int count = 0;

	while (count < AT_ONCE && *at + FRAME_HEADER <= end) {
		const uint8_t *packet = *at + FRAME_HEADER;
		uint32_t len = length_at(*at);

		*at = packet + len;
		if (packet[0] >> 4 != 4)
			continue;
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
}

int main(int argc, char **argv)
{
	int file = argc == 3 ? open(argv[1], O_RDONLY) : -1;
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), sndbuf = 64 << 20;
	const uint8_t *bytes, *at, *end;
	struct stat status;
	double until;

	if (file < 0 || fd < 0 || fstat(file, &status) < 0)
		return 1;
	bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	if (bytes == MAP_FAILED)
		return 1;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf));
	end = bytes + status.st_size;
	for (at = bytes + FILE_HEADER, until = now() + atof(argv[2]); now() < until;) {
		send_some(fd, &at, end);
		if (at + FRAME_HEADER > end)
			at = bytes + FILE_HEADER;
	}
	return 0;
}
