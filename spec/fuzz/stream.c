/* Segments on their way through streams: of two ends that are honest, with a network between them that is not, and what
 * each gets is what its peer's handler has made of it; or of any bytes, in memory that a hostile process has had. */
#include "stream_world.h"

#include <netinet/tcp.h>

enum { WIRES = 48, SEGMENT_MOST = 4000, HEAD_MOST = 120, ROUNDS = 400, PORT = 80 };

/* A packet on its way to the queue, or behind it to an end. */
struct wire {
	uint8_t *bytes;
	uint32_t len;
	bool is_behind;
	uint32_t skb_info;
};

struct end {
	uint32_t isn;
	uint32_t peer_isn;
	uint64_t size; /* bytes that it says; the FIN is behind them */
	uint64_t una;
	uint64_t next;
	uint64_t highest;
	uint64_t edge; /* of its peer's window */
	uint64_t received;
	uint64_t offered; /* the edge of its own window, as it has said */
	uint64_t fin;	  /* of its peer; FAR */
	uint32_t top;	  /* behind all that has come */
	uint32_t window;
	uint8_t scale;
	uint8_t peer_scale;
	bool has_isn; /* its peer's */
	bool is_open;
	bool is_reset;
	uint8_t known[OUTPUT_MOST];
	uint8_t got[OUTPUT_MOST];
};

struct net {
	struct world world;
	struct end ends[2];
	struct wire wires[WIRES];
	uint32_t count;
	bool is_v6;
	uint8_t hooks[2];
	uint16_t mss;
};

static void send_wire(struct net *n, const uint8_t *bytes, uint32_t len, bool is_behind,
		      uint32_t skb_info)
{
	if (n->count == WIRES)
		return;
	n->wires[n->count++] = (struct wire){own(bytes, len), len, is_behind, skb_info};
}

static void deliver(struct world *w, const uint8_t *bytes, uint32_t len)
{
	send_wire((struct net *)w, bytes, len, true, 0);
}

static void store32(uint8_t *p, uint32_t value)
{
	store16(p, value >> 16);
	store16(p + 2, value & 0xffff);
}

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)load16(p) << 16 | load16(p + 2);
}

/* Making */

/* An IP header of an end's; its length. */
static uint32_t make_ip(const struct net *n, uint8_t *p, uint32_t direction, uint32_t len)
{
	memset(p, 0, 40);
	if (n->is_v6) {
		p[0] = 0x60;
		store16(p + 4, len);
		p[6] = IPPROTO_TCP;
		p[7] = 64;
		p[8] = p[24] = 0x20;
		p[23] = (uint8_t)(1 + direction);
		p[39] = (uint8_t)(2 - direction);
		return 40;
	}
	p[0] = 0x45;
	store16(p + 2, len + 20);
	p[8] = 64;
	p[9] = IPPROTO_TCP;
	p[12] = p[16] = 10;
	p[15] = (uint8_t)(1 + direction);
	p[19] = (uint8_t)(2 - direction);
	return 20;
}

static void make_sums(uint8_t *bytes, uint32_t len)
{
	struct ipq_packet packet = {.data = bytes, .data_len = len, .len = len};

	(void)ipq_sums_mend(&packet);
}

/* The blocks of what came early; how many bytes they take. */
static uint32_t make_sack(const struct end *e, uint8_t *p)
{
	uint32_t len = 4;

	memset(p, TCPOPT_NOP, 4);
	for (uint64_t at = e->received; at < e->top && len < 28; at++) {
		uint64_t from = at;

		while (at < e->top && e->known[at])
			at++;
		if (at == from)
			continue;
		store32(p + len, e->peer_isn + 1 + (uint32_t)from);
		store32(p + len + 4, e->peer_isn + 1 + (uint32_t)at);
		len += 8;
	}
	p[2] = TCPOPT_SACK;
	p[3] = (uint8_t)(len - 2);
	return len > 4 ? len : 0;
}

