/* The index of a flow table, its order of eviction, and its free records. */
#include "table.h"

static uint32_t find_in(const struct ipq_flows *flows, const struct ipq_flow_bucket *bucket,
			const struct ipq_flow_key *key, uint8_t tag)
{
	struct ipq_flow_slots slots = ipq_flow_slots(bucket, tag);
	const struct ipq_flow *flow;
	uint32_t slot, number;

	while ((slot = ipq_flow_slot(&slots)) < IPQ_FLOW_SLOTS) {
		number = ipq_flow_read(&bucket->numbers[slot]);
		flow = ipq_flow_at(flows, number);
		if (!flow)
			continue;
		__builtin_prefetch(flow->fields, 1);
		if (ipq_flow_same(&flow->key, key) && ipq_flow_is_live(flow))
			return number;
	}
	return IPQ_FLOW_NOBODY;
}

uint32_t ipq_flow_lookup(const struct ipq_flows *flows, const struct ipq_flow_key *key,
			 uint64_t hash)
{
	const struct ipq_flow_bucket *bucket = ipq_flow_bucket(flows, hash);
	uint8_t tag = ipq_flow_tag(hash);
	uint32_t number = find_in(flows, bucket, key, tag);

	if (number != IPQ_FLOW_NOBODY || !bucket->overflow)
		return number;
	return find_in(flows, ipq_flow_bucket_2(flows, hash), key, tag);
}

static uint32_t free_slots(const struct ipq_flow_bucket *bucket)
{
	struct ipq_flow_slots slots = ipq_flow_slots(bucket, 0);

	return (uint32_t)__builtin_popcountll(slots.low) + (uint32_t)__builtin_popcount(slots.high);
}

bool ipq_flow_enter(struct ipq_flows *flows, uint32_t number, uint64_t hash)
{
	struct ipq_flow_bucket *first = ipq_flow_bucket(flows, hash), *bucket = first, *second;
	uint32_t left = free_slots(first);
	struct ipq_flow_slots slots;
	uint32_t slot;

	if (left <= IPQ_FLOW_SLOTS - IPQ_FLOW_SLOTS_FIRST) {
		second = ipq_flow_bucket_2(flows, hash);
		if (free_slots(second) > left)
			bucket = second;
	}
	slots = ipq_flow_slots(bucket, 0);
	slot = ipq_flow_slot(&slots);
	if (slot == IPQ_FLOW_SLOTS)
		return false;
	ipq_flow_write(&bucket->numbers[slot], number);
	bucket->tags[slot] = ipq_flow_tag(hash);
	if (bucket != first)
		first->overflow++;
	return true;
}

static bool leave_bucket(struct ipq_flow_bucket *bucket, uint32_t number, uint8_t tag)
{
	struct ipq_flow_slots slots = ipq_flow_slots(bucket, tag);
	uint32_t slot;

	while ((slot = ipq_flow_slot(&slots)) < IPQ_FLOW_SLOTS)
		if (ipq_flow_read(&bucket->numbers[slot]) == number) {
			bucket->tags[slot] = 0;
			return true;
		}
	return false;
}

void ipq_flow_leave(struct ipq_flows *flows, uint32_t number, uint64_t hash)
{
	struct ipq_flow_bucket *first = ipq_flow_bucket(flows, hash);
	uint8_t tag = ipq_flow_tag(hash);

	if (leave_bucket(first, number, tag))
		return;
	if (leave_bucket(ipq_flow_bucket_2(flows, hash), number, tag) && first->overflow)
		first->overflow--;
}

void ipq_flow_queue(struct ipq_flows *flows, uint32_t number)
{
	struct ipq_flow *flow = &flows->records[number];
	uint32_t last = ipq_flow_read(&flows->head->last);
	bool is_first = last >= flows->entries;

	ipq_flow_write(&flow->seq[1].edge, is_first ? IPQ_FLOW_NOBODY : last);
	ipq_flow_write(&flow->seq[1].ack, IPQ_FLOW_NOBODY);
	flow->bits |= IPQ_FLOW_QUEUED;
	if (is_first)
		ipq_flow_write(&flows->head->first, number);
	else
		ipq_flow_write(&flows->records[last].seq[1].ack, number);
	ipq_flow_write(&flows->head->last, number);
}

void ipq_flow_unqueue(struct ipq_flows *flows, uint32_t number)
{
	struct ipq_flow *flow = &flows->records[number];
	uint32_t before = ipq_flow_read(&flow->seq[1].edge);
	uint32_t behind = ipq_flow_read(&flow->seq[1].ack);
	bool is_first = ipq_flow_read(&flows->head->first) == number;
	bool is_last = ipq_flow_read(&flows->head->last) == number;

	/* The first one's link to what was before it is never read, and not kept: that spares reading
	 * a record for each that is evicted. */
	if (is_first)
		ipq_flow_write(&flows->head->first, is_last ? IPQ_FLOW_NOBODY : behind);
	else if (before < flows->entries)
		ipq_flow_write(&flows->records[before].seq[1].ack, behind);
	if (is_last)
		ipq_flow_write(&flows->head->last, is_first ? IPQ_FLOW_NOBODY : before);
	else if (behind < flows->entries && !is_first)
		ipq_flow_write(&flows->records[behind].seq[1].edge, before);
	flow->bits &= (uint8_t)~IPQ_FLOW_QUEUED;
	flow->seq[1] = (struct ipq_flow_seq){0, 0};
	if (flows->victim == number)
		flows->victim = IPQ_FLOW_NOBODY;
}

uint32_t ipq_flow_take(struct ipq_flows *flows)
{
	struct ipq_flow_head *head = flows->head;
	uint32_t number = ipq_flow_read(&head->free);
	struct ipq_flow *flow = ipq_flow_at(flows, number);

	if (flow && !ipq_flow_is_live(flow)) {
		ipq_flow_write(&head->free, ipq_flow_read(&flow->seq[1].ack));
		return number;
	}
	ipq_flow_write(&head->free, IPQ_FLOW_NOBODY);
	number = ipq_flow_read(&head->used);
	if (number >= flows->entries)
		return IPQ_FLOW_NOBODY;
	/* Its old bytes, as of a table that was here before, are no flow. */
	ipq_flow_set_state(&flows->records[number], IPQ_FLOW_NONE);
	ipq_flow_write(&head->used, number + 1);
	return number;
}

void ipq_flow_give(struct ipq_flows *flows, uint32_t number)
{
	struct ipq_flow *flow = &flows->records[number];

	ipq_flow_write(&flow->seq[1].ack, ipq_flow_read(&flows->head->free));
	ipq_flow_write(&flows->head->free, number);
}
