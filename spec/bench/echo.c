/* UDP packets to and fro over the loopback device, one at a time.
 *     echo serve PORT                sends back what comes
 *     echo ask PORT SECONDS          prints trips, p50 and p99: round trips in nanoseconds */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { TRIPS_MAX = 4000000, SIZE = 64 };

static uint32_t trips[TRIPS_MAX];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int serve(int fd, const struct sockaddr_in *at)
{
	char bytes[SIZE];

	if (bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
		return 1;
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t size =
			recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &len);

		if (size < 0 ||
		    sendto(fd, bytes, (size_t)size, 0, (struct sockaddr *)&from, len) < 0)
			return 1;
	}
}

/* 0, or -1 when the answer is not there within a second. */
static int trip(int fd)
{
	char bytes[SIZE] = "";

	if (send(fd, bytes, sizeof(bytes), 0) < 0)
		return -1;
	return recv(fd, bytes, sizeof(bytes), 0) < 0 ? -1 : 0;
}

static int ask(int fd, const struct sockaddr_in *at, double seconds)
{
	static const struct timeval second = {.tv_sec = 1};
	uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
	uint32_t count = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
		return 1;
	while (count < TRIPS_MAX) {
		uint64_t start = now_ns();

		if (start >= end)
			break;
		if (trip(fd) < 0)
			return 1;
		trips[count++] = (uint32_t)(now_ns() - start);
	}
	if (count == 0)
		return 1;
	qsort(trips, count, sizeof(*trips), by_value);
	printf("trips=%u p50=%u p99=%u\n", count, trips[count / 2],
	       trips[(uint64_t)count * 99 / 100]);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc < 3 || fd < 0)
		return 1;
	at.sin_port = htons((uint16_t)atoi(argv[2]));
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (strcmp(argv[1], "serve") == 0)
		return serve(fd, &at);
	return argc > 3 ? ask(fd, &at, atof(argv[3])) : 1;
}
