#include "sent.h"
#include "comment.h"

#include <string.h>

enum { US = 1000000 };

static int64_t time_of(const struct ipq_frame *frame)
{
	return (int64_t)(frame->sec * US + frame->nsec / 1000);
}

/* The frame of another packet: none of like's options is about that. */
static struct ipq_frame frame_for(const struct ipq_sending *sending, struct ipq_sent *sent,
				  const struct ipq_like *like)
{
	struct ipq_frame frame = *like->frame;

	frame.options_len = 0;
	if (!sent->time_us)
		sent->time_us = time_of(&frame);
	if (sent->time_us != time_of(&frame)) {
		frame.sec = (uint64_t)sent->time_us / US;
		frame.nsec = (uint32_t)((uint64_t)sent->time_us % US) * 1000;
		frame.ticks = ipq_reader_ticks(sending->reader, &frame);
	}
	return frame;
}

static void put(struct ipq_sending *sending, struct ipq_sent *sent, const struct ipq_like *like)
{
	struct ipq_frame frame = frame_for(sending, sent, like);
	uint32_t link_len = sent->answers ? like->came_len : like->left_len;
	uint8_t *bytes = sending->bytes;

	memcpy(bytes, sent->answers ? like->came : like->left, link_len);
	memcpy(bytes + link_len, sent->data, sent->len);
	if (sent->answers)
		ipq_link_turn(frame.link_type, bytes, link_len);
	ipq_link_set_version(frame.link_type, bytes, link_len, sent->data[0] >> 4);
	ipq_link_set_length(frame.link_type, bytes, link_len, sent->len);
	ipq_output_changed(sending->output, &frame, bytes, link_len + sent->len,
			   link_len + sent->len,
			   sending->output->is_bare ? NULL : ipq_comment_sent);
}

/* Where no packet has come there is no frame to make one like. */
static void take(struct ipq_sending *sending, struct ipq_sent *sent, const struct ipq_like *like)
{
	struct ipq_counters *counters = &sending->outbox->batch->counters;

	sent->is_taken = 1;
	if (!like->frame) {
		counters->unsent[IPQ_UNSENT_ROUTE]++;
		sent->is_told = 1;
		return;
	}
	counters->sent++;
	put(sending, sent, like);
}

/* What because of a held packet was sent waits for its frame. */
static bool is_of(const struct ipq_sent *sent, uint32_t cause)
{
	return sent->cause == cause && (cause != IPQ_CAUSELESS || !sent->has_cause);
}

/* What has that cause, or IPQ_CAUSELESS, and was sent when so many packets of the batch were judged. */
static void take_of(struct ipq_sending *sending, uint32_t cause, uint32_t behind,
		    const struct ipq_like *like)
{
	struct ipq_outbox *outbox = sending->outbox;

	while (sending->taken < outbox->count && outbox->sent[sending->taken].is_taken)
		sending->taken++;
	for (uint32_t i = sending->taken; i < outbox->count; i++) {
		struct ipq_sent *sent = &outbox->sent[i];

		if (sent->behind > behind)
			return;
		if (!sent->is_taken && is_of(sent, cause))
			take(sending, sent, like);
	}
}

void ipq_sent_before(struct ipq_sending *sending, uint32_t number)
{
	if (sending->outbox)
		take_of(sending, IPQ_CAUSELESS, number, &sending->last);
}

void ipq_sent_behind(struct ipq_sending *sending, uint32_t number, const struct ipq_like *like)
{
	if (!sending->outbox)
		return;
	take_of(sending, number, number, like);
	sending->last = *like;
}

void ipq_sent_held(struct ipq_sending *sending, uint32_t packet_id, const struct ipq_like *like)
{
	struct ipq_outbox *outbox = sending->outbox;

	for (uint32_t i = sending->taken; outbox && i < outbox->count; i++) {
		struct ipq_sent *sent = &outbox->sent[i];

		if (!sent->is_taken && sent->cause == IPQ_CAUSELESS && sent->has_cause &&
		    sent->cause_id == packet_id)
			take(sending, sent, like->frame ? like : &sending->last);
	}
}

/* What is still of use of the last frame when its memory is gone. */
static void keep_last(struct ipq_sending *sending)
{
	struct ipq_like *last = &sending->last;

	if (!last->frame || last->frame == &sending->frame)
		return;
	sending->frame = *last->frame;
	sending->frame.bytes = NULL;
	memcpy(sending->link, last->came, last->came_len);
	*last = (struct ipq_like){
		.frame = &sending->frame,
		.came = sending->link,
		.left = sending->link,
		.came_len = last->came_len,
		.left_len = last->came_len,
	};
}

void ipq_sent_end(struct ipq_sending *sending)
{
	struct ipq_outbox *outbox = sending->outbox;

	if (!outbox)
		return;
	for (uint32_t i = sending->taken; i < outbox->count; i++)
		if (!outbox->sent[i].is_taken)
			take(sending, &outbox->sent[i], &sending->last);
	if (sending->tell)
		sending->tell(outbox);
	keep_last(sending);
	ipq_outbox_clear(outbox);
	sending->taken = 0;
}
