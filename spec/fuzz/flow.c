/* A flow table, by operations of any kind against a simple model, and of what a hostile process has left
 * in its memory. */
#include "fuzz.h"
#include "lib/flow/table.h"

#include <netinet/in.h>
#include <linux/netfilter.h>

enum { ENTRIES = 24, MODEL = 256, BYTES = 96, ANY = 1 << 16 };

/* What is known of a flow: in the order in which they were made. */
struct known {
	uint32_t ends; /* those of a model's packet; ANY: of any bytes */
	uint32_t number;
	uint32_t generation;
	uint32_t packets[2];
	int origin;
};

struct table {
	struct ipq_flows flows;
	void *memory;
	size_t size;
	struct known known[MODEL];
	uint32_t known_count;
	int64_t now_us;
	uint8_t bytes[BYTES];
	struct ipq_packet packet;
	int is_damaged; /* the memory has had bytes that no table wrote: nothing is known */
};

static void forget(struct table *t, uint32_t i)
{
	t->known[i] = t->known[--t->known_count];
}

/* Forgets those that have ended. */
static void end_check(struct table *t)
{
	const struct ipq_flow_ended *ended;
	uint32_t i, taken = 0;

	while ((ended = ipq_flows_ended(&t->flows)) != NULL) {
		CHECK(taken++ <= IPQ_FLOW_RING);
		for (i = 0;
		     i < t->known_count && (t->known[i].number != ended->number ||
					    t->known[i].generation != ended->flow.generation);
		     i++)
			;
		CHECK(t->is_damaged || i < t->known_count);
		CHECK(t->is_damaged || ipq_flow_reason_word(ended->reason));
		if (i < t->known_count)
			forget(t, i);
		ipq_flows_ended_taken(&t->flows);
	}
}

static uint32_t number_of(const struct table *t, const struct ipq_flow *flow)
{
	return (uint32_t)(flow - t->flows.records);
}

/* All numbers and times may be asked for, whatever stands there. */
static void look(struct table *t, const struct ipq_flow *flow)
{
	uint32_t number = number_of(t, flow);

	CHECK(number < t->flows.entries);
	CHECK(ipq_flow_packets(flow, 0) >= 0 && ipq_flow_packets(flow, 1) >= 0);
	CHECK(ipq_flow_hook(flow, 0) < 8 && ipq_flow_hook(flow, 1) < 8);
	CHECK(ipq_flow_decision(flow) <= IPQ_FLOW_DECISION_MASK);
	(void)ipq_flow_first_us(&t->flows, flow);
	(void)ipq_flow_last_us(&t->flows, flow);
}

static void known_check(struct table *t, const struct known *known)
{
	const struct ipq_flow *flow = ipq_flows_find(&t->flows, known->number, known->generation);

	CHECK(flow);
	CHECK(ipq_flow_packets(flow, 0) == known->packets[0]);
	CHECK(ipq_flow_packets(flow, 1) == known->packets[1]);
}

static void table_check(struct table *t)
{
	const struct ipq_flow *flow;
	uint32_t number = 0, count = 0;

	while ((flow = ipq_flows_next(&t->flows, &number)) != NULL) {
		look(t, flow);
		count++;
	}
	if (t->is_damaged)
		return;
	CHECK(count == ipq_flows_count(&t->flows) && count == t->known_count);
	for (uint32_t i = 0; i < t->known_count; i++)
		known_check(t, &t->known[i]);
}

static struct ipq_flow *see(struct table *t, size_t len)
{
	uint8_t *bytes = own(t->bytes, len);
	struct ipq_flow *flow;

	t->packet.data = bytes;
	t->packet.data_len = t->packet.len = (uint32_t)len;
	t->packet.parsed = 0;
	t->packet.family = len && bytes[0] >> 4 == 6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
	flow = ipq_flows_packet(&t->flows, &t->packet, t->now_us);
	if (flow)
		look(t, flow);
	CHECK(!flow || t->packet.flow_number == number_of(t, flow) + 1);
	free(bytes);
	return flow;
}

static uint32_t known_of(const struct table *t, const struct ipq_flow *flow)
{
	uint32_t i = 0;

	while (i < t->known_count && (t->known[i].number != number_of(t, flow) ||
				      t->known[i].generation != flow->generation))
		i++;
	return i;
}

static void know(struct table *t, const struct ipq_flow *flow, uint32_t ends, int origin)
{
	CHECK(t->known_count < MODEL);
	t->known[t->known_count++] = (struct known){
		.ends = ends,
		.number = number_of(t, flow),
		.generation = flow->generation,
		.origin = origin,
	};
}

