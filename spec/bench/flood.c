/* Sends small UDP packets to a port of this host as fast as it can: flood PORT BYTES SECONDS */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { BURST = 64 };

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
	struct mmsghdr messages[BURST];
	struct iovec iov = {.iov_base = bytes};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	double end;

	if (argc != 4 || fd < 0)
		return 1;
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	iov.iov_len = (size_t)atoi(argv[2]);
	if (iov.iov_len > sizeof(bytes) || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return 1;
	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < BURST; i++) {
		messages[i].msg_hdr.msg_iov = &iov;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	/* A full queue answers with an error, which is what is wanted: it stays full. */
	for (end = now() + atof(argv[3]); now() < end;)
		(void)sendmmsg(fd, messages, BURST, 0);
	return 0;
}
