/* The supervisor, for the files of this room. */
#ifndef HOST_SUPERVISOR_H
#define HOST_SUPERVISOR_H

#include "control.h"
#include "queue.h"
#include "host/figures/stats_page.h"
#include "host/rules/rules.h"
#include "watch.h"

/* What is counted, for whoever wants to know. */
struct statistics {
	struct stats_page_head *page; /* NULL: it could not be made */
	struct stats *now;	      /* of each queue */
	struct stats *told;	      /* as they were when the log told of them last */
	int64_t told_at;	      /* ms */
	int64_t tell_at;
	int64_t metrics_at;
	int64_t status_at;
	bool is_warned; /* the file of metrics could not be written the last time */
	int64_t look_at;
};

/*
 * How far the supervisor is. From top to bottom, and never back:
 *
 *   LOADING ──> BOUND ──> RULING ──> READY ──┬──> LEAVING
 *      │          │          │         │     └──> UPGRADING
 *      └──────────┴──────────┴─────────┴────────> STOPPING
 *
 * Who asks for an end while rules are put in place gets it when they are: rules that are half there
 * could not be taken away.
 */
enum phase {
	PHASE_LOADING,	/* the first worker loads the script, which says what the queues need */
	PHASE_BOUND,	/* packets may come; the other workers start */
	PHASE_RULING,	/* all run: rules are put in place */
	PHASE_READY,	/* the service manager has been told */
	PHASE_STOPPING, /* rules are gone, and workers judge what waits */
	PHASE_LEAVING,	/* workers go, and packets wait for another process of the service */
	PHASE_UPGRADING /* the same for the program that is installed now */
};

/* A script taken anew. */
struct reload {
	bool is_running; /* workers with it load, or take over */
	bool has_begun;	 /* the first has loaded it, and those of other queues were started */
	bool is_again;	 /* it was asked for meanwhile, too late for them */
	char why[512];	 /* what went wrong; "": nothing has */
};

struct supervisor {
	const struct options *options;
	struct ipq_queue_options settings;
	struct queues queues;
	struct reload reload;
	struct control control;
	struct watch watch;
	struct statistics statistics;
	struct rules rules;
	struct command_meanwhile meanwhile; /* while iptables runs */
	unsigned int running;
	enum phase phase;
	enum phase after_rules; /* what follows PHASE_RULING */
	bool has_terminal;	/* which its messages go to */
	bool is_successor;	/* it came to sockets of another process of the service */
	pid_t upgrade;		/* the check of the program that is installed now; 0: none */
	int64_t upgrade_at;	/* ms: when it began */
	int code;		/* the first that is not EX_OK */
	int last_signal;	/* the second that asked to end */
	/* When to do what, CLOCK_MONOTONIC, ms */
	int64_t overflow_at;
	int64_t hint_at; /* with overflow_at, which alone wakes for it */
	int64_t survey_at;
	int64_t look_at;
	int64_t memory_at;
	int64_t notify_at;
};

#define FOR_EACH_QUEUE(s, queue)                                                               \
	for (struct queue *queue = (s)->queues.of; queue < (s)->queues.of + (s)->queues.count; \
	     queue++)

/* The workers that it has. */
#define FOR_EACH_CHILD(queue, child)                                                              \
	for (struct child *child = (queue)->child; child < (queue)->child + QUEUE_ROLES; child++) \
		if (child->pid)

static inline bool is_ending(const struct supervisor *s)
{
	return s->phase >= PHASE_STOPPING;
}

/* When nothing is to be done. */
#define NEVER INT64_MAX

/* crew.c: the workers, from their start to their end */

/* Starts the queue's owner. */
void crew_start(struct supervisor *s, struct queue *queue);
/* Takes what a worker has to tell. */
void crew_read(struct supervisor *s, struct queue *queue, enum queue_role role);
/* When all run for the first time: puts the rules in place, and tells the service manager. */
void crew_ready(struct supervisor *s);
/* Takes note of those that have ended, or were stopped. */
void crew_reap(struct supervisor *s);
/* Starts those whose time has come. */
void crew_restart_due(struct supervisor *s);
/* Ends them, for one of the three last phases. Those that wait for their queue end at once; those
 * that run judge what waits in theirs, but when they leave it to another program. */
void crew_end(struct supervisor *s, enum phase phase);
/* The same, with an exit code for the supervisor unless it has one already. */
void crew_fail(struct supervisor *s, int code);
/* Kills them, for the signal of that number. */
void crew_kill(struct supervisor *s, int number);

/* commands.c: what is asked on the control socket, for control_open() */
int commands_answer(void *data, const char *line, FILE *out);

/* reload.c: the script taken anew, by new workers beside those that judge */

void reload_begin(struct supervisor *s);
/* A worker that is to take over is ready, or one that judged has ended: goes on. */
void reload_step(struct supervisor *s);
/* An owner has saved so many bytes, and judges no more. */
void reload_handed(struct supervisor *s, struct queue *queue, size_t saved);
/* A worker that is to take over has them. */
void reload_restored(struct supervisor *s, struct queue *queue);
/* Why that will fail; the first reason counts. */
void reload_explain(struct supervisor *s, const char *why);
/* A worker that was to take over has ended: those that judge go on. */
void reload_failed(struct supervisor *s);
/* Ends those that were to take over; all is about to end. */
void reload_cancel(struct supervisor *s);
/* An owner has died whose turn it was: whether one takes its place, now or when it has restored. */
bool reload_succeeds(struct supervisor *s, struct queue *queue);

/* limits.c: what is looked at from time to time; each sets when it is to be done next */

/* Has a worker that loads, saves or restores looked at. */
void limits_begin(struct supervisor *s);
/* Interrupts, and a moment later kills, workers whose packet takes too long. */
void limits_progress(struct supervisor *s);
/* Kills workers that take too much memory. */
void limits_memory(struct supervisor *s);

/* survey.c */

/* Looks whether the queues are as they were made, and undoes what workers did to them; sets when to
 * look next. */
void survey_look(struct supervisor *s);

/* statistics.c: in the page that others read, in the log, and in the file of metrics */

/* Packets come from here on, if a rule queues any. */
void statistics_ready(struct supervisor *s);
/* Tells the log of packets that were lost before a worker could see them, and once where none comes
 * at all; sets when to look next. */
void statistics_overflow(struct supervisor *s);

/* An exit code, EX_CANTCREAT where the file cannot be written; what is wrong is logged. */
int statistics_open(struct supervisor *s);
void statistics_close(struct supervisor *s);
/* Counts. */
void statistics_count(struct supervisor *s);
/* Counts, publishes, and tells what is due. */
void statistics_look(struct supervisor *s);
/* Tells the log how everything is, and writes the file of metrics anew. */
void statistics_tell(struct supervisor *s);
/* All workers have ended. The exit code becomes EX_IOERR where the file cannot be written. */
void statistics_end(struct supervisor *s);

/* takeover.c: another program, or another process of the service, on the same sockets */

/* Asks the program that is installed now whether it can go on. */
void takeover_begin(struct supervisor *s);
/* Ends it where it takes too long. */
void takeover_look(struct supervisor *s);
/* Takes its answer, where it has answered: what can go on is left the queues. */
void takeover_reap(struct supervisor *s);
/* All workers have left. Comes back only where it fails. */
void takeover_exec(struct supervisor *s);
/* Has the service manager keep the sockets. */
void takeover_store(struct supervisor *s);

#endif
