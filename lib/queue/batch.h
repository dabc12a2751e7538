/* The batch, for the files of this room. */
#ifndef IPQ_BATCH_H
#define IPQ_BATCH_H

#include "queue.h"

/* Takes back the packet that ipq_batch_add() gave last. */
void ipq_batch_drop_last(struct ipq_batch *batch);

/* Adds one packet and its verdict to the counters. */
void ipq_counters_count(struct ipq_counters *counters, const struct ipq_packet *packet);

/* Enters the packet into the held ones, and takes it out again. -ENOSPC: held_limit are there. */
int ipq_batch_hold(struct ipq_batch *batch, struct ipq_packet *packet);
void ipq_batch_release(struct ipq_batch *batch, struct ipq_packet *packet);
/* Takes the packet of that id out of the held ones, if it is there. */
void ipq_batch_forget(struct ipq_batch *batch, uint32_t packet_id);

#endif
