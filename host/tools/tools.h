/*
 * The room of tools: what the program does beside judging queues, each a command of its own.
 *
 * Called by   host/main.c alone. No tool calls another.
 *
 * States      none that outlives a call: a tool runs, writes what it has to say, and gives the
 *             exit code.
 *
 * Always      Nothing here touches a queue that somebody reads. replay and test judge packets by
 *             the same loop and rewriting as a worker. They have no supervisor, so the time limit
 *             is theirs to keep, of the processor's time (time_limit.h), and there is no limit of
 *             memory.
 */
#ifndef HOST_TOOLS_H
#define HOST_TOOLS_H

#include "host/base/options.h"
#include "host/judge/vm.h"

/* --doctor: what is missing. */

/* Looks at the kernel, at what this process may do, at the queues and at the rules, and changes
 * nothing but what host/rules/trial.h says; with a script, loads it too. Writes a line for each to
 * standard output, with what mends it. EX_OK where nothing is in the way, else EX_UNAVAILABLE. */
int doctor_run(const struct options *options);

/* A filter to start from. */

/* Writes NAME.lua and spec/NAME_spec.lua into the current folder; what is there already stays. name
 * is letters, digits, "_" and "-". Gives the exit code. */
int new_write(const char *name);

/* Packets from a capture file. */

/* Runs to the end of the file, or until a signal asks to stop. Gives the exit code. */
int replay_run(const struct options *options, struct vm *vm, const struct ipq_counter *counters);

/* Specs of filters, run by busted. */

/* Runs busted over options->argv[0], a folder of specs or one of them; what follows it are busted's
 * options. The specs have the program's own modules, and filters the time limit. Gives the exit
 * code: 0 where all passed, 1 where one did not. */
int test_run(const struct options *options);

/* ipq-lua --ctl: has a program that runs do what options->argv says, and shows its answer. Gives the
 * exit code: 0, 1 where it was not done, EX_UNAVAILABLE, EX_TEMPFAIL where no answer comes, or
 * EX_NOPERM. */
int ctl_run(const struct options *options);

/* ipq-lua --top: the statistics of one that runs, live. */

/* Shows those of the process of that number, NULL for the one that there is. In a terminal until
 * "q" is typed or the process ends; elsewhere once. Gives the exit code. */
int top_run(const char *pid);

#endif
