/* What a dead process had in hand. Its batch tells: the packets that it had taken in, and in the
 * slots, from the kernel's hand, those that it had not. A queue's source leaves no message in a
 * slot whose packet has its verdict.
 *
 * The process may have written anything there, and one that it has forked may write on. So what is
 * looked at is a copy, and addresses and sizes are those of the batch's making. Of a payload the
 * length is ours, and the kernel reads the bytes. */
#include "batch.h"
#include "messages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct estate {
	const struct ipq_batch *made;
	struct ipq_batch own; /* the copy: fields that are not set here are not used */
	struct ipq_packet packets[IPQ_BATCH_MAX];
	uint64_t held[IPQ_HELD_MAX];
	uint8_t message[]; /* made->slot_size bytes */
};

static struct estate *estate_new(const struct ipq_batch *batch, const struct ipq_batch *made)
{
	struct estate *estate = calloc(1, sizeof(*estate) + made->slot_size);
	uint32_t count = __atomic_load_n(&batch->count, __ATOMIC_RELAXED);
	uint32_t current = __atomic_load_n(&batch->current, __ATOMIC_RELAXED);

	if (!estate)
		return NULL;
	count = count < made->capacity ? count : made->capacity;
	estate->made = made;
	estate->own = (struct ipq_batch){
		.packets = estate->packets,
		.count = count,
		.current = current < count ? current : count,
		.capacity = made->capacity,
		.error_verdict = made->error_verdict,
		.held = estate->held,
	};
	memcpy(estate->packets, made->packets, count * sizeof(*estate->packets));
	memcpy(estate->held, made->held, sizeof(estate->held));
	for (uint32_t i = 0; i < IPQ_HELD_MAX; i++)
		estate->own.held_count += estate->held[i] != 0;
	return estate;
}

static bool is_judged(const struct estate *estate, uint32_t number)
{
	const struct ipq_packet *packet = &estate->packets[number];

	if (number >= estate->own.current || packet->held || !ipq_verdict_valid(packet->verdict))
		return false;
	return !(packet->set & IPQ_SET_PAYLOAD) ||
	       (packet->data_len <= IPQ_PAYLOAD_MAX &&
		ipq_batch_holds(estate->made, packet->data, packet->data_len));
}

/* Alone: the verdict of a batch would settle packets that nobody has looked at. */
static int commit_one(struct ipq_source *source, struct ipq_batch *own, struct ipq_packet *packet)
{
	struct ipq_batch one = {
		.packets = packet,
		.count = 1,
		.capacity = 1,
		.error_verdict = own->error_verdict,
	};

	own->counters.settled++;
	return source->commit(source, &one);
}

static int settle_packets(struct ipq_source *source, struct estate *estate)
{
	struct ipq_batch *own = &estate->own;
	int ret = 0;

	for (uint32_t i = 0; i < own->count && ret == 0; i++) {
		struct ipq_packet *packet = &own->packets[i];

		if (!is_judged(estate, i)) {
			ipq_batch_release(own, packet);
			packet->verdict = own->error_verdict;
			packet->set = 0;
			own->counters.errors++;
		}
		ret = commit_one(source, own, packet);
	}
	return ret;
}

static bool is_taken(const struct ipq_batch *own, uint32_t packet_id)
{
	for (uint32_t i = 0; i < own->count; i++)
		if (own->packets[i].packet_id == packet_id)
			return true;
	return false;
}

/* The message in a slot, copied: how long it says to be is believed once. */
static uint32_t take_message(struct estate *estate, uint32_t number)
{
	const uint8_t *slot = estate->made->slots + (size_t)number * estate->made->slot_size;
	uint32_t len;

	memcpy(&len, slot, sizeof(len));
	if (len < sizeof(len) || len > estate->made->slot_size)
		return 0;
	memcpy(estate->message, slot, len);
	memcpy(estate->message, &len, sizeof(len));
	return len;
}

static int settle_slots(struct ipq_source *source, struct estate *estate)
{
	struct ipq_batch *own = &estate->own;
	int number = 0, ret = 0;

	for (uint32_t i = 0; i < own->capacity && ret == 0; i++) {
		struct ipq_packet packet = {.verdict = own->error_verdict};

		(void)ipq_attr_parse(&packet, estate->message, take_message(estate, i));
		if (!(packet.present & IPQ_HAS_PACKET_HDR) || is_taken(own, packet.packet_id))
			continue;
		packet.set = 0;
		own->counters.errors++;
		ret = commit_one(source, own, &packet);
		if (own->count < own->capacity)
			own->packets[own->count++] = packet;
		number++;
	}
	return ret < 0 ? ret : number;
}

/* Those of earlier batches. An entry may stand there twice, or be none: each is judged and goes. */
static int settle_held(struct ipq_source *source, struct estate *estate)
{
	struct ipq_batch *own = &estate->own;
	int number = 0, ret = 0;

	for (uint32_t i = 0; i < IPQ_HELD_MAX && ret == 0; i++) {
		struct ipq_packet packet = {
			.packet_id = (uint32_t)(own->held[i] - 1),
			.verdict = own->error_verdict,
		};

		if (!own->held[i])
			continue;
		ret = source->commit_held(source, own, &packet);
		ipq_counters_count(&own->counters, &packet);
		own->counters.errors++;
		own->counters.settled++;
		number++;
	}
	if (ret == 0 && source->flush)
		ret = source->flush(source);
	return ret < 0 ? ret : number;
}

static int settle(struct ipq_source *source, struct estate *estate)
{
	int number = (int)estate->own.count, ret = settle_packets(source, estate);

	if (ret < 0)
		return ret;
	ret = settle_slots(source, estate);
	if (ret < 0)
		return ret;
	number += ret;
	ret = settle_held(source, estate);
	if (ret < 0)
		return ret;
	ipq_batch_tally(&estate->own);
	return number + ret;
}

int ipq_settle(struct ipq_source *source, const struct ipq_batch *batch,
	       const struct ipq_batch *made, struct ipq_counters *counted)
{
	struct estate *estate = estate_new(batch, made);
	int ret = estate ? settle(source, estate) : -ENOMEM;

	if (estate)
		ipq_counters_add(counted, &estate->own.counters);
	free(estate);
	return ret;
}
