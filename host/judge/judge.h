/*
 * The room of judging: what runs a script over packets.
 *
 * Called by   host/supervise, which forks a worker for each queue; host/tools, for replay, specs
 *             and --doctor; host/main.c, for --check.
 *
 * How         What hangs together, from the outside to the inside:
 *
 *               worker    a process: limits itself, loads, waits until its queue is bound, gives
 *                         up what packets need not (privileges, sandbox), tells its supervisor how
 *                         far it is
 *               session   a script and a source of packets, from the first to the last; takes
 *                         signals
 *               vm        a Lua state with one script in it: load, start, restore, run, save, stop
 *               dispatch  bindings/ipq/engine/dispatch.lua: the loop over packets. vm_run() enters
 *                         it, and it comes back at the end of the source, after a signal or after
 *                         an error: never between packets
 *               driver    lib/queue/driver.c: what that loop calls for the next batch. It commits
 *                         the verdicts of the one before, and receives
 *
 *             A replay is the same without a worker: session, vm, dispatch and driver, with a
 *             capture for the source.
 *
 * States      of a worker, as its supervisor calls them (enum child_stage, supervise/child.h). What
 *             it tells of them is struct worker_message, what it is told struct worker_command.
 *
 * Always      A process has one script, which is loaded and started before it gives up its rights; what
 *             another process has saved is restored behind that. What a script does wrong
 *             costs its own packets, and ends at most this process. What is wrong is logged here,
 *             once, by whom it met first; callers get exit codes of sysexits.h.
 */
#ifndef HOST_JUDGE_H
#define HOST_JUDGE_H

#include "affinity.h"
#include "privileges.h"
#include "sender.h"
#include "session.h"
#include "vm.h"
#include "worker.h"

#endif
