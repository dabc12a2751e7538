/* What a script sends packets of its own by. */
#ifndef HOST_SENDER_H
#define HOST_SENDER_H

#include "host/base/options.h"
#include "lib/send/send.h"
#include "vm.h"

struct sender {
	struct ipq_outbox *outbox; /* NULL: the script does not send */
	struct ipq_raw *raw;	   /* NULL: what it sends does not leave by sockets */
};

/* What the options forbid, and what they want of a script that does not send; and edits_check(). Gives an exit code, and
 * has told why it is not EX_OK. */
int sender_check(const struct options *options, struct vm *vm);

/* sender_check(), and an outbox for what is sent with the batch, if the script sends. is_live: it goes
 * out by raw sockets, opened here. */
int sender_open(struct sender *sender, const struct options *options, struct vm *vm,
		struct ipq_batch *batch, bool is_live);

/* Takes one that is all 0. */
void sender_close(struct sender *sender);

#endif