/* The window of a SYN is not scaled. */
static void offer(struct end *e, uint8_t scale)
{
	uint64_t edge = e->received + (e->window >> scale << scale);

	if (e->offered < edge)
		e->offered = edge;
}

/* A segment of an end's that begins at a position, with so many bytes of what it says; offset: and at so much before it. */
static void say(struct net *n, uint32_t direction, uint64_t at, uint32_t len, uint8_t flags)
{
	struct end *e = &n->ends[direction];
	uint8_t bytes[HEAD_MOST + SEGMENT_MOST], options[40], *tcp;
	uint32_t option_len = 0, head, ip;

	if (flags & TH_SYN) {
		memcpy(options, "\2\4\0\0\1\3\3\0\4\2\1\1", 12);
		store16(options + 2, n->mss);
		options[7] = e->scale;
		option_len = 12;
	} else {
		option_len = make_sack(e, options);
	}
	head = 20 + option_len;
	ip = make_ip(n, bytes, direction, head + len);
	tcp = bytes + ip;
	memset(tcp, 0, 20);
	store16(tcp, direction ? PORT : 4000);
	store16(tcp + 2, direction ? 4000 : PORT);
	store32(tcp + 4, e->isn + (flags & TH_SYN ? 0 : 1) + (uint32_t)at);
	if (flags & TH_ACK)
		store32(tcp + 8, e->peer_isn + 1 + (uint32_t)e->received);
	tcp[12] = (uint8_t)(head / 4 << 4);
	tcp[13] = flags;
	offer(e, flags & TH_SYN ? 0 : e->scale);
	store16(tcp + 14, e->window >> (flags & TH_SYN ? 0 : e->scale));
	memcpy(tcp + 20, options, option_len);
	for (uint32_t i = 0; i < len; i++)
		tcp[head + i] = said(direction, at + i);
	make_sums(bytes, ip + head + len);
	send_wire(n, bytes, ip + head + len, false, len > n->mss ? IPQ_SKB_GSO : 0);
	if (e->highest < at + len + (flags & TH_FIN ? 1 : 0))
		e->highest = at + len + (flags & TH_FIN ? 1 : 0);
}

/* Says so many bytes from there, or fewer: what has room, up to a FIN. Gives how many positions it was. */
static uint64_t say_data(struct net *n, uint32_t direction, uint64_t at, uint32_t len)
{
	struct end *e = &n->ends[direction];
	uint8_t flags = TH_ACK;
	uint64_t room = e->edge > at ? e->edge - at : 0;

	if (len > SEGMENT_MOST)
		len = SEGMENT_MOST;
	if (len > room)
		len = (uint32_t)room;
	if (at > e->size)
		return 0;
	if (len >= e->size - at) {
		len = (uint32_t)(e->size - at);
		flags |= TH_FIN;
	}
	if (!len && !(flags & TH_FIN))
		return 0;
	say(n, direction, at, len, flags);
	return len + (flags & TH_FIN ? 1 : 0);
}

static void say_next(struct net *n, uint32_t direction, uint32_t len)
{
	struct end *e = &n->ends[direction];

	if (e->is_open && !e->is_reset)
		e->next += say_data(n, direction, e->next, len);
}

static void say_again(struct net *n, uint32_t direction, uint32_t skipped, uint32_t len)
{
	struct end *e = &n->ends[direction];

	if (!e->is_open || e->is_reset || e->next == e->una)
		return;
	skipped %= (uint32_t)(e->next - e->una);
	len = 1 + len % (uint32_t)(e->next - e->una - skipped);
	(void)say_data(n, direction, e->una + skipped, len);
}

static void say_syn(struct net *n, uint32_t direction)
{
	struct end *e = &n->ends[direction];

	if (!e->is_reset && (direction ? e->has_isn && !e->received : !e->is_open))
		say(n, direction, 0, 0, direction ? TH_SYN | TH_ACK : TH_SYN);
}

