#include "report.h"
#include "sent.h"
#include "streams.h"
#include "host/base/log.h"
#include "lib/ports.h"
#include "lib/packet/packet.h"
#include "lib/queue/queue.h"
#include "lib/send/send.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <linux/netfilter/nfnetlink_queue.h>

enum { DESCRIBED = 512 /* bytes of a packet: its headers */ };

/* What is copied of each packet, in words. */
static void describe_copy(const struct ipq_queue_options *settings, char *text, size_t size)
{
	if (settings->copy_mode == NFQNL_COPY_META)
		snprintf(text, size, "metadata only");
	else if (settings->copy_range < IPQ_PAYLOAD_MAX)
		snprintf(text, size, "the first %u bytes", settings->copy_range);
	else
		snprintf(text, size, "whole packets");
}

int report_no_user(const char *text, int error)
{
	const char *reason = "it is in too many groups";

	if (error == -ENOENT)
		reason = "there is no such user (a number that has no name needs a group: "
			 "NUMBER:GROUP)";
	else if (error == -ESRCH)
		reason = "there is no such group";
	log_write(LOG_LEVEL_ERROR, "--user %s: %s", text, reason);
	return EX_NOUSER;
}

/* Who judges, and how far it is trusted. */
static void describe_worker(const struct options *options, char *text, size_t size)
{
	snprintf(text, size, "%s%s%s%s", options->is_sandboxed || options->user ? "," : "",
		 options->is_sandboxed ? " sandboxed" : "", options->user ? " as " : "",
		 options->user ? options->user : "");
}

void report_start(const struct options *options, const struct ipq_queue_options *settings,
		  const struct ipq_queue *queue, int core)
{
	uint32_t flags = ipq_queue_flags(queue);
	char copy[64], place[32] = "", worker[128];

	describe_worker(options, worker, sizeof(worker));
	describe_copy(settings, copy, sizeof(copy));
	if (core >= 0)
		snprintf(place, sizeof(place), ", core %d", core);
	log_queue(LOG_LEVEL_INFO, settings->queue_num,
		  ": waiting for packets (%s%s%s%s), judged by %s%s", copy,
		  flags & IPQ_QUEUE_GSO ? ", GSO" : "",
		  flags & IPQ_QUEUE_FAIL_OPEN ? ", fail-open" : "", place, options->script, worker);
}

/* ".PORT", where there are ports: those of tcpdump's lines. */
static void describe_port(const struct ipq_packet *packet, unsigned int at, char text[8])
{
	const uint8_t *port = packet->data + packet->l4 + at;

	text[0] = '\0';
	if (packet->l4 && ipq_has_ports(packet->protocol))
		snprintf(text, 8, ".%u", (unsigned int)port[0] << 8 | port[1]);
}

static void describe_addresses(const struct ipq_packet *packet, char *text, size_t size)
{
	int family = packet->ip_version == 4 ? AF_INET : AF_INET6;
	const uint8_t *source = packet->data + packet->l3 + (family == AF_INET ? 12 : 8);
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN], sport[8], dport[8];

	inet_ntop(family, source, from, sizeof(from));
	inet_ntop(family, source + (family == AF_INET ? 4 : 16), to, sizeof(to));
	describe_port(packet, 0, sport);
	describe_port(packet, 2, dport);
	snprintf(text, size, " (%s%s > %s%s, protocol %u)", from, sport, to, dport,
		 packet->protocol);
}

/* A copy of its beginning, whose lengths nobody changes any more. */
static void describe_packet(struct ipq_packet packet, const struct ipq_batch *made, char *text,
			    size_t size)
{
	uint8_t beginning[DESCRIBED];

	if (packet.data_len > sizeof(beginning))
		packet.data_len = sizeof(beginning);
	if (!ipq_batch_holds(made, packet.data, packet.data_len))
		return;
	memcpy(beginning, packet.data, packet.data_len);
	packet.data = beginning;
	ipq_header_parse(&packet);
	if (packet.ip_version)
		describe_addresses(&packet, text, size);
}

void report_work(const struct ipq_batch *batch, const struct ipq_batch *made, const char *noun,
		 char *text, size_t size)
{
	uint32_t current = __atomic_load_n(&batch->current, __ATOMIC_RELAXED);
	uint32_t count = __atomic_load_n(&batch->count, __ATOMIC_RELAXED);
	struct ipq_packet packet;
	char addresses[128] = "";

	snprintf(text, size, "%s", batch->in_timer % 2 ? " in a timer" : "");
	if (current >= count || current >= made->capacity)
		return;
	packet = made->packets[current];
	describe_packet(packet, made, addresses, sizeof(addresses));
	snprintf(text, size, " while it judged %s %u%s", noun, packet.packet_id, addresses);
}

void report_end(int queue_num, const struct ipq_counters *counters, const struct overflow *overflow,
		unsigned int restarts)
{
	char lost[64] = "", restarted[64] = "", sent[SENT_TEXT_SIZE];
	char streams[STREAMS_TEXT_SIZE];

	if (overflow->is_known)
		snprintf(lost, sizeof(lost), ", %" PRIu32 " lost unseen",
			 overflow->queue_full + overflow->socket_full);
	if (restarts)
		snprintf(restarted, sizeof(restarted), ", %u restart%s", restarts,
			 restarts == 1 ? "" : "s");
	log_queue(LOG_LEVEL_INFO, queue_num,
		  ": %" PRIu64 " packets, %" PRIu64 " accepted, %" PRIu64 " dropped, %" PRIu64
		  " other verdicts, %" PRIu64 " errors%s%s",
		  counters->packets, counters->accepted, counters->dropped,
		  counters->queued + counters->repeated + counters->stopped, counters->errors, lost,
		  restarted);
	if (sent_is_any(counters))
		log_queue(LOG_LEVEL_INFO, queue_num, ": %s", sent_text(counters, sent));
	if (streams_is_any(counters))
		log_queue(LOG_LEVEL_INFO, queue_num, ": %s", streams_text(counters, streams));
	if (counters->oversized)
		log_queue(LOG_LEVEL_WARN, queue_num,
			  ": %" PRIu64 " of the accepted packets had grown larger than the MTU of "
			  "their way out, and did not pass",
			  counters->oversized);
	if (counters->refused)
		log_queue(LOG_LEVEL_WARN, queue_num,
			  ": the kernel refused %" PRIu64 " verdicts, the last with: %s",
			  counters->refused, strerror((int)counters->last_refusal));
	if (counters->malformed)
		log_queue(LOG_LEVEL_WARN, queue_num,
			  ": %" PRIu64 " messages of the kernel could not be read",
			  counters->malformed);
}

void report_add(struct ipq_counters *counters, struct overflow *overflow,
		const struct ipq_counters *more_counters, const struct overflow *more_overflow)
{
	counters->packets += more_counters->packets;
	counters->accepted += more_counters->accepted;
	counters->dropped += more_counters->dropped;
	counters->queued += more_counters->queued;
	counters->repeated += more_counters->repeated;
	counters->stopped += more_counters->stopped;
	counters->errors += more_counters->errors;
	counters->sent += more_counters->sent;
	counters->rejected += more_counters->rejected;
	for (int reason = 0; reason < IPQ_UNSENT_REASONS; reason++)
		counters->unsent[reason] += more_counters->unsent[reason];
	for (uint32_t i = 0; i < IPQ_STREAMS_COUNTS; i++)
		counters->streams[i] += more_counters->streams[i];
	overflow->is_known = overflow->is_known && more_overflow->is_known;
	overflow->queue_full += more_overflow->queue_full;
	overflow->socket_full += more_overflow->socket_full;
}
