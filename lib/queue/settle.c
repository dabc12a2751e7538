/* What a dead process had in hand. Its batch tells: the packets that it had taken in, and in the
 * slots, from the kernel's hand, those that it had not. A queue's source leaves no message in a
 * slot whose packet has its verdict. */
#include "batch.h"
#include "messages.h"

#include <string.h>

static bool is_judged(const struct ipq_batch *batch, uint32_t number)
{
	const struct ipq_packet *packet = &batch->packets[number];

	if (number >= batch->current || packet->held || !ipq_verdict_valid(packet->verdict))
		return false;
	return !(packet->set & IPQ_SET_PAYLOAD) ||
	       (packet->data_len <= IPQ_PAYLOAD_MAX &&
		ipq_batch_holds(batch, packet->data, packet->data_len));
}

/* Alone: the verdict of a batch would settle packets that nobody has looked at. */
static int commit_one(struct ipq_source *source, struct ipq_batch *batch, struct ipq_packet *packet)
{
	struct ipq_batch one = {
		.packets = packet,
		.count = 1,
		.capacity = 1,
		.error_verdict = batch->error_verdict,
	};

	batch->unanswered++;
	batch->counters.settled++;
	return source->commit(source, &one);
}

static int settle_packets(struct ipq_source *source, struct ipq_batch *batch)
{
	int ret = 0;

	for (uint32_t i = 0; i < batch->count && ret == 0; i++) {
		struct ipq_packet *packet = &batch->packets[i];

		if (!is_judged(batch, i)) {
			ipq_batch_release(batch, packet);
			packet->verdict = batch->error_verdict;
			packet->set = 0;
			batch->counters.errors++;
		}
		ret = commit_one(source, batch, packet);
	}
	return ret;
}

static bool is_taken(const struct ipq_batch *batch, uint32_t packet_id)
{
	for (uint32_t i = 0; i < batch->count; i++)
		if (batch->packets[i].packet_id == packet_id)
			return true;
	return false;
}

static int settle_slots(struct ipq_source *source, struct ipq_batch *batch)
{
	int number = 0, ret = 0;

	for (uint32_t i = 0; i < batch->capacity && ret == 0; i++) {
		uint8_t *slot = batch->slots + (size_t)i * batch->slot_size;
		struct ipq_packet packet = {.verdict = batch->error_verdict};

		(void)ipq_attr_parse(&packet, slot, batch->slot_size);
		if (!(packet.present & IPQ_HAS_PACKET_HDR) || is_taken(batch, packet.packet_id))
			continue;
		packet.set = 0;
		batch->counters.errors++;
		ret = commit_one(source, batch, &packet);
		if (batch->count < batch->capacity)
			batch->packets[batch->count++] = packet;
		number++;
	}
	return ret < 0 ? ret : number;
}

/* Those of earlier batches. An entry may stand there twice, or be none: each is judged and goes. */
static int settle_held(struct ipq_source *source, struct ipq_batch *batch)
{
	int number = 0, ret = 0;

	for (uint32_t i = 0; i < IPQ_HELD_MAX && ret == 0; i++) {
		struct ipq_packet packet = {
			.packet_id = (uint32_t)(batch->held[i] - 1),
			.verdict = batch->error_verdict,
		};

		if (!batch->held[i])
			continue;
		ret = source->commit_held(source, batch, &packet);
		batch->held[i] = 0;
		ipq_batch_count(batch, &packet);
		batch->counters.errors++;
		batch->counters.settled++;
		number++;
	}
	batch->held_count = 0;
	return ret < 0 ? ret : number;
}

int ipq_settle(struct ipq_source *source, struct ipq_batch *batch)
{
	int number = (int)batch->count, ret = settle_packets(source, batch);

	if (ret < 0)
		return ret;
	ret = settle_slots(source, batch);
	if (ret < 0)
		return ret;
	number += ret;
	ret = settle_held(source, batch);
	if (ret < 0)
		return ret;
	number += ret;
	ipq_batch_tally(batch);
	ipq_batch_clear(batch);
	for (uint32_t i = 0; i < batch->capacity; i++)
		memset(batch->slots + (size_t)i * batch->slot_size, 0, sizeof(uint32_t));
	return number;
}
