#include "edits.h"
#include "host/base/log.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

/* What lets packets by that are not translated would corrupt an edited connection. */
static const char *passes_untranslated(const struct options *options)
{
	if (options->queue.flags & IPQ_QUEUE_FAIL_OPEN)
		return "--fail-open";
	if (options->queue_bypass)
		return "--queue-bypass";
	if (options->error_verdict != IPQ_DROP)
		return "--on-error accept";
	/* Another processor's queue gets the other direction. */
	if (options->per_cpu)
		return "--per-cpu";
	return NULL;
}

int edits_check(const struct options *options, struct vm *vm)
{
	const char *passes = vm_edits(vm) ? passes_untranslated(options) : NULL;

	if (!passes)
		return EX_OK;
	log_write(LOG_LEVEL_ERROR,
		  "%s: it edits connections (stream.edit), and %s would let packets by that "
		  "are not translated, which corrupts them",
		  options->script, passes);
	return EX_USAGE;
}

/* -1: there is none. */
static long setting_of(const char *path)
{
	FILE *file = fopen(path, "re");
	long number = -1;

	if (file && fscanf(file, "%ld", &number) != 1)
		number = -1;
	if (file)
		fclose(file);
	return number;
}

enum edits_conntrack edits_conntrack(void)
{
	long liberal = setting_of("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal");

	if (liberal < 0)
		return EDITS_CONNTRACK_NONE;
	if (liberal > 0)
		return EDITS_CONNTRACK_LIBERAL;
	return setting_of("/proc/sys/net/netfilter/nf_conntrack_count") > 0 ? EDITS_CONNTRACK_STRICT
									    : EDITS_CONNTRACK_IDLE;
}

bool edits_brings_errors(const char *rule)
{
	static const char *const others[] = {"tcp", "udp", "sctp", "dccp"};

	if (strstr(rule, "icmp"))
		return true;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strstr(rule, others[i]))
			return false;
	return true;
}

bool edits_rules_bring_errors(const struct options *options)
{
	for (unsigned int i = 0; i < options->rule_count; i++)
		if (edits_brings_errors(options->rules[i]))
			return true;
	return false;
}

void edits_tell(const struct options *options, struct vm *vm)
{
	if (!vm_edits(vm))
		return;
	if (edits_conntrack() == EDITS_CONNTRACK_STRICT)
		log_write(LOG_LEVEL_WARN,
			  "conntrack follows connections here, and takes edited ones for invalid "
			  "where it stands on both sides of the queue, as in FORWARD; sysctl "
			  "net.netfilter.nf_conntrack_tcp_be_liberal=1, or see README, Streams");
	if (options->rule_count && !edits_rules_bring_errors(options))
		log_write(LOG_LEVEL_WARN,
			  "no --rule brings ICMP errors, by which the ends of a connection learn "
			  "the path's MTU: what they say of edited ones is not translated; add "
			  "--rule 'CHAIN -p icmp', as --rule 'FORWARD -p icmp'");
}
