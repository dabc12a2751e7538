/* A worker process, seen by its supervisor. */
#ifndef HOST_CHILD_H
#define HOST_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "limits.h"
#include "host/judge/worker.h"
#include "lib/queue/queue.h"

/*
 * How far it is:
 *
 *   LOADING ──> LOADED ──> READY ──┬────────────────> RUNNING <──┬──> SAVING ──> HANDED ──> RETIRING
 *                                  └──> RESTORING ──────^        └──────────────────┘
 *
 * From RESTORING on it is in the way of packets.
 */
enum child_stage {
	CHILD_LOADING,	 /* runs the script's top level */
	CHILD_LOADED,	 /* waits for its queue to be bound, then runs start() */
	CHILD_READY,	 /* waits for the queue's packets */
	CHILD_RESTORING, /* runs restore(); nobody judges */
	CHILD_RUNNING,	 /* judges */
	CHILD_SAVING,	 /* was asked for save(), and judges until it hears of it */
	CHILD_HANDED,	 /* waits for what becomes of the queue; nobody judges */
	CHILD_RETIRING	 /* judges what it holds; another one has the queue */
};

/* Zeroed memory is none. */
struct child {
	pid_t pid;	 /* 0: none */
	uint32_t number; /* among all workers that are alive, for the memory that they share */
	int news;	 /* pipes from it, */
	int orders;	 /* and to it; -1: none */
	enum child_stage stage;
	int64_t started;     /* ms */
	int64_t since;	     /* ms: when its stage began */
	bool is_interrupted; /* its stage took too long, and it was told */
	bool is_unwanted;    /* it was killed on purpose, and nobody need hear of it */
	bool is_told;	     /* why it was killed has been told */
	bool is_without;     /* it judges without a script */
	bool has_explained;  /* it has said why it ends */
	unsigned int files;  /* that it has named */
	struct ipq_batch *batch;
	struct ipq_batch made; /* as it was made: a worker may write over it */
	struct watchdog watchdog;
};

void child_enter(struct child *child, enum child_stage stage);

/* It hears of no more orders. */
void child_leave_alone(struct child *child);

/* Tells it how to go on. */
void child_order(const struct child *child, enum worker_order order, size_t saved);

/* Takes the next thing that it has to tell. False where there is nothing, now or any more. */
bool child_read(struct child *child, struct worker_message *message);

/* What it is at, to be written behind a message. */
void child_work(const struct child *child, char *text, size_t size);

/* Ends it at once, without a word: it has nothing in hand. */
void child_discard(struct child *child);

/* It has ended, and what it had in hand is settled. */
void child_forget(struct child *child);

#endif
