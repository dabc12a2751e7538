/*
 * The room of the supervisor: the process that holds what outlives a worker, and runs no Lua.
 *
 * Called by   host/main.c, which has it run and end; host/tools/time_limit.c, which measures a
 *             filter by the same watchdog.
 *
 * How         supervisor.c is the loop: it waits for signals, for what workers tell and for the
 *             time, and calls the others. queue.c is a queue, with its socket and what its workers
 *             have counted, and child.c a worker as the supervisor sees it. crew.c has the workers
 *             from their start to their end, reload.c new ones that take the place of those that
 *             judge, limits.c the time and memory that they may take and the back-off of
 *             successors. statistics.c has what is counted, takeover.c the program or process that
 *             follows (upgrade.c, inherit.c, notify.c), survey.c what workers may have done to
 *             their queues, watch.c the script's files, writer.c the processes that write what all
 *             say. takeover.c may call crew.c, to end the workers; crew.c does not call it.
 *
 * States      of the supervisor, as enum phase (supervisor.h): it is loading (the first worker loads
 *             the script), bound (the queues are, for what the script needs; the other workers
 *             start), ruling (all run, rules are put in place), ready (the service manager is
 *             told), and then stopping (rules are gone, workers judge what waits), leaving or
 *             upgrading (packets wait for a process or a program that follows).
 *             of a worker, as enum child_stage (child.h), and of a reload, as the table in reload.c.
 *             A worker that dies gets a successor, after a while if it judged nothing; after too
 *             many deaths the queue is judged without the script ("given up").
 *
 * Always      The sockets own the queues, and the batches are in shared memory, one for each worker:
 *             whatever it had in hand when it died gets a verdict. What a worker wrote is never followed:
 *             addresses and sizes are the supervisor's own copies (child->made). Of several exit
 *             codes the first that is not EX_OK counts.
 */
#ifndef HOST_SUPERVISE_H
#define HOST_SUPERVISE_H

#include "host/base/options.h"

/* Opens the queues, runs a worker for each until a signal asks to stop, tells what they did. Gives
 * the exit code: EX_OK if all ended as they were asked to, else that of the first worker that
 * ended before it ever judged, which ends the others, or of one that was asked to end and failed.
 * After a second signal it ends by that signal. */
int supervisor_run(const struct options *options);

/* To be called at the start of the program, when its file is still the one that runs: remembers
 * where it is, and the command line, for an upgrade. */
void upgrade_remember(char **argv);

#endif
