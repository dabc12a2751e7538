/* Flows: found, made, evicted, ended. */
#include "table.h"
#include "lib/packet/packet.h"

#include <netinet/in.h>

/* Copies a flow that ends into the ring; who asks for it sees it once its record is free. */
static void note_end(struct ipq_flows *flows, uint32_t number, uint32_t reason)
{
	struct ipq_flow_head *head = flows->head;
	uint32_t end = ipq_flow_read(&head->ring_end);
	struct ipq_flow_ended *ended = &flows->ring[end % IPQ_FLOW_RING];

	if (!flows->wants_ended)
		return;
	if (end - ipq_flow_read(&head->ring_start) >= IPQ_FLOW_RING)
		return;
	ended->flow = flows->records[number];
	ended->number = number;
	ended->reason = reason;
}

static void tell_end(struct ipq_flows *flows)
{
	struct ipq_flow_head *head = flows->head;
	uint32_t end = ipq_flow_read(&head->ring_end);

	if (flows->wants_ended && end - ipq_flow_read(&head->ring_start) < IPQ_FLOW_RING)
		ipq_flow_write(&head->ring_end, end + 1);
}

/* Ends a live flow. Within a change. */
static void end_flow(struct ipq_flows *flows, uint32_t number, uint64_t hash, uint32_t reason)
{
	struct ipq_flow *flow = &flows->records[number];

	note_end(flows, number, ipq_flow_reason(flow, reason));
	ipq_flow_set_state(flow, IPQ_FLOW_NONE);
	tell_end(flows);
	ipq_flow_leave(flows, number, hash);
	if (flow->bits & IPQ_FLOW_QUEUED)
		ipq_flow_unqueue(flows, number);
	ipq_flow_give(flows, number);
	ipq_flow_write(&flows->head->live, ipq_flow_read(&flows->head->live) - 1);
}

/* The flow that will be evicted next: its hash is found while its record is at hand, and what ending it
 * will need is fetched. */
static void aim(struct ipq_flows *flows)
{
	uint32_t number = ipq_flow_read(&flows->head->first);
	const struct ipq_flow *flow = ipq_flow_at(flows, number), *next;

	flows->victim = flow ? number : IPQ_FLOW_NOBODY;
	if (!flow)
		return;
	flows->victim_hash = ipq_flow_hash(flows->key, &flow->key);
	__builtin_prefetch(ipq_flow_bucket(flows, flows->victim_hash), 1);
	next = ipq_flow_at(flows, ipq_flow_read(&flow->seq[1].ack));
	if (next) {
		__builtin_prefetch(next, 1);
		__builtin_prefetch((const char *)next + 64, 1);
	}
}

/* Evicts the oldest of those that are evicted first. False: there are none, or in a damaged table. */
static bool evict_first(struct ipq_flows *flows)
{
	uint32_t number = ipq_flow_read(&flows->head->first);
	struct ipq_flow *flow = ipq_flow_at(flows, number);
	uint64_t hash;

	if (!flow || !ipq_flow_is_live(flow) || !(flow->bits & IPQ_FLOW_QUEUED)) {
		ipq_flow_write(&flows->head->first, IPQ_FLOW_NOBODY);
		ipq_flow_write(&flows->head->last, IPQ_FLOW_NOBODY);
		return false;
	}
	hash = flows->victim == number ? flows->victim_hash : ipq_flow_hash(flows->key, &flow->key);
	end_flow(flows, number, hash, IPQ_FLOW_END_EVICTED);
	aim(flows);
	return true;
}

/* The one of two flows that matters less: that which is evicted first, else that which was silent for
 * longer. */
static bool matters_less(const struct ipq_flow *flow, const struct ipq_flow *than, uint32_t now_ms)
{
	bool is_queued = flow->bits & IPQ_FLOW_QUEUED;

	if (is_queued != !!(than->bits & IPQ_FLOW_QUEUED))
		return is_queued;
	return now_ms - flow->last_ms > now_ms - than->last_ms;
}

