/* A script and a source of packets, from the first to the last. */
#ifndef HOST_SESSION_H
#define HOST_SESSION_H

#include "host/base/options.h"
#include "host/base/signals.h"
#include "sender.h"
#include "vm.h"

struct session {
	const struct options *options;
	struct vm *vm;
	struct ipq_driver driver;
	struct sender sender;
	/* Hands the queue over, when a signal asks for it, and says whether it has; NULL: there is
	 * nobody to take it. */
	bool (*hand_over)(struct session *session);
	void *data;	 /* hand_over's own */
	bool has_handed; /* another process has it */
	bool has_left;	 /* another one will */
};

/* These give an exit code of sysexits.h, and have told why it is not EX_OK. */

/* Makes a batch (ipq_batch_new()) with the verdicts of the options. */
int session_batch_new(struct ipq_batch **batch, const struct options *options, uint32_t slot_size);

/* Takes the signals, which write into the session until signals_forget(). The batch stays the
 * caller's, and outlives the session. */
int session_open(struct session *session, const struct options *options, struct ipq_batch *batch,
		 enum signals_role role);

/* Opens what the script sends by (sender_open()), and calls its start(). The session has the vm from
 * here on. */
int session_start(struct session *session, struct vm *vm, struct ipq_source *source, bool is_live);

/* Closes what the script sent by. Takes a session that was opened, or all 0. */
void session_close(struct session *session);

/* Judges packets until the source ends or a signal asks to leave, then calls the script's stop(),
 * with the reason "reload" where the queue was handed over. name is the source's. */
int session_run(struct session *session, const char *name);

/* The queue's settings: the command line's, and what the script says it needs. */
struct ipq_queue_options session_settings(const struct options *options, struct vm *vm);

int session_exit_code(enum vm_result result);

#endif
