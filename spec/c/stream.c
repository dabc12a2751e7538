/* stream PORT PACKETS_A_SECOND SECONDS: UDP packets with sequence numbers to a port of this host,
 * and who gets them. Prints
 *     sent N received N lost N twice N gap MS
 * gap is the longest time between two arrivals, in milliseconds. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>

enum { SLICE_NS = 1000000, WAIT_MS = 1500, WAIT_MORE_MS = 100 };

struct stream {
	int in, out;
	uint32_t total;
	uint32_t rate;
	uint8_t *seen;
	uint32_t received, twice;
	int64_t longest_ns;
};

static int64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* How long after the last packet there is none more. */
static void wait_at_most(struct stream *s, long ms)
{
	struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	setsockopt(s->in, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
}

static void *receive(void *data)
{
	struct stream *s = data;
	int64_t last = 0, now;
	uint32_t number;

	while (recv(s->in, &number, sizeof(number), 0) == sizeof(number)) {
		now = now_ns();
		if (last && now - last > s->longest_ns)
			s->longest_ns = now - last;
		last = now;
		if (number >= s->total)
			continue;
		if (s->seen[number]++)
			s->twice++;
		else if (++s->received == s->total)
			wait_at_most(s, WAIT_MORE_MS);
	}
	return NULL;
}

static void send_all(struct stream *s)
{
	int64_t begin = now_ns();
	uint32_t number = 0;

	while (number < s->total) {
		struct timespec pause = {.tv_nsec = SLICE_NS};
		int64_t due = (now_ns() - begin) * s->rate / 1000000000;

		for (; number < s->total && number < due; number++)
			while (send(s->out, &number, sizeof(number), 0) < 0 && errno == ENOBUFS)
				continue;
		nanosleep(&pause, NULL);
	}
}

static int sockets_open(struct stream *s, uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int room = 64 << 20;

	s->in = socket(AF_INET, SOCK_DGRAM, 0);
	s->out = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(s->in, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(s->out, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	wait_at_most(s, WAIT_MS);
	return bind(s->in, (struct sockaddr *)&address, sizeof(address)) |
	       connect(s->out, (struct sockaddr *)&address, sizeof(address));
}

int main(int argc, char **argv)
{
	struct stream s = {.in = -1};
	pthread_t receiver;

	if (argc != 4)
		return 64;
	s.rate = (uint32_t)atoi(argv[2]);
	s.total = (uint32_t)(s.rate * atof(argv[3]));
	s.seen = calloc(s.total, 1);
	if (!s.seen || sockets_open(&s, (uint16_t)atoi(argv[1])) < 0 ||
	    pthread_create(&receiver, NULL, receive, &s) != 0) {
		perror("stream");
		return 1;
	}
	send_all(&s);
	pthread_join(receiver, NULL);
	printf("sent %u received %u lost %u twice %u gap %.1f\n", s.total, s.received,
	       s.total - s.received, s.twice, (double)s.longest_ns / 1e6);
	return 0;
}
