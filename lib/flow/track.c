/* What a flow's packets make of it: counters, times, and a connection's state. */
#include "table.h"
#include "lib/bytes.h"
#include "lib/packet/packet.h"

#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

enum {
	/* How far from what was seen last a sequence number may be to be believed. Windows are not
	 * kept, so that these stand for them. */
	NEAR_FIN = 1 << 20,
	NEAR_JUMP = 1 << 24,
	HOOK_MASK = 7
};

/* A TCP header, as far as it matters here. */
struct segment {
	uint32_t seq;
	uint32_t end; /* the sequence number behind it */
	uint32_t ack;
	uint8_t flags;
};

/* The IP packet's bytes on the wire, those of a link behind it left out where it tells its length. */
static uint32_t wire_len(const struct ipq_packet *packet)
{
	uint32_t there = packet->data_len - packet->l3;
	uint32_t wire = packet->len > packet->data_len ? packet->len - packet->l3 : there;
	uint32_t total = ipq_header_total(packet->data + packet->l3, there);

	return total && total < wire ? total : wire;
}

/* len: the packet's bytes from its IP header on. */
static struct segment segment_of(const struct ipq_packet *packet, uint32_t len)
{
	const uint8_t *tcp = packet->data + packet->l4;
	struct segment s = {ipq_load32(tcp + 4), 0, ipq_load32(tcp + 8), tcp[13]};
	uint32_t headers = (uint32_t)packet->body - packet->l3;

	s.end = s.seq + (len > headers ? len - headers : 0) + !!(s.flags & TH_SYN) +
		!!(s.flags & TH_FIN);
	if (!(s.flags & TH_ACK))
		s.ack = 0;
	return s;
}

static bool is_tcp(const struct ipq_packet *packet)
{
	return packet->protocol == IPPROTO_TCP && packet->l4;
}

