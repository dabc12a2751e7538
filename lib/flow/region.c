/* The memory of a flow table: made, taken over, made sound. */
#include "table.h"

#include <errno.h>
#include <unistd.h>
#include <sys/mman.h>

enum { VERSION = 1, GROUP = 16 };

/* "ipqflows" */
#define MAGIC UINT64_C(0x73776f6c66717069)

_Static_assert(sizeof(((struct ipq_flow_head *)NULL)->key) == IPQ_FLOW_KEY_SIZE, "the key's size");
_Static_assert(sizeof(((struct ipq_flows *)NULL)->key) == IPQ_FLOW_KEY_SIZE, "the key's size");

/* Offsets in the memory. */
struct layout {
	size_t ring;
	size_t buckets;
	size_t records;
	size_t size;
	uint32_t bucket_count;
};

static size_t round_up(size_t size)
{
	return (size + sizeof(struct ipq_flow) - 1) & ~(sizeof(struct ipq_flow) - 1);
}

static struct layout layout_of(uint32_t entries)
{
	struct layout l;

	l.bucket_count = entries / IPQ_FLOW_SLOTS_MEAN + 2;
	l.ring = IPQ_FLOW_HEAD_SIZE;
	l.buckets = round_up(l.ring + IPQ_FLOW_RING * sizeof(struct ipq_flow_ended));
	l.records = round_up(l.buckets + l.bucket_count * sizeof(struct ipq_flow_bucket));
	l.size = l.records + entries * sizeof(struct ipq_flow);
	return l;
}

size_t ipq_flows_size(uint32_t entries)
{
	return entries && entries <= IPQ_FLOWS_MOST ? layout_of(entries).size : 0;
}

uint32_t ipq_flows_entries(size_t size)
{
	uint32_t least = 0, most = IPQ_FLOWS_MOST, middle;

	while (least < most) {
		middle = least + (most - least + 1) / 2;
		if (layout_of(middle).size <= size)
			least = middle;
		else
			most = middle - 1;
	}
	return least;
}

static void clear_chains(struct ipq_flow_head *head)
{
	head->free = IPQ_FLOW_NOBODY;
	head->first = IPQ_FLOW_NOBODY;
	head->last = IPQ_FLOW_NOBODY;
	head->live = 0;
}

int ipq_flows_init(void *memory, size_t size, uint32_t entries, const void *key)
{
	struct layout l = layout_of(entries);
	struct ipq_flow_head *head = memory;

	if (!ipq_flows_size(entries) || l.size > size ||
	    (uintptr_t)memory % sizeof(struct ipq_flow) != 0)
		return -EINVAL;
	memset(head, 0, IPQ_FLOW_HEAD_SIZE);
	memset((char *)memory + l.buckets, 0, l.bucket_count * sizeof(struct ipq_flow_bucket));
	head->version = VERSION;
	head->record_size = sizeof(struct ipq_flow);
	head->entries = entries;
	head->bucket_count = l.bucket_count;
	memcpy(head->key, key, sizeof(head->key));
	clear_chains(head);
	ipq_flow_order();
	head->magic = MAGIC;
	return 0;
}

/* What an index has. */
struct tally {
	uint32_t entered;
	uint32_t live;
	uint32_t overflow;
	uint32_t elsewhere; /* in their second buckets */
};

static bool is_in(const struct ipq_flow_bucket *bucket, uint32_t number)
{
	uint32_t found = 0;

	for (uint32_t slot = 0; slot < IPQ_FLOW_SLOTS; slot++)
		found |= bucket->numbers[slot] == number && bucket->tags[slot];
	return found;
}

/* Whether the flows among n records are found by the index. */
static bool are_found(const struct ipq_flows *flows, uint32_t number, uint32_t n, struct tally *t)
{
	const struct ipq_flow *group = &flows->records[number];
	uint64_t hashes[GROUP];

	for (uint32_t i = 0; i < n; i++) {
		hashes[i] = ipq_flow_hash(flows->key, &group[i].key);
		__builtin_prefetch(ipq_flow_bucket(flows, hashes[i]));
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!ipq_flow_is_live(&group[i]))
			continue;
		if (ipq_flow_lookup(flows, &group[i].key, hashes[i]) != number + i)
			return false;
		t->live++;
		t->elsewhere += !is_in(ipq_flow_bucket(flows, hashes[i]), number + i);
	}
	return true;
}

