/* The process that judges one queue's packets, seen from within. */
#ifndef HOST_WORKER_H
#define HOST_WORKER_H

#include <limits.h>
#include <signal.h>

#include "host/base/options.h"
#include "privileges.h"
#include "vm.h"

/* What a worker tells its supervisor, by a pipe, in pieces of one write(2) each: a socket would take
 * descriptors along, of which nobody knows how long closing them takes. Behind all but FILE and
 * FAILED it waits for an order, from another pipe. Where that ends, so does the worker, unless it has
 * packets. */
enum worker_news {
	WORKER_LOADED,	 /* the script is loaded; settings are known */
	WORKER_READY,	 /* its start() has been called, and it is in the sandbox */
	WORKER_RESTORED, /* so has its restore() */
	WORKER_HANDED,	 /* it takes no more packets; what its save() returned is in saved */
	WORKER_FILE,	 /* text: a path that the script was made from. It comes before LOADED */
	WORKER_FAILED	 /* text: why it ends before it has judged */
};

enum { WORKER_TEXT_SIZE = 4000 };

struct worker_message {
	enum worker_news news;
	struct ipq_queue_options settings; /* the command line's, and what the script needs */
	size_t saved;			   /* bytes; 0: none */
	char text[WORKER_TEXT_SIZE];	   /* ends with a 0 byte; longer ones are cut */
};

_Static_assert(sizeof(struct worker_message) <= PIPE_BUF, "one write(2)");

enum worker_order {
	WORKER_GO, /* behind LOADED: the queue is bound; behind the others: packets are yours */
	WORKER_RESTORE, /* behind READY: so many bytes are in saved */
	WORKER_RETIRE	/* behind HANDED: another worker has the queue */
};

struct worker_command {
	enum worker_order order;
	size_t saved;
};

struct worker_task {
	const struct options *options;
	const struct privileges_user *user; /* to become; NULL: none */
	struct ipq_queue *queue;	    /* of queue_num; bound when the supervisor says so */
	uint16_t queue_num;
	struct ipq_batch *batch;
	/* Memory that outlives the worker; NULL: there is none. */
	struct vm_memory flows, streams, shared;
	uint32_t number;	 /* the worker's, among all that are alive */
	uint8_t *saved;		 /* WORKER_SAVED_MAX bytes, for all workers of the queue */
	int core;		 /* to stay on; -1: any */
	int news;		 /* pipes to the supervisor, */
	int orders;		 /* and from it */
	const sigset_t *signals; /* the mask to run with */
	bool is_beside;		 /* another one judges while it loads */
	uint32_t retires_ms;	 /* how long it may judge what it holds when it has retired */
};

enum { WORKER_SAVED_MAX = 64 << 20 };

/* Loads the script, calls its start(), gives up what packets need not, and judges them until TERM
 * asks to stop, USR2 to leave, or HUP to hand the queue over. Gives the exit code; what went wrong
 * is logged. */
int worker_run(const struct worker_task *task);

/* The same without a script: each packet gets the error verdict. */
int worker_run_without(const struct worker_task *task);

#endif
