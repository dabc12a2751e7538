/* Packets from Netfilter's queues, with a worker process for each queue. */
#ifndef HOST_SUPERVISOR_H
#define HOST_SUPERVISOR_H

#include "host/base/options.h"

/* Opens the queues, runs a worker for each until a signal asks to stop, tells what they did. Gives
 * the exit code: EX_OK if all ended as they were asked to, else that of the first that did not,
 * which ends the others. After a second signal it ends by that signal. */
int supervisor_run(const struct options *options);

#endif