/* Whether all flows are found by the index, and nothing else is in it. */
static bool is_index_sound(const struct ipq_flows *flows, uint32_t used)
{
	struct tally t = {0, 0, 0, 0};
	uint32_t n;

	for (uint32_t i = 0; i < flows->bucket_count; i++) {
		t.overflow += flows->buckets[i].overflow;
		for (uint32_t slot = 0; slot < IPQ_FLOW_SLOTS; slot++)
			t.entered += flows->buckets[i].tags[slot] != 0;
	}
	for (uint32_t number = 0; number < used; number += n) {
		n = used - number < GROUP ? used - number : GROUP;
		if (!are_found(flows, number, n, &t))
			return false;
	}
	return t.entered == t.live && t.overflow == t.elsewhere && t.live == flows->head->live;
}

/* Whether the free records are all in their chain, and those that are evicted first in theirs. */
static bool are_chains_sound(const struct ipq_flows *flows, uint32_t used)
{
	uint32_t queued = 0, free = used - flows->head->live, before = IPQ_FLOW_NOBODY;
	uint32_t number = flows->head->free;
	const struct ipq_flow *flow;

	for (; free && number < used; free--) {
		flow = &flows->records[number];
		if (ipq_flow_is_live(flow))
			return false;
		number = flow->seq[1].ack;
	}
	if (free || number != IPQ_FLOW_NOBODY)
		return false;
	for (uint32_t i = 0; i < used; i++)
		queued += ipq_flow_is_live(&flows->records[i]) &&
			  flows->records[i].bits & IPQ_FLOW_QUEUED;
	number = flows->head->first;
	for (; queued && number < used; queued--) {
		flow = &flows->records[number];
		if (!ipq_flow_is_live(flow) || !(flow->bits & IPQ_FLOW_QUEUED) ||
		    (before != IPQ_FLOW_NOBODY && flow->seq[1].edge != before))
			return false;
		before = number;
		number = flow->seq[1].ack;
	}
	return !queued && number == IPQ_FLOW_NOBODY && before == flows->head->last;
}

/* A flow of the old index is entered into the new one; those that have no place in it are free
 * records. */
static bool rebuild_flow(struct ipq_flows *flows, uint32_t number)
{
	struct ipq_flow *flow = &flows->records[number];
	uint64_t hash;

	if (!ipq_flow_is_live(flow))
		return false;
	hash = ipq_flow_hash(flows->key, &flow->key);
	if (ipq_flow_lookup(flows, &flow->key, hash) != IPQ_FLOW_NOBODY ||
	    !ipq_flow_enter(flows, number, hash))
		return false;
	if (flow->bits & IPQ_FLOW_QUEUED || !ipq_flow_is_replied(flow) ||
	    flow->state == IPQ_FLOW_CLOSED)
		ipq_flow_queue(flows, number);
	return true;
}

static void rebuild(struct ipq_flows *flows)
{
	struct ipq_flow_head *head = flows->head;
	uint32_t used = ipq_flows_used(flows);

	ipq_flow_change(flows);
	memset(flows->buckets, 0, flows->bucket_count * sizeof(*flows->buckets));
	clear_chains(head);
	head->used = used;
	for (uint32_t number = 0; number < used; number++) {
		if (rebuild_flow(flows, number)) {
			head->live++;
		} else {
			ipq_flow_set_state(&flows->records[number], IPQ_FLOW_NONE);
			ipq_flow_give(flows, number);
		}
	}
	ipq_flow_changed(flows);
}

static void set_defaults(struct ipq_flows *flows)
{
	static const uint32_t seconds[IPQ_FLOW_TIMEOUTS] = {3600, 60, 30, 30, 120, 30, 60};

	flows->limit = flows->entries;
	flows->victim = IPQ_FLOW_NOBODY;
	for (int i = 0; i < IPQ_FLOW_TIMEOUTS; i++)
		flows->timeout_ms[i] = seconds[i] * 1000;
}

