/* What the filter loop calls: for packets, and for those that it holds. */
#include "batch.h"
#include "histogram.h"
#include "lib/clock.h"
#include "lib/send/send.h"

#include <errno.h>

_Static_assert((int)IPQ_ETIME == ETIME, "ETIME");
_Static_assert((int)IPQ_EALREADY == EALREADY, "EALREADY");

static bool is_due(const struct ipq_batch *batch)
{
	return batch->wake_ns && ipq_monotonic_ns() >= batch->wake_ns;
}

/* The time since the batch was handed out is its packets'. */
static void take_time(struct ipq_driver *driver)
{
	struct ipq_batch *batch = driver->batch;

	if (!driver->handed_ns)
		return;
	ipq_histogram_add(batch->filter_ns, (uint64_t)(ipq_monotonic_ns() - driver->handed_ns),
			  batch->count);
}

static bool is_timed(const struct ipq_batch *batch)
{
	return batch->timed_each && (batch->counters.batches & (batch->timed_each - 1)) == 0;
}

/* What the loop has asked for instead of packets; 0: nothing. */
static int pause_of(struct ipq_driver *driver)
{
	if (driver->look_at && driver->batch->counters.packets >= driver->look_at) {
		driver->look_at = 0;
		return -EALREADY;
	}
	if (driver->idle_turns) {
		driver->idle_turns--;
		return -ETIME;
	}
	return 0;
}

/* What came back of what was sent has its verdict already. */
static void pass_own(struct ipq_driver *driver)
{
	struct ipq_outbox *outbox = driver->outbox;
	struct ipq_batch *batch = driver->batch;

	for (uint32_t i = 0; i < batch->count; i++) {
		struct ipq_packet *packet = &batch->packets[i];

		if (!(packet->mark & outbox->mark) || !ipq_own_is(outbox->own, packet))
			continue;
		packet->decided = 1;
		packet->verdict = IPQ_ACCEPT;
		batch->counters.own++;
	}
}

/* Carries out the verdicts, and then sends what filters have sent. */
static int settle_batch(struct ipq_driver *driver)
{
	struct ipq_batch *batch = driver->batch;
	int ret = 0;

	if (batch->count) {
		take_time(driver);
		ret = driver->source->commit(driver->source, batch);
		ipq_batch_tally(batch);
		ipq_batch_clear(batch);
	}
	if (driver->outbox)
		ipq_outbox_flush(driver->outbox);
	return ret;
}

int ipq_driver_next(struct ipq_driver *driver)
{
	struct ipq_batch *batch = driver->batch;
	int ret = settle_batch(driver);

	if (ret < 0)
		return ret;
	ret = pause_of(driver);
	if (ret < 0)
		return ret;
	do {
		if (driver->interrupt)
			return -EINTR;
		if (!driver->woken && is_due(batch))
			ret = -ETIME;
		else
			ret = driver->source->receive(driver->source, batch);
	} while (ret == -EAGAIN);
	driver->woken = ret == -ETIME;
	if (ret > 0 && driver->outbox && driver->outbox->own && !driver->outbox->shows_own)
		pass_own(driver);
	driver->handed_ns = ret > 0 && is_timed(batch) ? ipq_monotonic_ns() : 0;
	return ret;
}

int ipq_driver_hold(struct ipq_driver *driver, struct ipq_packet *packet)
{
	return ipq_batch_hold(driver->batch, packet);
}

void ipq_driver_release(struct ipq_driver *driver, struct ipq_packet *packet)
{
	ipq_batch_release(driver->batch, packet);
}

/* The verdict first: who dies between the two leaves an id that has its verdict, which the kernel
 * answers, and not a packet without one. */
int ipq_driver_commit_held(struct ipq_driver *driver, struct ipq_packet *packet)
{
	struct ipq_batch *batch = driver->batch;
	int ret = driver->source->commit_held(driver->source, batch, packet);

	ipq_batch_count(batch, packet);
	packet->held = 1;
	ipq_batch_release(batch, packet);
	return ret;
}

int ipq_driver_commit_all_held(struct ipq_driver *driver, uint32_t verdict)
{
	struct ipq_batch *batch = driver->batch;
	int ret = 0;

	for (uint32_t i = 0; i < IPQ_HELD_MAX && batch->held_count && ret == 0; i++) {
		struct ipq_packet packet = {
			.packet_id = (uint32_t)(batch->held[i] - 1),
			.verdict = verdict,
		};

		if (batch->held[i])
			ret = ipq_driver_commit_held(driver, &packet);
	}
	return ret;
}