/* A TCP or UDP packet between two of 4 addresses and 8 ports, which the model knows, too. */
static void known_packet(struct table *t, struct input *in)
{
	uint8_t which = take8(in), flags = take8(in), *p = t->bytes;
	uint8_t client = which & 3, port = which >> 2 & 7, is_tcp = which >> 5 & 1;
	int is_reply = which >> 6 & 1;
	uint32_t ends = which & 63, i;
	struct ipq_flow *flow;

	memset(p, 0, BYTES);
	p[0] = 0x45;
	p[3] = is_tcp ? 40 : 28;
	p[9] = is_tcp ? IPPROTO_TCP : IPPROTO_UDP;
	p[is_reply ? 16 : 12] = 10;
	p[is_reply ? 19 : 15] = client;
	p[is_reply ? 12 : 16] = 192;
	p[is_reply ? 23 : 21] = port;
	p[is_reply ? 21 : 23] = 200;
	if (is_tcp) {
		store16(p + 26, take8(in));
		store16(p + 30, take8(in));
		p[32] = 0x50;
		p[33] = flags;
	} else {
		p[25] = 8;
	}
	flow = see(t, p[3]);
	CHECK(flow || t->is_damaged);
	end_check(t);
	if (!flow || t->is_damaged)
		return;
	i = known_of(t, flow);
	CHECK((i == t->known_count) == !!(t->packet.flow_bits & IPQ_FLOW_IS_NEW));
	for (uint32_t j = 0; j < t->known_count; j++)
		CHECK(j == i || t->known[j].ends != ends);
	if (i == t->known_count)
		know(t, flow, ends, is_reply);
	CHECK(t->known[i].ends == ends || t->known[i].ends == ANY);
	CHECK(t->known[i].ends == ANY ||
	      t->packet.flow_direction == (is_reply != t->known[i].origin));
	t->known[i].packets[t->packet.flow_direction]++;
	known_check(t, &t->known[i]);
}

/* Any bytes; a flow that they make is one of its own. */
static void any_packet(struct table *t, struct input *in)
{
	size_t len = take8(in) % (BYTES + 1);
	const uint8_t *bytes = take(in, &len);
	const struct ipq_flow *flow;
	uint32_t i;

	memcpy(t->bytes, bytes, len);
	flow = see(t, len);
	end_check(t);
	if (!flow || t->is_damaged || t->packet.flow_bits & IPQ_FLOW_IS_RELATED)
		return;
	i = known_of(t, flow);
	CHECK((i == t->known_count) == !!(t->packet.flow_bits & IPQ_FLOW_IS_NEW));
	if (i == t->known_count)
		know(t, flow, ANY, 0);
	t->known[i].packets[t->packet.flow_direction]++;
	known_check(t, &t->known[i]);
}

static void attach(struct table *t, int expected)
{
	uint32_t limit = t->flows.limit;
	int ret = ipq_flows_attach(t->memory, t->size, &t->flows);

	CHECK(t->is_damaged || ret == expected);
	if (ret < 0) {
		CHECK(ipq_flows_init(t->memory, t->size, ENTRIES, t->bytes) == 0);
		ret = ipq_flows_attach(t->memory, t->size, &t->flows);
		CHECK(ret == 0 && ipq_flows_count(&t->flows) == 0);
	}
	t->flows.limit = limit;
	t->flows.wants_ended = 1;
	CHECK(ipq_flows_attach(t->memory, t->size, &(struct ipq_flows){0}) == 0);
}

static void damage(struct table *t, struct input *in)
{
	uint32_t at = take16(in) % (uint32_t)t->size;
	size_t len = take8(in) & 15;
	const uint8_t *bytes = take(in, &len);

	if (len > t->size - at)
		len = t->size - at;
	memcpy((uint8_t *)t->memory + at, bytes, len);
	t->is_damaged = 1;
}

static void operate(struct table *t, struct input *in)
{
	uint8_t what = take8(in);

	switch (what & 15) {
	case 0: any_packet(t, in); break;
	case 1:
		t->now_us +=
			(int64_t)take16(in) * (what & 16 ? 1000 : 10000000) * (what & 32 ? -1 : 1);
		break;
	case 2: CHECK(ipq_flows_sweep(&t->flows, t->now_us, take8(in)) <= ENTRIES); break;
	case 3: attach(t, 0); break;
	case 4:
		t->flows.head->sequence |= 1;
		attach(t, 1);
		break;
	case 5: t->flows.limit = take8(in); break;
	case 6:
		if (what & 16)
			damage(t, in);
		break;
	default: known_packet(t, in); break;
	}
	end_check(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct table *t = calloc(1, sizeof(*t));
	struct input in = {bytes, len};
	uint8_t key[IPQ_FLOW_KEY_SIZE];

	CHECK(t);
	/* A key of zeros has all flows share their buckets. */
	memset(key, take8(&in), sizeof(key));
	t->size = ipq_flows_size(ENTRIES);
	t->memory = aligned_alloc(128, t->size);
	CHECK(t->memory);
	memset(t->memory, 0xa5, t->size);
	CHECK(ipq_flows_init(t->memory, t->size, ENTRIES, key) == 0);
	t->flows.limit = ENTRIES;
	attach(t, 0);
	while (in.len) {
		operate(t, &in);
		table_check(t);
	}
	attach(t, 0);
	free(t->memory);
	free(t);
	return 0;
}
