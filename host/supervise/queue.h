/* A queue, and the workers that it has. */
#ifndef HOST_QUEUE_H
#define HOST_QUEUE_H

#include <signal.h>

#include "child.h"
#include "control.h"
#include "region.h"
#include "writer.h"
#include "host/base/options.h"
#include "host/figures/overflow.h"
#include "host/figures/stats.h"
#include "lib/send/send.h"

enum queue_role {
	QUEUE_OWNER, /* has the queue's packets, or will when it has loaded */
	QUEUE_NEXT,  /* is to take its place, and loads beside it */
	QUEUE_OLD,   /* was owner, and judges what it holds */
	QUEUE_ROLES
};

/* What the log has said of packets that were not sent. */
struct queue_unsent {
	uint64_t count;
	int64_t again_at; /* ms; not before that */
};

/* What outlives a worker. */
struct queue {
	uint16_t num;
	int core; /* -1: any */
	struct ipq_queue *socket;
	int socket_error;			 /* why there is none */
	bool is_adopted;			 /* it was bound by another program */
	bool has_refused;			 /* one was handed over that could not be used */
	struct ipq_queue_options settings;	 /* how it is to be */
	struct ipq_queue_options owner_settings; /* for its owner alone */
	struct ipq_queue_options next_settings;	 /* when QUEUE_NEXT is owner */
	bool was_odd;				 /* it was not, when it was looked at last */
	bool is_odd_told;			 /* and the log has said so */
	bool has_bound_others;			 /* that too */
	struct overflow overflow;
	bool is_oversized_told; /* that packets got too large for their way out */
	struct queue_unsent unsent[IPQ_UNSENT_REASONS];
	struct child child[QUEUE_ROLES];
	struct region flows;	/* for its workers alone */
	struct region streams;	/* the same */
	uint8_t *saved;		/* what a worker saves for the next one: WORKER_SAVED_MAX bytes */
	struct stats past;	/* what workers counted that have ended */
	uint32_t unanswered;	/* verdicts of settled packets that no owner knows of yet */
	bool has_run;		/* a worker has come to judge */
	bool is_given_up;	/* it is judged without a script */
	bool has_changed;	/* its owner has the script of the last reload */
	int64_t load_ms;	/* how long the first one took */
	uint32_t error_verdict; /* of what nobody can judge */
	unsigned int restarts;
	int64_t restart_at; /* ms; 0: no successor is due */
	struct backoff backoff;
	struct backoff fork_backoff;
};

/* All of them, as a new process must know them. */
struct queues {
	const struct options *options;
	struct privileges_user user; /* that workers become, if options name one */
	unsigned int count;
	int signals; /* the supervisor's signalfd */
	int page;    /* its statistics' page; -1: none */
	int watch;   /* and its inotify(7) descriptor; -1: none */
	const struct control *control;
	struct region shared;  /* tables that all workers share */
	uint32_t kernel_loses; /* see host/rules/trial.h */
	struct writers writers;
	sigset_t signals_before;
	struct queue of[OPTIONS_QUEUES_MAX];
};

/* Makes the socket, or takes the inherited one. An exit code; what is wrong with the socket is told
 * later. */
int queue_prepare(struct queue *queue, const struct options *options, unsigned int index,
		  struct inheritance *inheritance);
void queue_release(struct queue *queue);

/* Forks a worker. False with a message where that fails. */
bool queue_start(struct queues *queues, struct queue *queue, enum queue_role role);

/* The worker that was to take the owner's place does. The owner, where there is one, judges what it
 * holds. */
void queue_promote(struct queue *queue);

/* Brings the counters of the script that is to be up to those of the one that is: neither runs. */
void queue_bequeath(struct queue *queue);

/* The bytes of saved are of no more use. */
void queue_forget_saved(struct queue *queue);

/* The worker has ended: gives what it had in hand its verdicts, takes over what it counted, and
 * forgets it. Gives the number of those packets, or a negative errno. */
int queue_settle(struct queue *queue, enum queue_role role);

/* It is bound, and is as it was made, whatever a worker did to it. */
int queue_restore(struct queue *queue);

/* Has it copy of packets what settings say. */
void queue_copy(struct queue *queue, const struct ipq_queue_options *settings);

/* Gives the error verdict to all packets that still wait, when there is nobody left to judge them;
 * no more will come. */
void queue_drain(struct queue *queue);

/* What was counted so far, by all of its workers. */
void queue_count(const struct queue *queue, struct stats *stats);

#endif