int ipq_flows_attach(void *memory, size_t size, struct ipq_flows *flows)
{
	struct ipq_flow_head *head = memory;
	char *bytes = memory;
	struct layout l;
	uint32_t entries, used;

	if (size < IPQ_FLOW_HEAD_SIZE || (uintptr_t)memory % sizeof(struct ipq_flow) != 0)
		return -EINVAL;
	entries = ipq_flow_read(&head->entries);
	if (head->magic != MAGIC || head->version != VERSION ||
	    head->record_size != sizeof(struct ipq_flow) || !ipq_flows_size(entries))
		return -EINVAL;
	l = layout_of(entries);
	if (l.size > size || head->bucket_count != l.bucket_count)
		return -EINVAL;
	memset(flows, 0, sizeof(*flows));
	flows->head = head;
	flows->ring = (struct ipq_flow_ended *)(bytes + l.ring);
	flows->buckets = (struct ipq_flow_bucket *)(bytes + l.buckets);
	flows->records = (struct ipq_flow *)(bytes + l.records);
	flows->entries = entries;
	flows->bucket_count = l.bucket_count;
	for (int i = 0; i < 11; i++)
		flows->key[i] = (head->key[i] & IPQ_FLOW_PRIME) % IPQ_FLOW_PRIME;
	set_defaults(flows);
	if (head->ring_end - head->ring_start > IPQ_FLOW_RING)
		head->ring_start = head->ring_end;
	used = ipq_flow_read(&head->used);
	if (!(head->sequence & 1) && used <= entries && is_index_sound(flows, used) &&
	    are_chains_sound(flows, used))
		return 0;
	rebuild(flows);
	return 1;
}

uint32_t ipq_flows_seen(const void *memory, size_t size)
{
	const struct ipq_flow_head *head = memory;
	uint32_t most = ipq_flows_entries(size), live;

	if (size < IPQ_FLOW_HEAD_SIZE || head->magic != MAGIC || head->version != VERSION)
		return 0;
	live = ipq_flow_read(&head->live);
	return live < most ? live : most;
}

void ipq_flows_populate(const struct ipq_flows *flows, uint32_t entries)
{
#ifdef MADV_POPULATE_WRITE
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = ((uintptr_t)flows->records + page - 1) & ~(page - 1);
	uintptr_t end =
		(uintptr_t)(flows->records + (entries < flows->entries ? entries : flows->entries));

	if (start < end)
		(void)madvise((void *)start, end - start, MADV_POPULATE_WRITE);
#else
	(void)flows;
	(void)entries;
#endif
}

/* FNV-1a of a name; not 0. */
static uint64_t name_hash(const char *name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	return hash ? hash : 1;
}

static uint32_t place_of(const uint64_t *hashes, uint32_t count, uint64_t hash)
{
	uint32_t place = 0;

	while (place < count && hashes[place] != hash)
		place++;
	return place;
}

/* A place that none of the names has becomes one's, with 0 in all flows. Whoever dies in between leaves it
 * nobody's. */
static uint32_t place_new(struct ipq_flows *flows, const uint64_t *hashes, uint32_t count,
			  uint64_t hash)
{
	uint64_t *names = flows->head->names;
	uint32_t place = 0, used = ipq_flows_used(flows);

	while (place < IPQ_FLOW_FIELDS - 1 && place_of(hashes, count, names[place]) < count)
		place++;
	names[place] = 0;
	ipq_flow_order();
	for (uint32_t i = 0; i < used; i++)
		flows->records[i].fields[place] = 0;
	ipq_flow_order();
	names[place] = hash;
	return place;
}

int ipq_flows_fields(struct ipq_flows *flows, const char *const *names, uint32_t count,
		     uint32_t *places)
{
	uint64_t hashes[IPQ_FLOW_FIELDS];

	if (count > IPQ_FLOW_FIELDS)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		hashes[i] = name_hash(names[i]);
		if (place_of(hashes, i, hashes[i]) < i)
			return -EINVAL;
	}
	for (uint32_t i = 0; i < count; i++) {
		places[i] = place_of(flows->head->names, IPQ_FLOW_FIELDS, hashes[i]);
		if (places[i] == IPQ_FLOW_FIELDS)
			places[i] = place_new(flows, hashes, count, hashes[i]);
	}
	return 0;
}
