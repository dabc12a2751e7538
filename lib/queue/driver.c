/* What the filter loop calls: for packets, and for those that it holds. */
#include "batch.h"
#include "histogram.h"
#include "lib/clock.h"
#include "lib/flow/flow.h"
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

/* The batch's verdicts are sent even where those of held packets could not be. */
static int commit(struct ipq_driver *driver)
{
	struct ipq_batch *batch = driver->batch;
	int flushed, ret;

	if (!batch->count)
		return ipq_driver_flush(driver);
	take_time(driver);
	flushed = ipq_driver_flush(driver);
	ret = driver->source->commit(driver->source, batch);
	ipq_batch_tally(batch);
	ipq_batch_clear(batch);
	return flushed < 0 ? flushed : ret;
}

/* What ipq_driver_decide() will need is fetched for all packets together. Where packets tell the time it
 * is the first one's. */
static void begin_flows(struct ipq_driver *driver)
{
	const struct ipq_packet *first = driver->batch->packets;

	driver->now_us = driver->times_packets ? ipq_packet_us(first) : ipq_monotonic_ns() / 1000;
	ipq_flows_batch(driver->flows, driver->batch, driver->now_us);
}

int ipq_driver_next(struct ipq_driver *driver)
{
	struct ipq_batch *batch = driver->batch;
	int ret = commit(driver);

	/* Behind the verdicts. */
	if (driver->outbox)
		ipq_outbox_flush(driver->outbox);
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
	if (ret > 0 && driver->flows)
		begin_flows(driver);
	driver->handed_ns = ret > 0 && is_timed(batch) ? ipq_monotonic_ns() : 0;
	return ret;
}

int ipq_driver_hold(struct ipq_driver *driver, struct ipq_packet *packet)
{
	int ret = ipq_batch_hold(driver->batch, packet);

	if (ret == 0 || !driver->kept_count || ipq_driver_flush(driver) < 0)
		return ret;
	return ipq_batch_hold(driver->batch, packet);
}

void ipq_driver_release(struct ipq_driver *driver, struct ipq_packet *packet)
{
	ipq_batch_release(driver->batch, packet);
}

/* The verdicts first: who dies between the two leaves ids that have their verdicts, which the kernel
 * answers, and no packet without one. */
int ipq_driver_flush(struct ipq_driver *driver)
{
	struct ipq_batch *batch = driver->batch;
	int ret = 0;

	if (!driver->kept_count)
		return 0;
	if (driver->source->flush)
		ret = driver->source->flush(driver->source);
	if (ret == 0) {
		ipq_counters_add(&batch->counters, &driver->kept_counters);
		for (uint32_t i = 0; i < driver->kept_count; i++)
			ipq_batch_forget(batch, driver->kept[i]);
	}
	driver->kept_counters = (struct ipq_counters){0};
	driver->kept_count = 0;
	return ret;
}

int ipq_driver_commit_held(struct ipq_driver *driver, struct ipq_packet *packet)
{
	int ret = driver->source->commit_held(driver->source, driver->batch, packet);

	packet->held = 0;
	if (ret < 0)
		return ret;
	ipq_counters_count(&driver->kept_counters, packet);
	driver->kept[driver->kept_count++] = packet->packet_id;
	if (driver->source->flush && driver->kept_count < IPQ_KEPT_MAX)
		return 0;
	return ipq_driver_flush(driver);
}

int ipq_driver_commit_all_held(struct ipq_driver *driver, uint32_t verdict)
{
	struct ipq_batch *batch = driver->batch;
	int ret = ipq_driver_flush(driver);

	for (uint32_t i = 0; i < IPQ_HELD_MAX && batch->held_count && ret == 0; i++) {
		struct ipq_packet packet = {
			.packet_id = (uint32_t)(batch->held[i] - 1),
			.verdict = verdict,
		};

		if (batch->held[i])
			ret = ipq_driver_commit_held(driver, &packet);
	}
	return ret < 0 ? ret : ipq_driver_flush(driver);
}
