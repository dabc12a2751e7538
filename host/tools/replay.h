/* Packets from a capture file. */
#ifndef HOST_REPLAY_H
#define HOST_REPLAY_H

#include "host/base/options.h"
#include "host/judge/vm.h"

/* Runs to the end of the file, or until a signal asks to stop. Gives the exit code. */
int replay_run(const struct options *options, struct vm *vm, const struct ipq_counter *counters);

#endif
