/* The batch, for the files of this room. */
#ifndef IPQ_BATCH_H
#define IPQ_BATCH_H

#include "queue.h"

/* Takes back the packet that ipq_batch_add() gave last. */
void ipq_batch_drop_last(struct ipq_batch *batch);

/* Adds one packet and its verdict to the counters. */
void ipq_batch_count(struct ipq_batch *batch, const struct ipq_packet *packet);

/* Enters the packet into the held ones, and takes it out again. -ENOSPC: held_limit are there. */
int ipq_batch_hold(struct ipq_batch *batch, struct ipq_packet *packet);
void ipq_batch_release(struct ipq_batch *batch, struct ipq_packet *packet);

#endif
