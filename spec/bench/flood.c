/* Sends UDP packets to a port of this host, faster than any queue program can take them:
 * flood PORT BYTES SECONDS [ADDRESSES]. In turn to 127.0.0.1 and the addresses behind it. One
 * system call sends up to 64 packets (UDP_SEGMENT), which the kernel cuts apart before a queue that
 * does not ask for GSO. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <time.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

enum { SEGMENTS = 64, DATAGRAM_MAX = 65507 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	static char bytes[DATAGRAM_MAX];
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	int size, segments, sndbuf = 64 << 20;
	uint32_t addresses, i;
	double end;

	if (argc < 4 || fd < 0)
		return 1;
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	size = atoi(argv[2]);
	addresses = argc > 4 ? (uint32_t)atoi(argv[4]) : 1;
	if (size < 1 || size > DATAGRAM_MAX || addresses < 1 ||
	    setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0)
		return 1;
	segments = DATAGRAM_MAX / size < SEGMENTS ? DATAGRAM_MAX / size : SEGMENTS;
	/* Packets that wait are charged to the sender, who would wait with them. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf));
	/* A full queue answers with an error, which is what is wanted: it stays full. */
	for (i = 0, end = now() + atof(argv[3]); now() < end; i++) {
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i % addresses);
		(void)sendto(fd, bytes, (size_t)(size * segments), 0, (struct sockaddr *)&to,
			     sizeof(to));
	}
	return 0;
}
