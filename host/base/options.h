/* The command line. */
#ifndef HOST_OPTIONS_H
#define HOST_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "bindings/capture/capture.h"
#include "log.h"
#include "lib/queue/queue.h"

enum {
	OPTIONS_QUEUES_MAX = 64,
	OPTIONS_RULES_MAX = 16,
	OPTIONS_WRITABLE_MAX = 16,
	OPTIONS_READ_MAX = 1024
};

struct options {
	struct ipq_queue_options queue; /* the first of queue_count in a row */
	unsigned int queue_count;
	bool per_cpu; /* a queue for each processor, which packets reach on it */
	bool pin;     /* with per_cpu, too */
	uint32_t spin_us;
	const char *user; /* for privileges_find(); NULL: none */
	bool is_sandboxed;
	bool copy_range_given; /* beats what the script wants */
	uint32_t default_verdict;
	uint32_t default_reject; /* enum ipq_reject, beside it */
	uint32_t error_verdict;
	uint32_t error_reject;
	bool is_sending_forbidden; /* scripts that send do not start */
	uint32_t reject_rate;	   /* a second, of each worker; 0: no limit */
	uint32_t stats_ms;	   /* how often the log tells the counters; 0: never */
	const char *metrics;	   /* a file; NULL: none */
	uint32_t time_limit_ms;	   /* of a packet; 0: none */
	uint32_t memory_limit_mb;  /* of a worker; 0: none */
	uint32_t flow_memory_mb;   /* for a queue's flows */
	uint32_t stream_memory_mb; /* and its streams */
	uint32_t shared_memory_mb; /* for tables that all workers share */
	uint32_t max_restarts;	   /* within a minute */
	bool exit_on_give_up;	   /* rather than judge without the script */
	bool watch;
	const char *writable[OPTIONS_WRITABLE_MAX]; /* folders, in the sandbox */
	unsigned int writable_count;
	const char *rules[OPTIONS_RULES_MAX]; /* of iptables, to be in place meanwhile */
	unsigned int rule_count;
	bool queue_bypass;		 /* of the rules */
	uint32_t bypass_mark, sent_mark; /* see enum ipq_mark: a bit each */
	bool print_rules;		 /* and exit */
	bool print_nft;			 /* for nft rather than as iptables' commands */
	bool remove_rules;		 /* that runs left which are over, and exit */
	bool doctor;			 /* look at the system, and exit; script may be NULL */
	bool check;
	bool json;  /* the log; of a replay, its packets */
	bool print; /* a replay's packets, for people */
	enum log_level log_level;
	struct ipq_capture_options capture;	/* read is NULL: live */
	const char *captures[OPTIONS_READ_MAX]; /* its read */
	const char *new_name;			/* write a filter of that name; NULL: no */
	bool top;				/* show one that runs */
	const char *top_pid;			/* NULL: the one that there is */
	bool ctl;				/* speak to one that runs; argv is what is said */
	const char *ctl_name;			/* NULL: to the one that there is */
	const char *name;			/* to be spoken to; NULL: the process' number */
	bool test; /* argv is the folder of the specs, and options of busted's */
	const char *script;
	int argc; /* the script's arguments */
	char **argv;
};

enum options_result {
	OPTIONS_RUN,  /* go on */
	OPTIONS_DONE, /* all that was asked for was text, and it is written */
	OPTIONS_WRONG /* a message is written */
};

enum options_result options_parse(struct options *options, int argc, char **argv);

#endif
