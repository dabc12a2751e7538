/* The frames of what filters send, among those of a capture that are accepted. */
#ifndef IPQ_CAPTURE_SENT_H
#define IPQ_CAPTURE_SENT_H

#include "link.h"
#include "output.h"
#include "lib/send/send.h"

/* A frame that others are made like. */
struct ipq_like {
	const struct ipq_frame *frame; /* NULL: there is none */
	const uint8_t *came;	       /* its link header as it came: for what goes back */
	const uint8_t *left;	       /* the same as the filter left it: for what goes on */
	uint32_t came_len;	       /* IPQ_LINK_ROOM at most, both */
	uint32_t left_len;
};

/* All 0: nothing is sent. */
struct ipq_sending {
	struct ipq_outbox *outbox; /* NULL: nobody sends */
	struct ipq_output *output;
	const struct ipq_reader *reader;
	void (*tell)(struct ipq_outbox *outbox); /* NULL: nobody wants to know */
	uint32_t taken;				 /* all before it in the outbox have is_taken set */
	struct ipq_like last;			 /* the packet's that was judged last */
	/* Its own, where the memory of the frame is gone. */
	struct ipq_frame frame;
	uint8_t link[IPQ_LINK_ROOM];
	uint8_t bytes[IPQ_LINK_ROOM + IPQ_PACKET_MAX];
};

/* What these write is counted in the counters of the outbox's batch: as sent, or by why not. Where
 * nobody sends they do nothing. */

/* Before the frame of packet number of the batch: what was sent by then without a cause, in frames
 * like the last one's. */
void ipq_sent_before(struct ipq_sending *sending, uint32_t number);
/* Behind it: what its filter has sent, in frames like it; it is the last one then. The memory of
 * like's outlasts the batch. */
void ipq_sent_behind(struct ipq_sending *sending, uint32_t number, const struct ipq_like *like);
/* Behind the frame of a held packet that gets its verdict: what was sent because of it. like has no
 * frame where that was not kept. */
void ipq_sent_held(struct ipq_sending *sending, uint32_t packet_id, const struct ipq_like *like);

/* At the end of a batch, whose memory is gone then: what is left. */
void ipq_sent_end(struct ipq_sending *sending);

#endif
