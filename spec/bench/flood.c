/* Sends small UDP packets to a port of this host, faster than any queue program can take them:
 * flood PORT BYTES SECONDS. One system call sends 64 packets (UDP_SEGMENT), which the kernel cuts
 * apart before a queue that does not ask for GSO. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <time.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

enum { SEGMENTS = 64 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	static char bytes[65536];
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	int size, sndbuf = 64 << 20;
	double end;

	if (argc != 4 || fd < 0)
		return 1;
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	size = atoi(argv[2]);
	if (size < 1 || (size_t)size * SEGMENTS > sizeof(bytes) ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0)
		return 1;
	/* Packets that wait are charged to the sender, who would wait with them. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf));
	/* A full queue answers with an error, which is what is wanted: it stays full. */
	for (end = now() + atof(argv[3]); now() < end;)
		(void)send(fd, bytes, (size_t)size * SEGMENTS, 0);
	return 0;
}
