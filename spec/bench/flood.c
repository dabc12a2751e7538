/* Sends UDP packets to a port of this host, faster than any queue program can take them:
 * flood PORT BYTES SECONDS [ADDRESSES [RATE]]. In turn to 127.0.0.1 and the addresses behind it. One
 * system call sends up to 64 packets (UDP_SEGMENT), which the kernel cuts apart before a queue that
 * does not ask for GSO. With a rate, of 1000 to 64000 packets a second, they come once a
 * millisecond. */
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

/* Waits until so many milliseconds have passed since start. */
static void wait_until(double start, uint32_t ms)
{
	double at = start + ms * 1e-3;
	struct timespec t = {.tv_sec = (time_t)at};

	t.tv_nsec = (long)((at - (double)t.tv_sec) * 1e9);
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

int main(int argc, char **argv)
{
	static char bytes[DATAGRAM_MAX];
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	int size, segments, sndbuf = 64 << 20;
	uint32_t addresses, i;
	double start, end;
	int rate;

	if (argc < 4 || fd < 0)
		return 1;
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	size = atoi(argv[2]);
	addresses = argc > 4 ? (uint32_t)atoi(argv[4]) : 1;
	rate = argc > 5 ? atoi(argv[5]) : 0;
	if (size < 1 || size > DATAGRAM_MAX || addresses < 1 ||
	    setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0)
		return 1;
	segments = DATAGRAM_MAX / size < SEGMENTS ? DATAGRAM_MAX / size : SEGMENTS;
	if (rate && rate / 1000 < segments)
		segments = rate / 1000;
	/* Packets that wait are charged to the sender, who would wait with them. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf));
	/* A full queue answers with an error, which is what is wanted: it stays full. */
	start = now();
	for (i = 0, end = start + atof(argv[3]); now() < end; i++) {
		if (rate)
			wait_until(start, i);
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i % addresses);
		(void)sendto(fd, bytes, (size_t)(size * segments), 0, (struct sockaddr *)&to,
			     sizeof(to));
	}
	return 0;
}
