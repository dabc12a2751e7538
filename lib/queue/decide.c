/* What a script has decided of a flow is carried out for its packets. */
#include "queue.h"
#include "lib/clock.h"
#include "lib/flow/flow.h"
#include "lib/send/send.h"
#include "lib/stream/stream.h"

#include <string.h>

/* Where the script may not send any more, as after a reload, its packets are dropped without a word. */
static void reject(struct ipq_driver *driver, struct ipq_packet *packet, uint32_t kind)
{
	struct ipq_tuple known;
	int is_known;

	if (!driver->outbox)
		return;
	packet->reject = (uint8_t)kind;
	is_known = ipq_conntrack_sender(packet, &known);
	(void)ipq_outbox_reject(driver->outbox, packet, kind, is_known ? &known : NULL);
}

static int64_t time_of(const struct ipq_driver *driver, const struct ipq_packet *packet)
{
	return driver->times_packets ? ipq_packet_us(packet) : driver->now_us;
}

int ipq_driver_decide(struct ipq_driver *driver, struct ipq_packet *packet)
{
	struct ipq_flow *flow = ipq_flows_packet(driver->flows, packet, time_of(driver, packet));
	uint32_t decision = flow ? ipq_flow_decision(flow) : IPQ_FLOW_ASK;

	if (decision == IPQ_FLOW_ASK)
		return 1;
	packet->decided = 1;
	packet->reject = IPQ_REJECT_NOT;
	if (decision == IPQ_FLOW_BYPASS) {
		packet->verdict = IPQ_ACCEPT;
		packet->mark |= driver->bypass_mark;
		packet->set |= IPQ_SET_MARK;
		return 0;
	}
	packet->verdict = IPQ_DROP;
	if (decision & IPQ_FLOW_REJECT)
		reject(driver, packet, decision & IPQ_FLOW_REJECT_MASK);
	return 0;
}

/* Its filter may have held it, and has let it go. */
static int hold(void *driver, struct ipq_packet *packet)
{
	int ret = packet->held ? 0 : ipq_driver_hold(driver, packet);

	if (ret == 0)
		packet->held = IPQ_HELD_BY_STREAM;
	return ret;
}

static void commit(void *driver, struct ipq_packet *packet)
{
	(void)ipq_driver_commit_held(driver, packet);
}

static uint32_t mtu_of(struct ipq_devices *devices, uint32_t device)
{
	return ipq_device_get(devices, device)->mtu;
}

void ipq_driver_use_streams(struct ipq_driver *driver, struct ipq_streams *streams)
{
	driver->streams = streams;
	if (!streams)
		return;
	streams->owner = driver;
	streams->hold = hold;
	streams->commit = commit;
	streams->mtu_of = mtu_of;
	streams->outbox = driver->outbox;
	/* What was counted before there was a driver counts, too. */
	for (uint32_t i = 0; i < IPQ_STREAMS_COUNTS; i++)
		driver->batch->counters.streams[i] += streams->own_counts[i];
	memset(streams->own_counts, 0, sizeof(streams->own_counts));
	streams->counts = driver->batch->counters.streams;
}

int ipq_driver_stream(struct ipq_driver *driver, struct ipq_packet *packet)
{
	driver->streams->now_us = time_of(driver, packet);
	return ipq_streams_packet(driver->streams, packet);
}

int ipq_driver_stream_settle(struct ipq_driver *driver, struct ipq_packet *packet)
{
	return ipq_streams_settle(driver->streams, packet);
}
