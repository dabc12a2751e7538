/* The process that judges one queue's packets, seen from within. */
#ifndef HOST_WORKER_H
#define HOST_WORKER_H

#include "options.h"

/* How far a worker is. It tells its supervisor by a struct worker_report on their channel, a
 * SOCK_SEQPACKET; between the two it waits for a message back, of any kind, which says that the
 * queue is bound. Where the channel ends instead, so does the worker. */
enum worker_stage { WORKER_LOADING, WORKER_LOADED, WORKER_RUNNING };

struct worker_report {
	enum worker_stage stage;
	struct ipq_queue_options settings; /* the command line's, and what the script needs */
};

struct worker_task {
	const struct options *options;
	struct ipq_queue *queue; /* of queue_num; bound when the supervisor says so */
	uint16_t queue_num;
	struct ipq_batch *batch;
	int core; /* to stay on; -1: any */
	int channel;
	const sigset_t *signals; /* the mask to run with */
};

/* Loads the script and judges packets until TERM asks to stop. Gives the exit code; what went wrong
 * is logged. */
int worker_run(const struct worker_task *task);

#endif
