/* The layout of a table's memory, and what this room's files share. What is read from the memory may be
 * anything, and another value when it is read again: numbers are read once, by ipq_flow_read(), and
 * compared with bounds of struct ipq_flows. */
#ifndef IPQ_FLOW_TABLE_H
#define IPQ_FLOW_TABLE_H

#include "flow.h"

#include <endian.h>
#include <string.h>

enum {
	IPQ_FLOW_SLOTS = 12, /* of a bucket */
	/* A flow goes to its first bucket while that has less than these, so that most are found in
	 * their first; then to the one that has less. Of 8 a bucket on average none finds both full. */
	IPQ_FLOW_SLOTS_FIRST = 9,
	IPQ_FLOW_SLOTS_MEAN = 8
};

#define IPQ_FLOW_NOBODY UINT32_MAX
#define IPQ_FLOW_PRIME	((UINT64_C(1) << 61) - 1)

/* A cache line. A tag is 8 bits of the hash, 0 where the slot is free. */
struct ipq_flow_bucket {
	uint8_t tags[IPQ_FLOW_SLOTS];
	uint32_t overflow; /* flows that would be here, and are in their second bucket */
	uint32_t numbers[IPQ_FLOW_SLOTS];
};

struct ipq_flow_head {
	uint64_t magic;
	uint32_t version;
	uint32_t record_size;
	uint32_t entries;
	uint32_t bucket_count;
	uint64_t key[11];
	uint64_t names[IPQ_FLOW_FIELDS]; /* hashes of the fields' names; 0: nobody's */
	/* What changes. */
	uint32_t sequence; /* odd within a change of structure */
	uint32_t used;	   /* records from 0 on that have had a flow */
	uint32_t live;
	uint32_t free;	/* the first of those that have none now; seq[1].ack is the next */
	uint32_t first; /* of those that are evicted first, the oldest, and the newest */
	uint32_t last;
	uint32_t ring_end; /* of the ring, counted from the table's beginning */
	uint32_t ring_start;
};

_Static_assert(sizeof(struct ipq_flow) == 128, "a record is two cache lines");
_Static_assert(sizeof(struct ipq_flow_bucket) == 64, "a bucket is a cache line");
_Static_assert(sizeof(struct ipq_flow_head) <= IPQ_FLOW_HEAD_SIZE, "the head has its place");
_Static_assert(sizeof(struct ipq_flow_key) == 40, "a key is ten words");

