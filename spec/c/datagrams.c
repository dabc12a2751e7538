/* datagrams send ADDRESS PORT SIZE COUNT LAST: COUNT datagrams of SIZE bytes and one of LAST, by one
 * call (UDP_SEGMENT of udp(7)).
 * datagrams word ADDRESS PORT: one of the word "end".
 * datagrams receive PORT: prints "got DATAGRAMS BYTES" of what came before that word. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static int check(int ret, const char *what)
{
	if (ret < 0) {
		perror(what);
		exit(1);
	}
	return ret;
}

static int connected(const char *address, uint16_t port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
	int fd = check(socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0), "socket");

	if (!is_v4)
		inet_pton(AF_INET6, address, &v6.sin6_addr);
	check(connect(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
		      is_v4 ? sizeof(v4) : sizeof(v6)),
	      "connect");
	return fd;
}

static void send_segments(int fd, int size, int count, int last)
{
	size_t len = (size_t)size * (size_t)count + (size_t)last;
	char *bytes = malloc(len);

	check(bytes ? 0 : -1, "malloc");
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)i;
	check(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)), "UDP_SEGMENT");
	check((int)send(fd, bytes, len, 0), "send");
	free(bytes);
}

static void receive(uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = check(socket(AF_INET6, SOCK_DGRAM, 0), "socket");
	int count = 0, bytes = 0, room = 8 << 20;
	char datagram[65536];

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	check(bind(fd, (struct sockaddr *)&any, sizeof(any)), "bind");
	for (;;) {
		int len = check((int)recv(fd, datagram, sizeof(datagram), 0), "recv");

		if (len == 3 && memcmp(datagram, "end", 3) == 0)
			break;
		count++;
		bytes += len;
	}
	printf("got %d %d\n", count, bytes);
}

int main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "send") == 0)
		send_segments(connected(argv[2], (uint16_t)atoi(argv[3])), atoi(argv[4]),
			      atoi(argv[5]), atoi(argv[6]));
	else if (argc == 4 && strcmp(argv[1], "word") == 0)
		(void)!send(connected(argv[2], (uint16_t)atoi(argv[3])), "end", 3, 0);
	else if (argc == 3 && strcmp(argv[1], "receive") == 0)
		receive((uint16_t)atoi(argv[2]));
	else
		return 64;
	return 0;
}