/* Evicts the one of both buckets' flows that matters least. False: there are none. */
static bool evict_near(struct ipq_flows *flows, uint64_t hash, uint32_t now_ms)
{
	const struct ipq_flow_bucket *buckets[2] = {ipq_flow_bucket(flows, hash),
						    ipq_flow_bucket_2(flows, hash)};
	uint32_t found = IPQ_FLOW_NOBODY, number;
	const struct ipq_flow *flow;

	for (uint32_t i = 0; i < 2 * IPQ_FLOW_SLOTS; i++) {
		const struct ipq_flow_bucket *bucket = buckets[i / IPQ_FLOW_SLOTS];

		if (!bucket->tags[i % IPQ_FLOW_SLOTS])
			continue;
		number = ipq_flow_read(&bucket->numbers[i % IPQ_FLOW_SLOTS]);
		flow = ipq_flow_at(flows, number);
		if (flow && ipq_flow_is_live(flow) &&
		    (found == IPQ_FLOW_NOBODY ||
		     matters_less(flow, &flows->records[found], now_ms)))
			found = number;
	}
	if (found == IPQ_FLOW_NOBODY)
		return false;
	flow = &flows->records[found];
	end_flow(flows, found, ipq_flow_hash(flows->key, &flow->key), IPQ_FLOW_END_EVICTED);
	return true;
}

/* A free record, for which a flow may have to go. */
static uint32_t make_room(struct ipq_flows *flows, uint64_t hash, uint32_t now_ms)
{
	uint32_t limit = flows->limit < flows->entries ? flows->limit : flows->entries;
	uint32_t number;

	/* Two for one, where the limit has become less than there are. */
	for (int i = 0; i < 2 && ipq_flow_read(&flows->head->live) >= limit; i++)
		if (!evict_first(flows) && !evict_near(flows, hash, now_ms))
			break;
	number = ipq_flow_take(flows);
	if (number == IPQ_FLOW_NOBODY && (evict_first(flows) || evict_near(flows, hash, now_ms)))
		number = ipq_flow_take(flows);
	return number;
}

static uint32_t make_flow(struct ipq_flows *flows, const struct ipq_flow_seen *seen,
			  const struct ipq_packet *packet, uint32_t now_ms)
{
	struct ipq_flow *flow;
	uint32_t number;

	ipq_flow_change(flows);
	number = make_room(flows, seen->hash, now_ms);
	if (number != IPQ_FLOW_NOBODY && !ipq_flow_enter(flows, number, seen->hash) &&
	    (!evict_near(flows, seen->hash, now_ms) ||
	     !ipq_flow_enter(flows, number, seen->hash))) {
		ipq_flow_give(flows, number);
		number = IPQ_FLOW_NOBODY;
	}
	if (number != IPQ_FLOW_NOBODY) {
		flow = &flows->records[number];
		flow->key = seen->key;
		flow->generation++;
		ipq_flow_begin(flow, packet, seen->side, now_ms);
		ipq_flow_queue(flows, number);
		ipq_flow_write(&flows->head->live, ipq_flow_read(&flows->head->live) + 1);
	}
	ipq_flow_changed(flows);
	return number;
}

static void end_alone(struct ipq_flows *flows, uint32_t number, uint64_t hash, uint32_t reason)
{
	ipq_flow_change(flows);
	end_flow(flows, number, hash, reason);
	ipq_flow_changed(flows);
}

/* What is known of the packet: from its batch, once, or else found out now. */
static const struct ipq_flow_seen *seen_of(struct ipq_flows *flows, struct ipq_packet *packet,
					   struct ipq_flow_seen *now)
{
	uintptr_t offset = (uintptr_t)packet - (uintptr_t)flows->packets;
	struct ipq_flow_seen *seen = &flows->seen[offset / sizeof(*packet) % IPQ_BATCH_MAX];

	if (offset < IPQ_BATCH_MAX * sizeof(*packet) && seen->is_ready) {
		seen->is_ready = 0;
		return seen;
	}
	if (!packet->parsed)
		ipq_header_parse(packet);
	ipq_flow_see(flows, packet, now);
	return now;
}

static struct ipq_flow *flow_of(struct ipq_flows *flows, const struct ipq_flow_seen *seen,
				struct ipq_packet *packet, uint32_t now_ms)
{
	uint32_t number = ipq_flow_lookup(flows, &seen->key, seen->hash);
	struct ipq_flow *flow = ipq_flow_at(flows, number);
	uint32_t direction, reason = 0;