static inline uint32_t ipq_flow_read(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void ipq_flow_write(uint32_t *p, uint32_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

/* Between stores of which a successor may see the first ones alone: what a process had stored when it was
 * killed is a beginning of its program, so that the compiler's order is all that matters. */
static inline void ipq_flow_order(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void ipq_flow_change(struct ipq_flows *flows)
{
	ipq_flow_write(&flows->head->sequence, ipq_flow_read(&flows->head->sequence) | 1);
	ipq_flow_order();
}

static inline void ipq_flow_changed(struct ipq_flows *flows)
{
	ipq_flow_order();
	ipq_flow_write(&flows->head->sequence, (ipq_flow_read(&flows->head->sequence) | 1) + 1);
}

/* The record of that number; NULL where there is none. */
static inline struct ipq_flow *ipq_flow_at(const struct ipq_flows *flows, uint32_t number)
{
	return number < flows->entries ? &flows->records[number] : NULL;
}

static inline bool ipq_flow_is_live(const struct ipq_flow *flow)
{
	uint8_t state = __atomic_load_n(&flow->state, __ATOMIC_RELAXED);

	return state != IPQ_FLOW_NONE && state < IPQ_FLOW_STATES;
}

static inline void ipq_flow_set_state(struct ipq_flow *flow, uint8_t state)
{
	ipq_flow_order();
	__atomic_store_n(&flow->state, state, __ATOMIC_RELAXED);
	ipq_flow_order();
}

static inline uint32_t ipq_flow_word(const struct ipq_flow_key *key, uint32_t i)
{
	uint32_t word;

	memcpy(&word, (const char *)key + i * sizeof(word), sizeof(word));
	return word;
}

/* Multilinear, modulo 2^61 - 1: of two keys any pair of hashes is as likely as any other, for who does
 * not know the secret. What is 0 in all keys of IPv4 counts nothing. */
static inline uint64_t ipq_flow_hash(const uint64_t *secret, const struct ipq_flow_key *key)
{
	unsigned __int128 sum = secret[10];
	uint64_t hash;

	sum += (unsigned __int128)secret[0] * ipq_flow_word(key, 0);
	sum += (unsigned __int128)secret[4] * ipq_flow_word(key, 4);
	if (key->ip_version != 4) {
		for (uint32_t i = 1; i < 4; i++)
			sum += (unsigned __int128)secret[i] * ipq_flow_word(key, i);
		for (uint32_t i = 5; i < 8; i++)
			sum += (unsigned __int128)secret[i] * ipq_flow_word(key, i);
	}
	sum += (unsigned __int128)secret[8] * ipq_flow_word(key, 8);
	sum += (unsigned __int128)secret[9] * ipq_flow_word(key, 9);
	hash = ((uint64_t)sum & IPQ_FLOW_PRIME) + (uint64_t)(sum >> 61);
	return hash >= IPQ_FLOW_PRIME ? hash - IPQ_FLOW_PRIME : hash;
}

static inline uint64_t ipq_flow_pair(const struct ipq_flow_key *key, uint32_t i)
{
	uint64_t pair;

	memcpy(&pair, (const char *)key + i * sizeof(pair), sizeof(pair));
	return pair;
}

static inline bool ipq_flow_same(const struct ipq_flow_key *a, const struct ipq_flow_key *b)
{
	uint64_t other = ipq_flow_pair(a, 0) ^ ipq_flow_pair(b, 0);

	for (uint32_t i = 1; i < 5; i++)
		other |= ipq_flow_pair(a, i) ^ ipq_flow_pair(b, i);
	return other == 0;
}

static inline uint8_t ipq_flow_tag(uint64_t hash)
{
	return (uint8_t)hash ? (uint8_t)hash : 1;
}

static inline struct ipq_flow_bucket *ipq_flow_bucket(const struct ipq_flows *flows, uint64_t hash)
{
	return &flows->buckets[(uint64_t)(uint32_t)hash * flows->bucket_count >> 32];
}

static inline struct ipq_flow_bucket *ipq_flow_bucket_2(const struct ipq_flows *flows,
							uint64_t hash)
{
	struct ipq_flow_bucket *first = ipq_flow_bucket(flows, hash);
	struct ipq_flow_bucket *second = &flows->buckets[(hash >> 29) * flows->bucket_count >> 32];

	if (second != first)
		return second;
	return first == flows->buckets ? first + 1 : first - 1;
}

/* The slots of a bucket that have this tag: bit 8 i of low for i up to 7, of high for 8 to 11. */
struct ipq_flow_slots {
	uint64_t low;
	uint32_t high;
};

static inline uint64_t ipq_flow_zeros(uint64_t x)
{
	const uint64_t most = UINT64_C(0x7f7f7f7f7f7f7f7f);

	return ~(((x & most) + most) | x | most) >> 7;
}

static inline struct ipq_flow_slots ipq_flow_slots(const struct ipq_flow_bucket *bucket,
						   uint8_t tag)
{
	const uint64_t all = UINT64_C(0x0101010101010101) * tag;
	uint64_t low;
	uint32_t high;

	memcpy(&low, bucket->tags, sizeof(low));
	memcpy(&high, bucket->tags + sizeof(low), sizeof(high));
	return (struct ipq_flow_slots){
		ipq_flow_zeros(le64toh(low) ^ all),
		(uint32_t)ipq_flow_zeros(le32toh(high) ^ (uint32_t)all),
	};
}

/* Takes one of them: 0 to 11; IPQ_FLOW_SLOTS where there is none. */
static inline uint32_t ipq_flow_slot(struct ipq_flow_slots *slots)
{
	uint32_t slot = IPQ_FLOW_SLOTS;

	if (slots->low) {
		slot = (uint32_t)__builtin_ctzll(slots->low) / 8;
		slots->low &= slots->low - 1;
	} else if (slots->high) {
		slot = 8 + (uint32_t)__builtin_ctz(slots->high) / 8;
		slots->high &= slots->high - 1;
	}
	return slot;
}

static inline uint32_t ipq_flow_ms(int64_t us)
{
	return (uint32_t)(us / 1000);
}

static inline bool ipq_flow_is_replied(const struct ipq_flow *flow)
{
	return flow->packets[1] || flow->high >> 4;
}

/* The index, and what leads through the records (index.c). Within a change; a number that is given is less than
 * entries. */

/* The number of the flow that has the key; IPQ_FLOW_NOBODY. */
uint32_t ipq_flow_lookup(const struct ipq_flows *flows, const struct ipq_flow_key *key,
			 uint64_t hash);
/* Enters a record into a bucket. False: both are full. */
bool ipq_flow_enter(struct ipq_flows *flows, uint32_t number, uint64_t hash);
void ipq_flow_leave(struct ipq_flows *flows, uint32_t number, uint64_t hash);
/* To and from those that are evicted first. */
void ipq_flow_queue(struct ipq_flows *flows, uint32_t number);
void ipq_flow_unqueue(struct ipq_flows *flows, uint32_t number);
/* A free record's number, IPQ_FLOW_NOBODY where there is none; and back. */
uint32_t ipq_flow_take(struct ipq_flows *flows);
void ipq_flow_give(struct ipq_flows *flows, uint32_t number);

/* What a packet belongs to (key.c): as of ipq_flows_batch(). The packet is parsed. */
void ipq_flow_see(const struct ipq_flows *flows, const struct ipq_packet *packet,
		  struct ipq_flow_seen *seen);

/* The flow's state and counters (track.c) */

/* Makes the record the flow of its first packet; all but key, generation and links, state last. */
void ipq_flow_begin(struct ipq_flow *flow, const struct ipq_packet *packet, uint32_t end,
		    uint32_t now_ms);
/* Counts a packet of that direction, which is not the flow's first one, and follows it. */
void ipq_flow_follow(struct ipq_flows *flows, uint32_t number, const struct ipq_packet *packet,
		     uint32_t direction, uint32_t now_ms);
/* Whether the packet begins another connection of the same ends. */
bool ipq_flow_is_reopened(const struct ipq_flow *flow, const struct ipq_packet *packet);
/* Whether its time is over. */
bool ipq_flow_is_over(const struct ipq_flows *flows, const struct ipq_flow *flow, uint32_t now_ms);
/* Why a flow ends whose time is over, or for the sake of another one: enum ipq_flow_reason. */
uint32_t ipq_flow_reason(const struct ipq_flow *flow, uint32_t otherwise);

#endif