/* Receiving */

static void take_syn(struct net *n, struct end *e, const uint8_t *tcp, uint32_t head)
{
	uint32_t seq = load32(tcp + 4);

	CHECK(!e->has_isn || e->peer_isn == seq);
	CHECK(head == 32 && load16(tcp + 22) <= n->mss);
	e->peer_isn = seq;
	e->peer_scale = tcp[27];
	if (!e->has_isn)
		e->edge = load16(tcp + 14);
	e->has_isn = true;
	/* The client has heard the answer. */
	if (tcp[13] & TH_ACK)
		e->is_open = true;
	if (e == &n->ends[1] && !e->is_open)
		say_syn(n, 1);
	else
		say(n, e == &n->ends[1], e->next, 0, TH_ACK);
}

static void take_sack(const struct end *e, uint8_t *tcp, uint32_t head)
{
	uint32_t i = 20;

	while (i + 10 <= head) {
		if (tcp[i] == TCPOPT_NOP) {
			i++;
			continue;
		}
		CHECK(tcp[i] == TCPOPT_SACK && tcp[i + 1] <= head - i);
		for (uint32_t j = 2; j + 8 <= tcp[i + 1]; j += 8) {
			uint32_t left = load32(tcp + i + j) - e->isn - 1;
			uint32_t right = load32(tcp + i + j + 4) - e->isn - 1;

			CHECK((int32_t)(right - left) > 0);
			CHECK((int32_t)(right - (uint32_t)e->highest) <= 0);
		}
		i += tcp[i + 1];
	}
}

static void take_ack(struct end *e, uint8_t *tcp, uint32_t head)
{
	/* An old one may say less than nothing. */
	int64_t position = (int32_t)(load32(tcp + 8) - e->isn - 1);
	uint64_t edge = (uint64_t)position + ((uint64_t)load16(tcp + 14) << e->peer_scale);

	CHECK(position <= (int64_t)e->highest);
	e->is_open = true;
	if (position >= (int64_t)e->una) {
		e->una = (uint64_t)position;
		if (e->edge < edge)
			e->edge = edge;
	}
	if (e->next < e->una)
		e->next = e->una;
	take_sack(e, tcp, head);
}

static void take_bytes(struct end *e, uint64_t at, const uint8_t *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		int64_t pos = (int64_t)at + i;

		if (pos < 0)
			continue;
		/* One may ask whether there is room. */
		CHECK((uint64_t)pos < e->offered || len == 1);
		CHECK(pos < OUTPUT_MOST);
		CHECK(!e->known[pos] || e->got[pos] == bytes[i]);
		if ((uint64_t)pos >= e->offered)
			continue;
		e->known[pos] = 1;
		e->top = e->top > pos ? e->top : (uint32_t)pos + 1;
		e->got[pos] = bytes[i];
	}
	while (e->received < OUTPUT_MOST && e->known[e->received])
		e->received++;
}

static void arrive(struct net *n, uint8_t *bytes, uint32_t len)
{
	struct ipq_packet packet = {.data = bytes, .data_len = len, .len = len};
	uint32_t direction;
	struct end *e;
	uint8_t *tcp;
	int32_t at;

	ipq_header_parse(&packet);
	CHECK(packet.l4 && !packet.malformed && packet.end == len);
	CHECK(ipq_sums_wrong(&packet) == 0);
	tcp = bytes + packet.l4;
	direction = load16(tcp + 2) == PORT;
	e = &n->ends[direction];
	if (tcp[13] & TH_RST)
		e->is_reset = true;
	if (e->is_reset)
		return;
	if (tcp[13] & TH_SYN) {
		take_syn(n, e, tcp, packet.body - packet.l4);
		return;
	}
	if (!e->has_isn)
		return;
	if (tcp[13] & TH_ACK)
		take_ack(e, tcp, packet.body - packet.l4);
	at = (int32_t)(load32(tcp + 4) - e->peer_isn - 1 - (uint32_t)e->received);
	len = (uint32_t)packet.end - packet.body;
	if (tcp[13] & TH_FIN) {
		uint64_t fin = e->received + (uint64_t)(int64_t)at + len;

		CHECK(e->fin == FAR || e->fin == fin);
		e->fin = fin;
	}
	take_bytes(e, e->received + (uint64_t)(int64_t)at, bytes + packet.body, len);
	if (e->received == e->fin)
		e->received++;
	if (len || tcp[13] & TH_FIN || at < 0)
		say(n, direction, e->next, 0, TH_ACK);
}

