/* Packets from Netfilter's queue. */
#ifndef HOST_LIVE_H
#define HOST_LIVE_H

#include "options.h"
#include "vm.h"

/* Runs until a signal asks to stop. Gives the exit code. */
int live_run(const struct options *options, struct vm *vm);

#endif
