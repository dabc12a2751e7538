/* A worker process, seen by its supervisor. */
#ifndef HOST_CHILD_H
#define HOST_CHILD_H

#include <signal.h>
#include <sys/types.h>

#include "limits.h"
#include "inherit.h"
#include "writer.h"
#include "host/base/options.h"
#include "host/figures/overflow.h"
#include "host/judge/worker.h"

enum child_stage { CHILD_LOADING, CHILD_LOADED, CHILD_RUNNING };

/* What outlives a worker: its queue, and its batch in shared memory. */
struct child {
	uint16_t queue_num;
	int core; /* -1: any */
	struct ipq_queue *queue;
	int queue_error; /* why there is none */
	struct ipq_batch *batch;
	struct ipq_batch made;		   /* as it was made: a worker may write over it */
	struct ipq_queue_options settings; /* how its queue is to be */
	bool was_odd;			   /* it was not, when it was looked at last */
	bool is_odd_told;		   /* and the log has said so */
	struct overflow overflow;
	pid_t pid;   /* 0: it does not run */
	int channel; /* -1: none */
	enum child_stage stage;
	bool is_adopted;       /* the queue was bound by another program */
	bool has_run;	       /* it, or one before it, has come to judge */
	bool is_given_up;      /* it judges without a script */
	bool is_reloading;     /* it was asked to, and has not told yet what came of it */
	uint64_t judged_at;    /* child_judged() when it was started */
	int64_t loading_since; /* ms; 0: it loads no script */
	int64_t load_ms;       /* how long the first one took */
	bool is_interrupted;   /* its loading was asked to end */
	unsigned int restarts;
	int64_t restart_at; /* ms; 0: no successor is due */
	struct backoff backoff;
	struct backoff fork_backoff;
	struct watchdog watchdog;
};

/* All of them, as a new process must know them. */
struct children {
	const struct options *options;
	struct privileges_user user; /* that workers become, if options name one */
	unsigned int count;
	int signals; /* the supervisor's signalfd */
	int page;    /* and its statistics' page; -1: none */
	struct writers writers;
	sigset_t signals_before;
	struct child of[OPTIONS_QUEUES_MAX];
};

/* Makes the socket, or takes the inherited one, and the batch. An exit code; what is wrong with the
 * socket is told later. */
int child_prepare(struct child *child, const struct options *options, unsigned int index,
		  struct inheritance *inheritance);
void child_release(struct child *child);

/* Forks the worker. False with a message where that fails. */
bool child_start(struct children *children, struct child *child);

/* Packets that its workers have judged themselves. */
uint64_t child_judged(const struct child *child);

/* Its queue is bound: it may go on. */
void child_let_go(struct child *child);

/* Takes the next thing that it has to tell. False where there is nothing, now or any more. */
bool child_read(struct child *child, struct worker_message *message);

/* Tells what a worker that has ended had in hand, and gives those packets their verdicts. status is
 * wait(2)'s. */
void child_died(struct child *child, int status);

/* Its queue is bound, and is as it was made, whatever a worker did to it. */
int child_restore_queue(struct child *child);

/* Gives the error verdict to all packets that still wait, when there is nobody left to judge them;
 * no more will come. */
void child_drain(struct child *child);

#endif