static bool is_over(const struct net *n)
{
	return n->ends[0].is_reset || n->ends[1].is_reset ||
	       n->world.streams.counts[IPQ_STREAMS_RESET] ||
	       (n->ends[0].received > n->ends[0].fin && n->ends[1].received > n->ends[1].fin);
}

/* The network */

static void lose(struct net *n, uint32_t i)
{
	free(n->wires[i].bytes);
	n->wires[i] = n->wires[--n->count];
}

/* A SYN that comes when both ends have closed. The flow table has the numbers as they come: what is acknowledged of text
 * may close the flow for it too early, and then a SYN of before begins another one. */
static bool is_late_syn(const struct net *n, const uint8_t *bytes)
{
	return bytes[(n->is_v6 ? 40 : 20) + 13] == TH_SYN && n->ends[0].highest > n->ends[0].size &&
	       n->ends[1].highest > n->ends[1].size;
}

/* The ith packet goes on. Where it is to be lost afterwards it may come again. */
static void go_on(struct net *n, uint32_t i)
{
	struct wire *wire = &n->wires[i % n->count];
	struct ipq_packet like = {.skb_info = wire->skb_info};
	uint8_t *bytes = own(wire->bytes, wire->len);
	uint32_t len = wire->len;
	bool is_behind = wire->is_behind;

	lose(n, i % n->count);
	if (is_late_syn(n, bytes)) {
		free(bytes);
		return;
	}
	if (is_behind) {
		arrive(n, bytes, len);
	} else {
		like.present = IPQ_HAS_SKB_INFO;
		like.hook = n->hooks[load16(bytes + (n->is_v6 ? 40 : 20)) == PORT];
		judge(&n->world, bytes, len, like);
		end_flows(&n->world);
		look(&n->world, 0);
	}
	free(bytes);
}

static void twice(struct net *n, uint32_t i)
{
	struct wire *wire = &n->wires[i % n->count];

	send_wire(n, wire->bytes, wire->len, wire->is_behind, wire->skb_info);
}

/* What an end says that has nothing to say, of 0 bytes or of 1. */
static void probe(struct net *n, uint32_t direction, bool has_byte)
{
	struct end *e = &n->ends[direction];

	if (e->is_open && !e->is_reset && e->next && e->una == e->next)
		say(n, direction, e->next - 1, has_byte && e->next <= e->size, TH_ACK);
}

static void happen(struct net *n)
{
	struct world *w = &n->world;
	uint8_t what = take8(&w->in), which = take8(&w->in), more = what >> 4;

	switch (what & 15) {
	case 0:
	case 1: say_next(n, what & 1, which); break;
	case 2: say_next(n, more & 1, which * 16U); break;
	case 3: say_again(n, more & 1, which, take8(&w->in)); break;
	case 4: say_again(n, more & 1, which * 4U, take8(&w->in) * 16U); break;
	case 5:
		if (n->count)
			lose(n, which % n->count);
		break;
	case 6:
		if (n->count)
			twice(n, which);
		break;
	case 7:
		w->streams.now_us += which * 4000;
		overdue(w);
		break;
	case 8: probe(n, more & 1, more & 2); break;
	case 9: n->ends[more & 1].window = 1 + which * 20U; break;
	case 10: say_syn(n, more & 1); break;
	case 11:
		if (which > 253) {
			say(n, more & 1, n->ends[more & 1].next, 0, TH_RST | TH_ACK);
			n->ends[more & 1].is_reset = true;
		}
		break;
	case 12:
		if (which == 255 && more == 15)
			ipq_stream_reset(&w->streams, 0);
		break;
	default:
		for (uint32_t i = 0; i < more + 1U && n->count && !is_over(n); i++)
			go_on(n, which);
		break;
	}
}

