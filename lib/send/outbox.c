/* What filters have sent since the last batch. */
#include "send.h"
#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/packet/packet.h"

#include <errno.h>
#include <string.h>
#include <linux/netfilter.h>
#include <sys/mman.h>

enum { CACHE_LINE = 64, US = 1000000 };

#define ALIGNED(size) (((size) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE)

/* One mapping: the outbox, its packets, their bytes. Pages that no packet reaches stay unbacked. */
enum {
	SENT_AT = ALIGNED(sizeof(struct ipq_outbox)),
	BYTES_AT = ALIGNED(SENT_AT + IPQ_OUTBOX_PACKETS * sizeof(struct ipq_sent)),
	END = BYTES_AT + IPQ_OUTBOX_BYTES
};

int ipq_outbox_new(struct ipq_outbox **outbox, struct ipq_batch *batch, uint32_t mark)
{
	uint8_t *base = mmap(NULL, END, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		return -ENOMEM;
	*outbox = (struct ipq_outbox *)base;
	**outbox = (struct ipq_outbox){
		.sent = (struct ipq_sent *)(base + SENT_AT),
		.bytes = base + BYTES_AT,
		.batch = batch,
		.mark = mark,
		.reject_rate = IPQ_REJECT_RATE,
	};
	return 0;
}

void ipq_outbox_free(struct ipq_outbox *outbox)
{
	if (outbox)
		munmap(outbox, END);
}

void ipq_outbox_clear(struct ipq_outbox *outbox)
{
	outbox->count = 0;
	outbox->used = 0;
	outbox->told = 0;
}

void ipq_outbox_flush(struct ipq_outbox *outbox)
{
	if (!outbox->count || !outbox->flush)
		return;
	outbox->flush(outbox);
	ipq_outbox_clear(outbox);
}

const char *ipq_unsent_text(int reason)
{
	switch (reason < 0 ? -reason : reason) {
	case IPQ_UNSENT_NOT: return "sent";
	case IPQ_UNSENT_RULE: return "an RFC forbids an answer to this packet";
	case IPQ_UNSENT_RATE: return "more rejects a second than --reject-rate allows";
	case IPQ_UNSENT_ROOM: return "too much is to be sent behind this batch already";
	case IPQ_UNSENT_MALFORMED: return "the packet is malformed, or not all there";
	case IPQ_UNSENT_LENGTH: return "the packet is too large for its way, and cannot be cut";
	case IPQ_UNSENT_BUFFER: return "the kernel has no room for it";
	case IPQ_UNSENT_ROUTE: return "no way to its destination";
	case IPQ_UNSENT_REFUSED: return "the kernel refuses it, as a rule of the OUTPUT hook would";
	default: return "not sent";
	}
}

const char *ipq_unsent_word(int reason)
{
	switch (reason < 0 ? -reason : reason) {
	case IPQ_UNSENT_RULE: return "rule";
	case IPQ_UNSENT_RATE: return "rate";
	case IPQ_UNSENT_ROOM: return "room";
	case IPQ_UNSENT_MALFORMED: return "malformed";
	case IPQ_UNSENT_LENGTH: return "length";
	case IPQ_UNSENT_BUFFER: return "buffer";
	case IPQ_UNSENT_ROUTE: return "route";
	default: return "refused";
	}
}

static int count_unsent(struct ipq_outbox *outbox, int reason)
{
	outbox->batch->counters.unsent[-reason]++;
	return reason;
}

/* Where the next packet's bytes go, and how many there may be; 0: there is no room. */
static uint32_t room_of(const struct ipq_outbox *outbox, uint8_t **to)
{
	uint32_t rest = IPQ_OUTBOX_BYTES - outbox->used;

	*to = outbox->bytes + outbox->used;
	if (outbox->count == IPQ_OUTBOX_PACKETS)
		return 0;
	return rest < IPQ_PACKET_MAX ? rest : IPQ_PACKET_MAX;
}

static uint32_t number_of(const struct ipq_outbox *outbox, const struct ipq_packet *cause)
{
	const struct ipq_batch *batch = outbox->batch;

	if (cause < batch->packets || cause >= batch->packets + batch->count)
		return IPQ_CAUSELESS;
	return (uint32_t)(cause - batch->packets);
}

/* Whether bytes go to the address that the cause came from. A filter may answer a packet of which it has
 * read nothing. */
static bool is_answer(const uint8_t *bytes, struct ipq_packet *cause)
{
	bool is_v4 = bytes[0] >> 4 == 4;

	if (!cause->parsed)
		ipq_header_parse(cause);
	if (cause->ip_version != (is_v4 ? 4 : 6))
		return false;
	return is_v4 ? memcmp(bytes + 16, cause->data + cause->l3 + 12, 4) == 0
		     : memcmp(bytes + 24, cause->data + cause->l3 + 8, 16) == 0;
}

/* Where an answer to a packet goes out, and where one goes that goes the packet's way. */
static uint32_t device_of(const struct ipq_packet *packet, bool is_answering)
{
	uint32_t indev = packet->present & IPQ_HAS_INDEV ? packet->indev : 0;
	uint32_t outdev = packet->present & IPQ_HAS_OUTDEV ? packet->outdev : 0;

	if (is_answering)
		return indev ? indev : outdev;
	return outdev ? outdev : indev;
}

/* By the timer that runs, or by the packet that is judged. */
static int64_t time_of(const struct ipq_outbox *outbox)
{
	const struct ipq_batch *batch = outbox->batch;

	if (outbox->timer_us || batch->current >= batch->count)
		return outbox->timer_us;
	return ipq_packet_us(&batch->packets[batch->current]);
}

/* Takes in the len bytes that lie where room_of() has said. */
static void put(struct ipq_outbox *outbox, uint32_t len, const struct ipq_packet *packet,
		struct ipq_packet *cause)
{
	struct ipq_sent *sent = &outbox->sent[outbox->count++];
	uint8_t *bytes = outbox->bytes + outbox->used;
	bool is_answering = cause && is_answer(bytes, cause);

	*sent = (struct ipq_sent){
		.data = bytes,
		.len = len,
		.mark = outbox->mark,
		.cause = cause ? number_of(outbox, cause) : IPQ_CAUSELESS,
		.cause_id = cause ? cause->packet_id : 0,
		.behind = outbox->batch->current,
		.time_us = outbox->is_live ? 0 : time_of(outbox),
		.answers = is_answering,
		.has_cause = cause != NULL,
	};
	if (packet) {
		sent->mark |= packet->mark;
		sent->device = device_of(packet, packet == cause && is_answering);
	}
	if (cause && sent->mark == outbox->mark)
		sent->mark |= cause->mark;
	if (cause && !sent->device)
		sent->device = device_of(cause, is_answering);
	outbox->used += ALIGNED(len);
}

static int take(struct ipq_outbox *outbox, int len, const struct ipq_packet *packet,
		struct ipq_packet *cause)
{
	if (len < 0)
		return count_unsent(outbox, len);
	put(outbox, (uint32_t)len, packet, cause);
	return 0;
}

int ipq_outbox_packet(struct ipq_outbox *outbox, const struct ipq_packet *packet,
		      struct ipq_packet *cause)
{
	uint8_t *to;
	uint32_t room = room_of(outbox, &to);

	return take(outbox, room ? ipq_packet_copy(packet, to, room) : -IPQ_UNSENT_ROOM, packet,
		    cause);
}

/* Whether they are an IP packet as its header says, neither more nor less. */
static bool is_whole(uint8_t *bytes, uint32_t len)
{
	struct ipq_packet packet = {.data = bytes, .data_len = len, .len = len};

	ipq_header_parse(&packet);
	return packet.ip_version && !packet.malformed && ipq_header_total(bytes, len) == len;
}

int ipq_outbox_bytes(struct ipq_outbox *outbox, const void *bytes, uint32_t len,
		     struct ipq_packet *cause)
{
	uint8_t *to;
	uint32_t room = room_of(outbox, &to);
	int ret = (int)len;

	if (len > IPQ_PACKET_MAX)
		ret = -IPQ_UNSENT_LENGTH;
	else if (len > room)
		ret = -IPQ_UNSENT_ROOM;
	else if (memcpy(to, bytes, len), !is_whole(to, len))
		ret = -IPQ_UNSENT_MALFORMED;
	return take(outbox, ret, NULL, cause);
}

/* A token bucket for a second's rejects. */
static bool may_reject(struct ipq_outbox *outbox, const struct ipq_packet *packet)
{
	double most = outbox->reject_rate;
	int64_t now = outbox->is_live ? ipq_monotonic_ns() / 1000 : ipq_packet_us(packet);
	double passed = ((double)now - (double)outbox->reject_us) / US;

	if (!outbox->reject_rate)
		return true;
	if (!outbox->reject_us || passed > 1)
		outbox->reject_tokens = most;
	else if (passed > 0)
		outbox->reject_tokens += passed * most;
	if (outbox->reject_tokens > most)
		outbox->reject_tokens = most;
	outbox->reject_us = now;
	if (outbox->reject_tokens < 1)
		return false;
	outbox->reject_tokens--;
	return true;
}

/* Whether the packet came to all of a network, as far as that can be told. */
static bool came_to_all(struct ipq_outbox *outbox, const struct ipq_packet *packet)
{
	return outbox->is_broadcast && packet->ip_version == 4 &&
	       packet->hook <= NF_INET_LOCAL_IN &&
	       outbox->is_broadcast(outbox, packet->data + packet->l3 + 16);
}

int ipq_outbox_reject(struct ipq_outbox *outbox, struct ipq_packet *packet, uint32_t kind,
		      const struct ipq_tuple *known)
{
	bool is_receiver = !outbox->is_live || packet->hook == NF_INET_LOCAL_IN;
	uint8_t *to;
	uint32_t room = room_of(outbox, &to);
	int ret;

	if (!room)
		ret = -IPQ_UNSENT_ROOM;
	else if (came_to_all(outbox, packet))
		ret = -IPQ_UNSENT_RULE;
	else
		ret = ipq_packet_reject(packet, kind, known, is_receiver, to, room);
	/* Those that no RFC wants take nothing from the others. */
	if (ret >= 0 && !may_reject(outbox, packet))
		ret = -IPQ_UNSENT_RATE;
	ret = take(outbox, ret, NULL, packet);
	outbox->batch->counters.rejected += ret == 0;
	return ret;
}

int ipq_outbox_reset(struct ipq_outbox *outbox, struct ipq_packet *packet,
		     const struct ipq_tuple *sender, const struct ipq_tuple *receiver)
{
	uint8_t *to;
	uint32_t room = room_of(outbox, &to);
	int first, second;

	first = take(outbox,
		     room ? ipq_packet_reject(packet, IPQ_REJECT_TCP_RESET, sender, true, to, room)
			  : -IPQ_UNSENT_ROOM,
		     NULL, packet);
	room = room_of(outbox, &to);
	second =
		take(outbox, room ? ipq_packet_reset(packet, receiver, to, room) : -IPQ_UNSENT_ROOM,
		     NULL, packet);
	return first < 0 ? second : 0;
}
