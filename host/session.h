/* A script and a source of packets, from the first to the last. */
#ifndef HOST_SESSION_H
#define HOST_SESSION_H

#include "options.h"
#include "vm.h"

struct session {
	struct vm *vm;
	struct ipq_driver driver;
};

/* These give an exit code of sysexits.h, and have told why it is not EX_OK. */

/* Makes the batch and takes the signals. */
int session_open(struct session *session, struct vm *vm, const struct options *options,
		 uint32_t slot_size);

/* Calls the script's start(). */
int session_start(struct session *session, struct ipq_source *source);

/* Judges packets until the source ends, then calls the script's stop(). name is the source's. */
int session_run(struct session *session, const char *name);

void session_close(struct session *session);

int session_exit_code(enum vm_result result);

#endif