/* The network is well again: what is not acknowledged is said again until all is. */
static void finish(struct net *n)
{
	for (uint32_t round = 0; round < ROUNDS && !is_over(n); round++) {
		say_syn(n, 0);
		for (uint32_t i = 0; i < 2; i++) {
			struct end *e = &n->ends[i];

			e->window = 5000;
			if (e->is_open)
				e->next = e->una + say_data(n, i, e->una, n->mss);
			probe(n, i, false);
		}
		for (uint32_t turns = 0; n->count && !is_over(n) && turns < 300; turns++)
			go_on(n, 0);
		n->world.streams.now_us += 100000;
		overdue(&n->world);
	}
}

static void bytes_check(struct net *n, uint32_t direction)
{
	const struct end *e = &n->ends[direction];
	struct handler *h = &n->world.handlers[!direction];

	/* A handler may have skipped more than there is, or waits for bytes that are passed as they come. */
	if (e->top > h->len || (e->fin != FAR && e->received > e->fin))
		refer(h, !direction, h->size);
	for (uint32_t i = 0; i < e->top; i++)
		if (e->known[i])
			CHECK(i < h->len && e->got[i] == h->output[i]);
	if (e->fin != FAR && e->received > e->fin)
		CHECK(e->fin == h->len);
}

static void net_new(struct net *n)
{
	struct input *in = &n->world.in;
	uint8_t bits = take8(in), more = take8(in);
	static const uint8_t hooks[] = {NF_INET_LOCAL_IN, NF_INET_FORWARD, NF_INET_LOCAL_OUT,
					NF_INET_POST_ROUTING};

	n->is_v6 = bits & 1;
	n->world.streams.edits = !(bits & 2) || bits & 4;
	n->world.streams.on_limit = bits & 8 ? IPQ_STREAM_RESETS : IPQ_STREAM_PASSES;
	n->world.refuses = bits & 16 ? 1 + (more & 7) : 0;
	n->mss = bits & 32 ? 200 : 1200;
	n->hooks[0] = hooks[more >> 3 & 3];
	n->hooks[1] = hooks[more >> 5 & 3];
	for (uint32_t i = 0; i < 2; i++) {
		struct end *e = &n->ends[i];

		e->isn = bits & 64 ? UINT32_MAX - take8(in) : 1000 * (i + 1);
		e->size = take16(in) % SAID_MOST;
		e->window = 1 + take8(in) * 200U;
		e->scale = bits & 128 ? more & 7 : 0;
		e->fin = FAR;
		n->world.handlers[i].size = e->size;
		n->world.handlers[i].waits = NOTHING;
	}
	n->world.handlers[1].has_left = more & 128;
	if (more & 128)
		refer(&n->world.handlers[1], 1, n->ends[1].size);
	n->world.deliver = deliver;
	world_new(&n->world);
}

static void be_honest(struct net *n)
{
	for (uint32_t i = 0; i < IPQ_FLOW_TIMEOUTS; i++)
		n->world.flows.timeout_ms[i] = 1 << 30;
	say_syn(n, 0);
	while (n->world.in.len && !is_over(n))
		happen(n);
	finish(n);
	CHECK(is_over(n));
	for (uint32_t i = 0; i < 2; i++)
		bytes_check(n, i);
}

/* Any bytes */

