/* Errors in words: what was tried, what the system answered, what to do. */
#ifndef IPQ_EXPLAIN_H
#define IPQ_EXPLAIN_H

#include <sys/types.h>

#include "lib/queue/queue.h"

/* Why a queue could not be opened. */
enum ipq_cause {
	IPQ_CAUSE_PERMISSION, /* no CAP_NET_ADMIN over this network namespace */
	IPQ_CAUSE_TAKEN,      /* another socket owns the queue */
	IPQ_CAUSE_KERNEL,     /* the kernel cannot do it */
	IPQ_CAUSE_OPTION,     /* an option is out of range */
	IPQ_CAUSE_SYSTEM      /* anything else */
};

/* Writes a message on ipq_queue_open()'s error (a negative errno) into text: one line, no newline
 * at its end, cut off at size bytes with a 0 byte always. */
enum ipq_cause ipq_explain_open(char *text, size_t size, const struct ipq_queue_options *options,
				int error);

/* The parts of it, which say what is the case and what to do. */

/* The process that has the netlink socket of that port; 0: none that can be seen. And its name, ""
 * where it is gone. */
pid_t ipq_explain_reader(uint32_t portid);
void ipq_explain_process(pid_t pid, char *name, size_t size);

/* Who has the queue. */
void ipq_explain_taken(char *text, size_t size, uint16_t queue_num);

/* Why this process may not have queues; NULL: it may. */
const char *ipq_explain_permission(void);

/* That the kernel has no queues, as it said by error (a negative errno). */
void ipq_explain_kernel(char *text, size_t size, int error);

/* When a process began, in the kernel's ticks since the machine did (proc(5), "stat", field 22), by
 * which one is told from a later one of the same number; 0: there is none of that number. */
uint64_t ipq_explain_started(pid_t pid);

#endif
