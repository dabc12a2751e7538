/* A process that works with a flow table and is killed at any instruction, again and again. */
#include "lib/flow/table.h"
#include "lib/packet/packet.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { ENTRIES = 2000, KEPT = 500, STEP_US = 500, TCP = 6, SYN = 2, RST = 4, ACK = 16 };

struct spec_kills {
	uint32_t kills;	  /* what was done */
	uint32_t inside;  /* of them within a change */
	uint32_t rebuilt; /* tables whose index was built anew: those, and no other */
	uint32_t lost;	  /* answered flows that were not there any more, after one kill */
	uint32_t unsound; /* tables that were not sound afterwards */
};

/* Declared here, for LuaJIT alone calls it. */
int spec_flows_kill(struct spec_kills *kills, uint32_t count, uint64_t seed);

struct worker {
	struct ipq_flows flows;
	uint64_t random;
	uint32_t next; /* the flow that is made next */
	int64_t now_us;
	uint32_t *packets; /* shared: how many it has seen */
	uint8_t bytes[40];
	struct ipq_packet packet;
};

static uint32_t random_of(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (uint32_t)(*random >> 16);
}

/* A TCP packet of a connection's, of 0 bytes; is_reply: its server's. */
static struct ipq_flow *see(struct worker *w, uint32_t connection, uint8_t flags, bool is_reply)
{
	uint8_t *p = w->bytes, *ends[2] = {p + 12 + is_reply * 4, p + 16 - is_reply * 4};
	uint8_t *ports[2] = {p + 20 + is_reply * 2, p + 22 - is_reply * 2};
	const uint32_t server = htobe32(0xc0000201), client = htobe32(connection);
	const uint32_t seq = htobe32(flags & SYN ? 99 : 100), ack = flags & ACK ? htobe32(100) : 0;

	memset(p, 0, sizeof(w->bytes));
	p[0] = 0x45;
	p[3] = sizeof(w->bytes);
	p[9] = TCP;
	p[32] = 0x50;
	p[33] = flags;
	memcpy(ends[0], &client, 4);
	memcpy(ends[1], &server, 4);
	memcpy(ports[0], "\4\1", 2);
	memcpy(ports[1], "\0\120", 2);
	memcpy(p + 24, &seq, 4);
	memcpy(p + 28, &ack, 4);
	w->packet = (struct ipq_packet){
		.data = p, .data_len = sizeof(w->bytes), .len = sizeof(w->bytes), .family = 2};
	w->now_us += STEP_US;
	return ipq_flows_packet(&w->flows, &w->packet, w->now_us);
}

static void open_connection(struct worker *w, uint32_t connection)
{
	see(w, connection, SYN, false);
	see(w, connection, SYN | ACK, true);
	see(w, connection, ACK, false);
}

/* Floods, opens, resets, lets time out, and keeps the first KEPT connections alive. */
static void work(struct worker *w)
{
	for (;;) {
		const struct ipq_flow_ended *ended;
		uint32_t what = random_of(&w->random) % 8;

		__atomic_add_fetch(w->packets, 1, __ATOMIC_RELAXED);
		see(w, random_of(&w->random) % KEPT, ACK, what & 1);
		if (what == 0) {
			open_connection(w, w->next);
			see(w, w->next, RST, what & 1);
		} else if (what < 4) {
			open_connection(w, w->next - ENTRIES / 8);
			see(w, w->next - ENTRIES / 8, RST, what & 1);
		} else {
			see(w, w->next, SYN, false);
		}
		w->next++;
		ended = ipq_flows_ended(&w->flows);
		if (ended)
			ipq_flows_ended_taken(&w->flows);
	}
}

/* Forks a worker and kills it after so many packets. */
static int kill_one(struct worker *w, uint32_t packets)
{
	pid_t pid;

	__atomic_store_n(w->packets, 0, __ATOMIC_RELAXED);
	pid = fork();
	if (pid < 0)
		return -1;
	if (pid == 0)
		work(w);
	while (__atomic_load_n(w->packets, __ATOMIC_RELAXED) < packets)
		sched_yield();
	for (volatile uint32_t i = random_of(&w->random) % 4096; i > 0; i--)
		;
	if (kill(pid, SIGKILL) != 0 || waitpid(pid, NULL, 0) != pid)
		return -1;
	/* What the worker did in the time and numbers that its memory had. */
	w->next += 1000003;
	w->random += *w->packets;
	return 0;
}

static uint32_t missing(struct worker *w)
{
	uint32_t lost = 0;

	for (uint32_t i = 0; i < KEPT; i++) {
		const struct ipq_flow *flow = see(w, i, ACK, false);

		lost += !flow || w->packet.flow_bits & IPQ_FLOW_IS_NEW ||
			flow->state != IPQ_FLOW_ESTABLISHED || flow->fields[1] != i;
	}
	return lost;
}

static int kill_all(struct worker *w, void *memory, size_t size, struct spec_kills *kills,
		    uint32_t count)
{
	struct ipq_flows again;
	int attached;

	for (; kills->kills < count; kills->kills++) {
		if (kill_one(w, 1 + random_of(&w->random) % 64) != 0)
			return -1;
		kills->inside += w->flows.head->sequence & 1;
		attached = ipq_flows_attach(memory, size, &w->flows);
		kills->unsound += attached < 0 || ipq_flows_attach(memory, size, &again) != 0;
		w->flows.wants_ended = 1;
		/* A connection times out within some kills. */
		w->flows.timeout_ms[IPQ_FLOW_TCP_OPENING] = 2000;
		w->flows.timeout_ms[IPQ_FLOW_TCP_CLOSING] = 1000;
		kills->rebuilt += attached == 1;
		kills->lost += missing(w);
		if (kills->unsound || kills->lost)
			break;
	}
	return 0;
}

int spec_flows_kill(struct spec_kills *kills, uint32_t count, uint64_t seed)
{
	size_t size = ipq_flows_size(ENTRIES);
	char *memory =
		mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct worker *w = calloc(1, sizeof(*w));
	int ret = -1;

	memset(kills, 0, sizeof(*kills));
	if (memory == MAP_FAILED || !w)
		abort();
	w->random = seed;
	w->packets = (uint32_t *)memory;
	w->next = 1 << 20;
	w->now_us = 1000000;
	for (uint32_t i = 0; i < IPQ_FLOW_KEY_SIZE; i++)
		memory[4095 - i] = (char)random_of(&w->random);
	if (ipq_flows_init(memory + 4096, size, ENTRIES, memory + 4096 - IPQ_FLOW_KEY_SIZE) == 0 &&
	    ipq_flows_attach(memory + 4096, size, &w->flows) == 0) {
		for (uint32_t i = 0; i < KEPT; i++) {
			open_connection(w, i);
			see(w, i, ACK, false)->fields[1] = i;
		}
		ret = kill_all(w, memory + 4096, size, kills, count);
	}
	munmap(memory, size + 4096);
	free(w);
	return ret;
}