/* Over the head, the records or the first chunks; and another process begins to work with them. */
static void damage(struct net *n)
{
	struct world *w = &n->world;
	uint8_t what = take8(&w->in);
	uint32_t at =
		(what & 1 ? 0 : IPQ_STREAM_HEAD_SIZE) + take16(&w->in) % (what & 2 ? 600 : 4096);
	size_t len = 1 + (what >> 4);
	const uint8_t *bytes = take(&w->in, &len);

	if (at + len <= w->size)
		memcpy((uint8_t *)w->memory + at, bytes, len);
	if (what & 8) {
		ipq_streams_detach(&w->streams);
		CHECK(w->held == 0);
		world_attach(w);
	}
}

/* A segment that is near to what the ends know, or far. */
static void any_segment(struct net *n)
{
	struct input *in = &n->world.in;
	uint8_t what = take8(in), flags = take8(in), far = take8(in);
	uint32_t direction = what & 1, option_len = what >> 4 & 7, len = take8(in), ip, head;
	uint8_t bytes[HEAD_MOST + 2048], *tcp;
	struct ipq_packet like = {.present = IPQ_HAS_SKB_INFO};
	size_t n_options = (option_len & 7) * 4;
	const uint8_t *options;

	len = what & 128 ? len * 8 : len & 31;
	options = take(in, &n_options);
	head = 20 + (uint32_t)n_options / 4 * 4;
	ip = make_ip(n, bytes, direction, head + len);
	tcp = bytes + ip;
	memset(tcp, 0, 20);
	store16(tcp, direction ? PORT : 4000 + (what >> 1 & 1));
	store16(tcp + 2, direction ? 4000 + (what >> 1 & 1) : PORT);
	store32(tcp + 4, 1000 * (direction + 1) + take16(in) + ((uint32_t)(far & 15) << 28));
	store32(tcp + 8, 1000 * (2 - direction) + take16(in) + ((uint32_t)(far >> 4) << 28));
	tcp[12] = (uint8_t)(head / 4 << 4);
	tcp[13] = flags;
	store16(tcp + 14, take16(in));
	store16(tcp + 18, far * 5U);
	memcpy(tcp + 20, options, head - 20);
	memset(tcp + head, far, len);
	make_sums(bytes, ip + head + len);
	what = take8(in);
	tcp[16] ^= what & 1;
	if (what & 2)
		like.skb_info |= IPQ_SKB_CSUM_NOTVERIFIED;
	if (what & 4)
		like.skb_info |= IPQ_SKB_GSO;
	like.hook = n->hooks[direction];
	if (what & 8)
		like.hook = what >> 5 & 3;
	len += ip + head;
	like.len = len;
	if (what & 16)
		len = what * 7 % (len + 1);
	judge(&n->world, bytes, len, like);
}

static void any_operation(struct net *n)
{
	struct world *w = &n->world;
	uint8_t what = take8(&w->in);

	if (what < 16)
		damage(n);
	else if (what < 24)
		ipq_stream_reset(&w->streams, what & 7);
	else if (what < 32)
		w->streams.now_us += (int64_t)take16(&w->in) * (what & 1 ? 1000 : 1000000);
	else if (what < 36)
		(void)ipq_flows_sweep(&w->flows, w->streams.now_us, ENTRIES);
	else if (what < 40)
		ipq_streams_exit(&w->streams);
	else
		any_segment(n);
	end_flows(w);
	overdue(w);
	while (n->count)
		lose(n, 0);
}

static void be_hostile(struct net *n)
{
	for (uint32_t i = 0; i < 2; i++)
		n->world.handlers[i].size = FAR;
	while (n->world.in.len)
		any_operation(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct net *n = calloc(1, sizeof(*n));

	CHECK(n);
	n->world.in = (struct input){bytes, len};
	n->world.is_hostile = take8(&n->world.in) & 1;
	net_new(n);
	if (n->world.is_hostile)
		be_hostile(n);
	else
		be_honest(n);
	world_free(&n->world);
	while (n->count)
		lose(n, 0);
	free(n);
	return 0;
}