static int32_t ahead(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

static bool is_near(uint32_t a, uint32_t b, int32_t most)
{
	return ahead(a, b) <= most && ahead(b, a) <= most;
}

static bool is_known(const struct ipq_flow_seq *seq)
{
	return seq->edge || seq->ack;
}

/* What a direction has sent; nothing of the reply while the memory has links. */
static struct ipq_flow_seq seq_of(const struct ipq_flow *flow, uint32_t direction)
{
	if (direction && flow->bits & IPQ_FLOW_QUEUED)
		return (struct ipq_flow_seq){0, 0};
	return flow->seq[direction];
}

static uint8_t fin_of(uint32_t direction)
{
	return direction ? IPQ_FLOW_FIN_REPLY : IPQ_FLOW_FIN;
}

static bool is_fin_acked(const struct ipq_flow *flow, uint32_t direction)
{
	struct ipq_flow_seq sent = seq_of(flow, direction), other = seq_of(flow, !direction);

	return is_known(&other) && ahead(other.ack, sent.edge) >= 0;
}

/* RFC 9293 section 3.6, seen from between the two ends. */
static uint8_t closing_state(const struct ipq_flow *flow)
{
	bool original = flow->bits & IPQ_FLOW_FIN, reply = flow->bits & IPQ_FLOW_FIN_REPLY;

	if (original && reply)
		return is_fin_acked(flow, 0) && is_fin_acked(flow, 1) ? IPQ_FLOW_CLOSED
								      : IPQ_FLOW_LAST_ACK;
	return is_fin_acked(flow, reply) ? IPQ_FLOW_CLOSE_WAIT : IPQ_FLOW_FIN_WAIT;
}

/* A closed flow is among those that go first: nobody reads its sequence numbers any more. */
static void set_closed(struct ipq_flows *flows, uint32_t number)
{
	struct ipq_flow *flow = &flows->records[number];

	ipq_flow_change(flows);
	ipq_flow_set_state(flow, IPQ_FLOW_CLOSED);
	if (!(flow->bits & IPQ_FLOW_QUEUED))
		ipq_flow_queue(flows, number);
	ipq_flow_changed(flows);
}

static void unqueue(struct ipq_flows *flows, uint32_t number)
{
	ipq_flow_change(flows);
	ipq_flow_unqueue(flows, number);
	ipq_flow_changed(flows);
}

/* Whether it acknowledges the original direction's SYN, and no more than came with it: whose number stands
 * for its acknowledgement until it is answered. */
static bool is_syn_acked(const struct ipq_flow *flow, uint32_t ack)
{
	return ack - flow->seq[0].ack - 1 <= flow->seq[0].edge - flow->seq[0].ack - 1;
}

/* RFC 5961 section 3.2, as conntrack has it: a reset is one where it is exactly what its receiver waits for,
 * or follows what its sender has sent. Its receiver answers all others. To a SYN it has to acknowledge
 * that (RFC 9293 section 3.10.7.3). */
static bool is_reset(const struct ipq_flow *flow, const struct segment *s, uint32_t direction)
{
	struct ipq_flow_seq sent = seq_of(flow, direction), other = seq_of(flow, !direction);

	if (flow->state == IPQ_FLOW_SYN_SENT && direction == 1)
		return s->flags & TH_ACK && is_syn_acked(flow, s->ack);
	if (!is_known(&sent) && !is_known(&other))
		return true;
	return (is_known(&other) && other.ack && s->seq == other.ack) ||
	       (is_known(&sent) && s->seq == sent.edge);
}

static void follow_reset(struct ipq_flows *flows, uint32_t number, const struct segment *s,
			 uint32_t direction)
{
	struct ipq_flow *flow = &flows->records[number];

	if (flow->state == IPQ_FLOW_CLOSED || !is_reset(flow, s, direction))
		return;
	flow->bits &= (uint8_t) ~(IPQ_FLOW_FIN | IPQ_FLOW_FIN_REPLY);
	flow->bits |= IPQ_FLOW_RESET | fin_of(direction);
	set_closed(flows, number);
}

/* The receiver has not taken the reset, where its alleged sender goes on. */
static void revive(struct ipq_flow *flow, uint32_t direction)
{
	if (!(flow->bits & IPQ_FLOW_RESET) || !(flow->bits & fin_of(direction)))
		return;
	flow->bits &= (uint8_t) ~(IPQ_FLOW_FIN | IPQ_FLOW_FIN_REPLY | IPQ_FLOW_RESET);
	flow->state = IPQ_FLOW_MIDSTREAM;
}

/* Where sequence numbers jump, as when packets were not queued for a while, they are believed if the
 * acknowledgement fits. A FIN ends what a direction sends. */
static void follow_seq(struct ipq_flow *flow, const struct segment *s, uint32_t direction)
{
	struct ipq_flow_seq sent = seq_of(flow, direction), other = seq_of(flow, !direction);
	bool fits =
		s->flags & TH_ACK && (!is_known(&other) || is_near(s->ack, other.edge, NEAR_JUMP));
	bool has_more = !(flow->bits & fin_of(direction)) && ahead(s->end, sent.edge) > 0;

	if (!is_known(&sent) || (is_near(s->seq, sent.edge, NEAR_FIN) ? has_more : fits))
		sent.edge = s->end;
	if (fits &&
	    (!sent.ack || ahead(s->ack, sent.ack) > 0 || !is_near(s->ack, sent.ack, NEAR_JUMP)))
		sent.ack = s->ack;
	if (direction == 0 || !(flow->bits & IPQ_FLOW_QUEUED))
		flow->seq[direction] = sent;
}

static void follow_syn(struct ipq_flow *flow, const struct segment *s, uint32_t direction)
{
	bool has_ack = s->flags & TH_ACK;

	if (flow->state == IPQ_FLOW_SYN_SENT && direction == 0 && !has_ack) {
		flow->seq[0] = (struct ipq_flow_seq){s->end, s->seq};
	} else if (flow->state == IPQ_FLOW_SYN_SENT && direction == 1 &&
		   (!has_ack || is_syn_acked(flow, s->ack))) {
		flow->seq[0].ack = 0;
		flow->seq[1] = (struct ipq_flow_seq){s->end, s->ack};
		flow->state = IPQ_FLOW_SYN_RECV;
	} else if (flow->state == IPQ_FLOW_SYN_RECV && direction == 0 && has_ack &&
		   s->ack == seq_of(flow, 1).edge) {
		flow->seq[0].ack = s->ack;
		flow->state = IPQ_FLOW_ESTABLISHED;
	}
}

/* Whether what is neither a SYN nor a reset answers one; true where none is to be answered. Where one
 * direction alone is queued it is the acknowledgement of an answer that was not seen. Of the other
 * direction an acknowledgement of something else is an old connection's. */
static bool answers_syn(struct ipq_flow *flow, const struct segment *s, uint32_t direction)
{
	struct ipq_flow_seq other = seq_of(flow, !direction);
	bool has_ack = s->flags & TH_ACK;

	if (flow->state == IPQ_FLOW_SYN_SENT) {
		if (!has_ack || (direction == 1 && !is_syn_acked(flow, s->ack)))
			return false;
		flow->seq[0].ack = 0;
		flow->state = IPQ_FLOW_ESTABLISHED;
	} else if (flow->state == IPQ_FLOW_SYN_RECV && direction == 0 && has_ack &&
		   other.edge - s->ack < UINT16_MAX) {
		flow->state = IPQ_FLOW_ESTABLISHED;
	}
	return true;
}

static void follow_data(struct ipq_flows *flows, uint32_t number, const struct segment *s,
			uint32_t direction)
{
	struct ipq_flow *flow = &flows->records[number];
	struct ipq_flow_seq sent = seq_of(flow, direction);
	bool is_fin =
		s->flags & TH_FIN && (!is_known(&sent) || is_near(s->seq, sent.edge, NEAR_FIN));

	if (!answers_syn(flow, s, direction))
		return;
	follow_seq(flow, s, direction);
	if (is_fin)
		flow->bits |= fin_of(direction);
	if (!(flow->bits & (IPQ_FLOW_FIN | IPQ_FLOW_FIN_REPLY)))
		return;
	if (closing_state(flow) == IPQ_FLOW_CLOSED)
		set_closed(flows, number);
	else
		flow->state = closing_state(flow);
}

static void follow_tcp(struct ipq_flows *flows, uint32_t number, struct segment s,
		       uint32_t direction)
{
	struct ipq_flow *flow = &flows->records[number];

	if (s.flags & TH_RST) {
		follow_reset(flows, number, &s, direction);
		return;
	}
	if (flow->state == IPQ_FLOW_CLOSED && !(s.flags & TH_SYN))
		revive(flow, direction);
	if (direction == 1 && flow->bits & IPQ_FLOW_QUEUED && flow->state != IPQ_FLOW_CLOSED)
		unqueue(flows, number);
	if (s.flags & TH_SYN) {
		follow_syn(flow, &s, direction);
		return;
	}
	if (flow->state != IPQ_FLOW_CLOSED)
		follow_data(flows, number, &s, direction);
}

static void count(struct ipq_flow *flow, uint32_t len, uint32_t direction)
{
	const uint32_t shift = direction * 4;
	uint32_t high = flow->high >> shift & 15;

	flow->bytes[direction] += len;
	if (flow->packets[direction] == UINT32_MAX && high == 15)
		return;
	if (++flow->packets[direction] == 0)
		flow->high = (uint8_t)((flow->high & ~(15U << shift)) | (high + 1) << shift);
}

void ipq_flow_begin(struct ipq_flow *flow, const struct ipq_packet *packet, uint32_t end,
		    uint32_t now_ms)
{
	uint32_t len = wire_len(packet);
	uint8_t state = IPQ_FLOW_NEW;
	struct segment s;

	memset(flow->seq, 0, sizeof(flow->seq));
	memset(flow->fields, 0, sizeof(flow->fields));
	flow->bits = (uint8_t)((end ? IPQ_FLOW_ORIGIN : 0) | (packet->hook & HOOK_MASK)
								     << IPQ_FLOW_HOOK_SHIFT);
	flow->decision = 0;
	flow->high = 0;
	flow->packets[0] = flow->packets[1] = 0;
	flow->bytes[0] = flow->bytes[1] = 0;
	flow->first_ms = flow->last_ms = now_ms;
	count(flow, len, 0);
	if (is_tcp(packet)) {
		s = segment_of(packet, len);
		flow->seq[0] = (struct ipq_flow_seq){s.end, s.ack};
		state = IPQ_FLOW_MIDSTREAM;
		if (s.flags & TH_RST) {
			state = IPQ_FLOW_CLOSED;
			flow->bits |= IPQ_FLOW_RESET | IPQ_FLOW_FIN;
		} else if (s.flags & TH_FIN) {
			state = IPQ_FLOW_FIN_WAIT;
			flow->bits |= IPQ_FLOW_FIN;
		} else if (s.flags & TH_SYN && !(s.flags & TH_ACK)) {
			flow->seq[0].ack = s.seq;
			state = IPQ_FLOW_SYN_SENT;
		}
	}
	ipq_flow_set_state(flow, state);
}

void ipq_flow_follow(struct ipq_flows *flows, uint32_t number, const struct ipq_packet *packet,
		     uint32_t direction, uint32_t now_ms)
{
	struct ipq_flow *flow = &flows->records[number];
	uint32_t len = wire_len(packet);
	bool is_answer = direction == 1 && !ipq_flow_is_replied(flow);

	if (is_answer)
		flow->decision = (uint8_t)((flow->decision & IPQ_FLOW_DECISION_MASK) |
					   (packet->hook & HOOK_MASK) << IPQ_FLOW_HOOK_SHIFT);
	else if ((packet->hook & HOOK_MASK) != ipq_flow_hook(flow, direction))
		return;
	flow->last_ms = now_ms;
	/* What began so long ago is told as less. */
	if (now_ms - flow->first_ms > UINT32_MAX - (1U << 28) &&
	    now_ms - flow->first_ms < UINT32_MAX - (1U << 27))
		flow->first_ms = now_ms - (UINT32_MAX - (1U << 28));
	if (is_tcp(packet)) {
		follow_tcp(flows, number, segment_of(packet, len), direction);
	} else if (direction == 1 && flow->state == IPQ_FLOW_NEW) {
		if (flow->bits & IPQ_FLOW_QUEUED)
			unqueue(flows, number);
		flow->state = IPQ_FLOW_STREAM;
	}
	count(flow, len, direction);
}

bool ipq_flow_is_reopened(const struct ipq_flow *flow, const struct ipq_packet *packet)
{
	uint8_t flags;

	if (!is_tcp(packet))
		return false;
	flags = packet->data[packet->l4 + 13];
	if ((flags & (TH_SYN | TH_ACK | TH_RST | TH_FIN)) != TH_SYN)
		return false;
	if (ipq_flow_is_replied(flow))
		return flow->state == IPQ_FLOW_CLOSED;
	/* Nobody has answered what was seen before; it may have been an old connection's. */
	return flow->state != IPQ_FLOW_SYN_SENT && flow->state != IPQ_FLOW_ESTABLISHED;
}

static uint32_t timeout_of(const struct ipq_flow *flow)
{
	switch (flow->key.protocol) {
	case IPPROTO_TCP:
		if (flow->state == IPQ_FLOW_ESTABLISHED)
			return IPQ_FLOW_TCP;
		if (flow->state == IPQ_FLOW_MIDSTREAM)
			return ipq_flow_is_replied(flow) ? IPQ_FLOW_TCP : IPQ_FLOW_TCP_OPENING;
		return flow->state <= IPQ_FLOW_SYN_RECV ? IPQ_FLOW_TCP_OPENING
							: IPQ_FLOW_TCP_CLOSING;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return flow->state == IPQ_FLOW_STREAM ? IPQ_FLOW_UDP_STREAM : IPQ_FLOW_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: return IPQ_FLOW_ICMP;
	default: return IPQ_FLOW_OTHER;
	}
}

/* A last packet in the future is one from before the clock was set back. */
bool ipq_flow_is_over(const struct ipq_flows *flows, const struct ipq_flow *flow, uint32_t now_ms)
{
	int32_t age = ahead(now_ms, flow->last_ms);
	uint32_t timeout = flows->timeout_ms[timeout_of(flow)];

	return (age < 0 ? 0U - (uint32_t)age : (uint32_t)age) >= timeout;
}

uint32_t ipq_flow_reason(const struct ipq_flow *flow, uint32_t otherwise)
{
	if (flow->bits & IPQ_FLOW_RESET)
		return IPQ_FLOW_END_RESET;
	/* Where one direction alone is queued its FIN is all that is seen of the end. */
	if (flow->state == IPQ_FLOW_CLOSED || flow->state == IPQ_FLOW_LAST_ACK ||
	    (flow->bits & IPQ_FLOW_FIN && !ipq_flow_is_replied(flow)))
		return IPQ_FLOW_END_CLOSED;
	return otherwise;
}

double ipq_flow_packets(const struct ipq_flow *flow, uint32_t direction)
{
	direction &= 1;
	return flow->packets[direction] + (flow->high >> direction * 4 & 15) * 4294967296.0;
}

/* A time that seems to lie far in the past may lie in the future, by a clock that was set back. */
static int64_t us_of(const struct ipq_flows *flows, uint32_t ms)
{
	uint32_t age = ipq_flow_ms(flows->now_us) - ms;

	if (age > UINT32_MAX - (1U << 27))
		return flows->now_us + (int64_t)(0U - age) * 1000;
	return flows->now_us - (int64_t)age * 1000;
}

int64_t ipq_flow_first_us(const struct ipq_flows *flows, const struct ipq_flow *flow)
{
	return us_of(flows, flow->first_ms);
}

int64_t ipq_flow_last_us(const struct ipq_flows *flows, const struct ipq_flow *flow)
{
	return us_of(flows, flow->last_ms);
}

uint32_t ipq_flow_hook(const struct ipq_flow *flow, uint32_t direction)
{
	return (direction && ipq_flow_is_replied(flow) ? flow->decision : flow->bits) >>
	       IPQ_FLOW_HOOK_SHIFT;
}

static double number_of(double value)
{
	return isnan(value) ? (double)NAN : value;
}

double ipq_flow_bytes(const struct ipq_flow *flow, uint32_t direction)
{
	return number_of(flow->bytes[direction & 1]);
}

double ipq_flow_field(const struct ipq_flow *flow, uint32_t place)
{
	return place < IPQ_FLOW_FIELDS ? number_of(flow->fields[place]) : 0;
}

void ipq_flow_decide(struct ipq_flow *flow, uint32_t decision)
{
	flow->decision = (uint8_t)((flow->decision & ~IPQ_FLOW_DECISION_MASK) |
				   (decision & IPQ_FLOW_DECISION_MASK));
}

uint32_t ipq_flow_decision(const struct ipq_flow *flow)
{
	return flow->decision & IPQ_FLOW_DECISION_MASK;
}

const char *ipq_flow_state_word(uint32_t state)
{
	static const char *const words[IPQ_FLOW_STATES] = {
		NULL,	    "new",	  "stream",   "syn_sent", "syn_recv", "established",
		"fin_wait", "close_wait", "last_ack", "closed",	  "midstream"};

	return state < IPQ_FLOW_STATES ? words[state] : NULL;
}

const char *ipq_flow_reason_word(uint32_t reason)
{
	switch (reason) {
	case IPQ_FLOW_END_CLOSED: return "closed";
	case IPQ_FLOW_END_RESET: return "reset";
	case IPQ_FLOW_END_TIMEOUT: return "timeout";
	case IPQ_FLOW_END_EVICTED: return "evicted";
	default: return NULL;
	}
}
