/* The process that judges one queue's packets, seen from within. */
#ifndef HOST_WORKER_H
#define HOST_WORKER_H

#include <limits.h>
#include <signal.h>

#include "host/base/options.h"
#include "privileges.h"

/* What a worker tells its supervisor, on their channel, a SOCK_SEQPACKET. Behind WORKER_LOADED it
 * waits for a message back, of any kind, which says that the queue is bound. Where the channel ends
 * instead, so does the worker. */
enum worker_news {
	WORKER_LOADED,	     /* the script is loaded; settings are known */
	WORKER_RUNNING,	     /* its start() has been called, packets are judged */
	WORKER_RELOADING,    /* another script is being loaded */
	WORKER_RELOADED,     /* another script took its place */
	WORKER_NOT_RELOADED, /* it goes on with the one that it had */
	WORKER_FILE /* path: one that the script was made from. It comes before LOADED and RELOADED
		     */
};

struct worker_message {
	enum worker_news news;
	struct ipq_queue_options settings; /* the command line's, and what the script needs */
	char path[PATH_MAX];
};

struct worker_task {
	const struct options *options;
	const struct privileges_user *user; /* to become; NULL: none */
	struct ipq_queue *queue;	    /* of queue_num; bound when the supervisor says so */
	uint16_t queue_num;
	struct ipq_batch *batch;
	int core; /* to stay on; -1: any */
	int channel;
	const sigset_t *signals; /* the mask to run with */
	bool is_successor;	 /* the queue has had a worker before */
};

/* Loads the script, calls its start(), gives up what packets need not, and judges them until TERM
 * asks to stop, or USR2 to leave. Gives the exit code; what went wrong is logged. */
int worker_run(const struct worker_task *task);

/* The same without a script: each packet gets the error verdict. */
int worker_run_without(const struct worker_task *task);

#endif
