/*
 * Which queue a handle speaks to.
 *
 * ip_queue had a queue for IPv4 and one for IPv6. Both QUEUE targets mean queue 0 of
 * nfnetlink_queue, which has one owner, so a process with two handles needs a second number.
 */
#include "handle.h"

#include <stdlib.h>
#include <linux/netfilter.h>

enum { NUMBER = UINT16_MAX, TAKEN = 1 << 16, ASKING = 1 << 17, HALF = 32 };

/* The queues of the open handles, as number | TAKEN | ASKING, IPv6 in the upper half. Process-wide
 * because the handles of a process must not meet in one queue; one word because a lock could be
 * held by another thread at a fork. */
static _Atomic uint64_t queues;

static uint8_t other_than(uint8_t family)
{
	return family == NFPROTO_IPV6 ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

static int shift_of(uint8_t family)
{
	return family == NFPROTO_IPV6 ? HALF : 0;
}

static uint32_t entry_of(uint64_t word, uint8_t family)
{
	return (uint32_t)(word >> shift_of(family));
}

static uint64_t with_entry(uint64_t word, uint8_t family, uint32_t entry)
{
	word &= ~((uint64_t)UINT32_MAX << shift_of(family));
	return word | (uint64_t)entry << shift_of(family);
}

/* 1 with the number that the environment sets, 0 where it sets none. A program that runs with more
 * privileges than its caller does not listen to it. */
static int number_from_environment(uint8_t family, uint16_t *queue_num)
{
	const char *text = secure_getenv(family == NFPROTO_IPV6 ? "LIBIPQ_QUEUE6" : "LIBIPQ_QUEUE");
	unsigned int number = 0;

	if (!text || !*text)
		return 0;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		number = number * 10 + (unsigned int)(*text - '0');
		if (number > UINT16_MAX)
			return -EINVAL;
	}
	*queue_num = (uint16_t)number;
	return 1;
}

int ipq_classic_claim(uint8_t family, uint16_t *queue_num)
{
	uint64_t word = atomic_load(&queues);
	int is_set = number_from_environment(family, queue_num);
	uint32_t other;

	if (is_set < 0)
		return is_set;
	do {
		other = entry_of(word, other_than(family));
		if (!is_set)
			*queue_num = other & TAKEN && (other & NUMBER) == 0 ? 1 : 0;
	} while (!atomic_compare_exchange_weak(&queues, &word,
					       with_entry(word, family, TAKEN | *queue_num)));
	return 0;
}

void ipq_classic_release(uint8_t family)
{
	uint64_t word = atomic_load(&queues);

	while (!atomic_compare_exchange_weak(&queues, &word, with_entry(word, family, 0)))
		;
}

bool ipq_classic_is_claimed(uint8_t family)
{
	return entry_of(atomic_load(&queues), family) & TAKEN;
}

void ipq_classic_set_asking(struct ipq_classic *classic, bool is_asking)
{
	uint64_t bit = (uint64_t)ASKING << shift_of(classic->family);

	atomic_store(&classic->is_asking, is_asking);
	if (is_asking)
		atomic_fetch_or(&queues, bit);
	else
		atomic_fetch_and(&queues, ~bit);
}

bool ipq_classic_other(const struct ipq_classic *classic, uint8_t family, uint32_t *verdict)
{
	uint32_t other = entry_of(atomic_load(&queues), other_than(classic->family));
	uint32_t number = other & NUMBER;

	*verdict = NF_DROP;
	/* A bridge's packets are of neither. */
	if (family != other_than(classic->family) || !(other & TAKEN))
		return false;
	/* What another program has instead is not its. Where both were given one number, the packet
	 * would come back for ever. */
	if (other & ASKING && number != classic->queue_num)
		*verdict = NF_QUEUE_NR(number);
	return true;
}
