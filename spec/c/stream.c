/* stream PORT PACKETS_A_SECOND SECONDS: UDP packets with sequence numbers to a port of this host,
 * and who gets them. TERM ends it before its time. Prints
 *     sent N received N lost N twice N gap MS
 * gap is the longest time between two arrivals, in milliseconds. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>

enum {
	SLICE_NS = 1000000,
	BEHIND_MS = 20, /* a sender that was kept from sending for longer does not make up for it */
	IDLE_MS = 5000,
	LOOK_MS = 5,
	TWICE_MS = 100
};

struct stream {
	int in, out;
	uint32_t most; /* packets that will be sent */
	uint32_t rate, sent;
	uint8_t *seen;
	/* The receiver's */
	volatile uint32_t received, twice;
	volatile int64_t longest_ns;
};

static int64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
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
		if (number >= s->most)
			continue;
		if (s->seen[number]++)
			s->twice++;
		else
			s->received++;
	}
	return NULL;
}

/* Until all have come, or none more comes. */
static void await_all(const struct stream *s)
{
	const char *slow = getenv("IPQ_SLOW");
	int idle_ms = 0, most_ms = IDLE_MS * (slow ? atoi(slow) : 1);
	uint32_t before = s->received;

	while (s->received < s->sent && idle_ms < most_ms) {
		usleep(LOOK_MS * 1000);
		idle_ms = s->received == before ? idle_ms + LOOK_MS : 0;
		before = s->received;
	}
	/* One that comes twice. */
	usleep(TWICE_MS * 1000);
}

static volatile sig_atomic_t is_ended;

static void on_term(int number)
{
	(void)number;
	is_ended = 1;
}

static void send_all(struct stream *s)
{
	struct timespec pause = {.tv_nsec = SLICE_NS};
	int64_t last = now_ns();
	double due = 0;
	uint32_t number = 0;

	while (number < s->most && !is_ended) {
		int64_t now = now_ns(), passed = now - last;

		last = now;
		if (passed > BEHIND_MS * 1000000)
			passed = BEHIND_MS * 1000000;
		due += (double)passed * s->rate / 1e9;
		for (; number < s->most && number < due; number++)
			while (send(s->out, &number, sizeof(number), 0) < 0 && errno == ENOBUFS)
				continue;
		nanosleep(&pause, NULL);
	}
	s->sent = number;
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
	return bind(s->in, (struct sockaddr *)&address, sizeof(address)) |
	       connect(s->out, (struct sockaddr *)&address, sizeof(address));
}

int main(int argc, char **argv)
{
	struct stream s = {.in = -1};
	pthread_t receiver;

	if (argc != 4)
		return 64;
	signal(SIGTERM, on_term);
	s.rate = (uint32_t)atoi(argv[2]);
	s.most = (uint32_t)(s.rate * atof(argv[3]));
	s.seen = calloc(s.most, 1);
	if (!s.seen || sockets_open(&s, (uint16_t)atoi(argv[1])) < 0 ||
	    pthread_create(&receiver, NULL, receive, &s) != 0) {
		perror("stream");
		return 1;
	}
	send_all(&s);
	await_all(&s);
	printf("sent %u received %u lost %u twice %u gap %.1f\n", s.sent, s.received,
	       s.sent - s.received, s.twice, (double)s.longest_ns / 1e6);
	return 0;
}
