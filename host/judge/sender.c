#include "sender.h"
#include "edits.h"
#include "host/base/log.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

int sender_check(const struct options *options, struct vm *vm)
{
	int code = edits_check(options, vm);

	if (code != EX_OK)
		return code;
	if (!vm_sends(vm)) {
		if (!options->default_reject && !options->error_reject)
			return EX_OK;
		log_write(LOG_LEVEL_ERROR,
			  "%s: %s reject needs a script that sends: send = true in its table",
			  options->script, options->default_reject ? "--default" : "--on-error");
		return EX_USAGE;
	}
	if (!options->is_sending_forbidden)
		return EX_OK;
	log_write(LOG_LEVEL_ERROR, "%s: it sends packets (send = true), and --no-send forbids that",
		  options->script);
	return EX_NOPERM;
}

static int cannot_send(const struct options *options, int error)
{
	if (error == -EPERM)
		log_write(LOG_LEVEL_ERROR,
			  "%s: it sends packets (send = true), and raw sockets are not permitted; "
			  "that needs root, or CAP_NET_RAW",
			  options->script);
	else
		log_write(LOG_LEVEL_ERROR, "%s: cannot open sockets to send packets by: %s",
			  options->script, strerror(-error));
	return error == -EPERM ? EX_NOPERM : EX_OSERR;
}

int sender_open(struct sender *sender, const struct options *options, struct vm *vm,
		struct ipq_batch *batch, bool is_live)
{
	int code = sender_check(options, vm), ret;

	*sender = (struct sender){.outbox = NULL};
	if (code != EX_OK || !vm_sends(vm))
		return code;
	ret = ipq_outbox_new(&sender->outbox, batch, options->sent_mark);
	if (ret == 0) {
		sender->outbox->reject_rate = options->reject_rate;
		sender->outbox->shows_own = vm_takes_sent(vm);
	}
	if (ret == 0 && is_live)
		ret = ipq_raw_open(&sender->raw, sender->outbox);
	return ret < 0 ? cannot_send(options, ret) : EX_OK;
}

void sender_close(struct sender *sender)
{
	ipq_raw_close(sender->raw);
	ipq_outbox_free(sender->outbox);
	*sender = (struct sender){.outbox = NULL};
}
