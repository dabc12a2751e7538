/* The loop: packets from a source, through a filter, and their verdicts back. */
#ifndef HOST_ENGINE_H
#define HOST_ENGINE_H

#include "lib/ipq.h"
#include "vm.h"

/* Runs until the source ends, which it does after signals_stopping(). 0 or the source's negative
 * errno. */
int engine_run(struct ipq_source *source, struct ipq_batch *batch, struct vm *vm);

#endif
