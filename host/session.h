/* A script and a source of packets, from the first to the last. */
#ifndef HOST_SESSION_H
#define HOST_SESSION_H

#include "options.h"
#include "signals.h"
#include "vm.h"

struct session {
	struct vm *vm;
	struct ipq_driver driver;
};

/* These give an exit code of sysexits.h, and have told why it is not EX_OK. */

/* Makes a batch (ipq_batch_new()) with the verdicts of the options. */
int session_batch_new(struct ipq_batch **batch, const struct options *options, uint32_t slot_size);

/* Takes the signals. The batch stays the caller's, and outlives the session. */
int session_open(struct session *session, struct ipq_batch *batch, enum signals_role role);

/* Calls the script's start(). */
int session_start(struct session *session, struct vm *vm, struct ipq_source *source);

/* Judges packets until the source ends, then calls the script's stop(). name is the source's. */
int session_run(struct session *session, const char *name);

/* The queue's settings: the command line's, and what the script says it needs. */
struct ipq_queue_options session_settings(const struct options *options, struct vm *vm);

int session_exit_code(enum vm_result result);

#endif
