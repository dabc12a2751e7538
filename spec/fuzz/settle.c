/* What a worker leaves behind in the memory that it shared, of which every byte may be anything:
 * its supervisor describes it, takes its figures over, and judges what it had in hand. */
#include "fuzz.h"
#include "host/figures/report.h"
#include "host/figures/stats.h"

#include <stdio.h>

enum { CAPACITY = 4, SLOT = 512, LIMIT = 1 << 17 };

static struct ipq_batch *batch;
static struct ipq_batch made;
static size_t size; /* of what describes packets, and of the kernel's messages */
static uint32_t judged;

static void verdict_check(const struct ipq_packet *packet)
{
	uint32_t sum = 0;

	CHECK(ipq_verdict_valid(packet->verdict));
	if (packet->set & IPQ_SET_PAYLOAD) {
		CHECK(packet->data_len <= IPQ_PAYLOAD_MAX);
		CHECK(ipq_batch_holds(&made, packet->data, packet->data_len));
		for (uint32_t i = 0; i < packet->data_len; i++)
			sum += packet->data[i];
		CHECK(sum <= 255 * packet->data_len);
	}
	judged++;
}

/* As a queue has it: alone, and as messages. */
static int commit(struct ipq_source *source, struct ipq_batch *one)
{
	static struct ipq_verdict_buffer buffer;

	(void)source;
	CHECK(one->count == 1);
	verdict_check(one->packets);
	CHECK(ipq_verdict_encode(&buffer, one, 0, LIMIT) == 1);
	return 0;
}

static int settle(struct ipq_source *source, struct ipq_batch *all, struct ipq_packet *packet)
{
	(void)source;
	(void)all;
	CHECK(packet->verdict == made.error_verdict);
	verdict_check(packet);
	return 0;
}

static void set_up(void)
{
	CHECK(ipq_batch_new(&batch, CAPACITY, SLOT) == 0);
	made = *batch;
	size = (size_t)(batch->spares - (uint8_t *)batch);
}

/* Pieces of the input to places that it chooses, the batch's own fields more often than others. */
static void overwrite(struct input *in)
{
	while (in->len) {
		size_t n = take8(in), at = take16(in);
		const uint8_t *piece;

		if (n & 1)
			at = (size_t)((uint8_t *)made.packets - (uint8_t *)batch) +
			     at % (CAPACITY * sizeof(struct ipq_packet));
		else if (n & 2)
			at %= sizeof(*batch);
		else
			at = (size_t)(made.slots - (uint8_t *)batch) + at % (CAPACITY * SLOT);
		n /= 4;
		piece = take(in, &n);
		if (n > size - at)
			n = size - at;
		memcpy((uint8_t *)batch + at, piece, n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const struct stats nothing;
	static struct stats stats;
	struct input in = {bytes, len};
	struct ipq_counters counted = {0};
	struct ipq_source source = {.commit = commit, .commit_held = settle};
	char text[160];
	FILE *out;
	int ret;

	if (!batch)
		set_up();
	memset((void *)batch, 0, size);
	*batch = made;
	for (uint32_t i = 0; i < CAPACITY; i++)
		batch->packets[i].data = made.slots + (size_t)i * SLOT;
	overwrite(&in);

	report_work(batch, &made, "packet", text, sizeof(text));
	CHECK(strlen(text) < sizeof(text));
	stats_read_script(&stats, &made);
	stats_add_batch(&stats, batch, &made);
	out = fmemopen(NULL, 16384, "w");
	CHECK(out);
	stats_put_line(out, &stats, &nothing, 1);
	fclose(out);

	judged = 0;
	ret = ipq_settle(&source, batch, &made, &counted);
	CHECK(ret >= 0 && (uint32_t)ret == judged);
	CHECK(counted.settled == judged);
	return 0;
}
