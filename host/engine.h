/* Packets from a source, through a filter, and their verdicts back. */
#ifndef HOST_ENGINE_H
#define HOST_ENGINE_H

#include "lib/ipq.h"
#include "vm.h"

/* Runs until the source ends, which it does after a signal to stop (signals.h). 0 or the source's
 * negative errno. */
int engine_run(struct ipq_driver *driver, struct vm *vm);

#endif