	if (seen->is_related && !flow)
		return NULL;
	if (flow && !seen->is_related && ipq_flow_is_over(flows, flow, now_ms))
		reason = IPQ_FLOW_END_TIMEOUT;
	else if (flow && !seen->is_related && ipq_flow_is_reopened(flow, packet))
		reason = IPQ_FLOW_END_CLOSED;
	if (reason) {
		end_alone(flows, number, seen->hash, reason);
		flow = NULL;
	}
	if (!flow) {
		number = make_flow(flows, seen, packet, now_ms);
		packet->flow_bits = IPQ_FLOW_IS_NEW;
		packet->flow_number = number + 1;
		return ipq_flow_at(flows, number);
	}
	direction = seen->side != (flow->bits & IPQ_FLOW_ORIGIN);
	packet->flow_direction = (uint8_t)direction;
	packet->flow_number = number + 1;
	if (seen->is_related)
		packet->flow_bits = IPQ_FLOW_IS_RELATED;
	else
		ipq_flow_follow(flows, number, packet, direction, now_ms);
	return flow;
}

struct ipq_flow *ipq_flows_packet(struct ipq_flows *flows, struct ipq_packet *packet,
				  int64_t now_us)
{
	struct ipq_flow_seen now;
	const struct ipq_flow_seen *seen = seen_of(flows, packet, &now);

	packet->flow_number = 0;
	packet->flow_direction = 0;
	packet->flow_bits = 0;
	ipq_flows_sweep(flows, now_us, 1);
	return seen->has_key ? flow_of(flows, seen, packet, ipq_flow_ms(now_us)) : NULL;
}

uint32_t ipq_flows_sweep(struct ipq_flows *flows, int64_t now_us, uint32_t n)
{
	uint32_t used = ipq_flows_used(flows), now_ms = ipq_flow_ms(now_us), i;
	struct ipq_flow *flow;

	flows->now_us = now_us;
	for (i = 0; i < n && i < used; i++) {
		if (flows->sweep >= used)
			flows->sweep = 0;
		flow = &flows->records[flows->sweep];
		if (ipq_flow_is_live(flow) && ipq_flow_is_over(flows, flow, now_ms)) {
			if (flows->wants_ended &&
			    ipq_flow_read(&flows->head->ring_end) -
					    ipq_flow_read(&flows->head->ring_start) >=
				    IPQ_FLOW_RING)
				break;
			end_alone(flows, flows->sweep, ipq_flow_hash(flows->key, &flow->key),
				  IPQ_FLOW_END_TIMEOUT);
		}
		flows->sweep++;
	}
	return i;
}

const struct ipq_flow_ended *ipq_flows_ended(struct ipq_flows *flows)
{
	uint32_t start = ipq_flow_read(&flows->head->ring_start);
	uint32_t end = ipq_flow_read(&flows->head->ring_end);

	if (end - start > IPQ_FLOW_RING) {
		ipq_flow_write(&flows->head->ring_start, end);
		return NULL;
	}
	return start == end ? NULL : &flows->ring[start % IPQ_FLOW_RING];
}

void ipq_flows_ended_taken(struct ipq_flows *flows)
{
	uint32_t start = ipq_flow_read(&flows->head->ring_start);

	if (start != ipq_flow_read(&flows->head->ring_end))
		ipq_flow_write(&flows->head->ring_start, start + 1);
}

uint32_t ipq_flows_count(const struct ipq_flows *flows)
{
	uint32_t live = ipq_flow_read(&flows->head->live);

	return live < flows->entries ? live : flows->entries;
}

uint32_t ipq_flows_used(const struct ipq_flows *flows)
{
	uint32_t used = ipq_flow_read(&flows->head->used);

	return used < flows->entries ? used : flows->entries;
}

struct ipq_flow *ipq_flows_next(struct ipq_flows *flows, uint32_t *number)
{
	uint32_t used = ipq_flows_used(flows);
	struct ipq_flow *flow;

	while (*number < used) {
		flow = &flows->records[(*number)++];
		if (ipq_flow_is_live(flow))
			return flow;
	}
	return NULL;
}

struct ipq_flow *ipq_flows_find(struct ipq_flows *flows, uint32_t number, uint32_t generation)
{
	struct ipq_flow *flow = number < ipq_flows_used(flows) ? &flows->records[number] : NULL;

	return flow && ipq_flow_is_live(flow) && flow->generation == generation ? flow : NULL;
}
