#include "rule_failure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

void rule_failure_cut(char *text)
{
	/* iptables-nft has a remark before it. */
	while (text[0] == '#' && strchr(text, '\n'))
		memmove(text, strchr(text, '\n') + 1, strlen(strchr(text, '\n')));
	text[strcspn(text, "\n")] = '\0';
}

static const char *remedy(int status, const char *text, enum rule_family family)
{
	if (strstr(text, "Permission denied") || strstr(text, "must be root"))
		return "run it as root";
	if (strstr(text, "lock file"))
		return "iptables must be able to write that file, as root, and in a sandbox too "
		       "(systemd: ReadWritePaths=-/run/xtables.lock)";
	if (strstr(text, "xtables lock"))
		return "another program changes rules and does not end: find it by \"fuser "
		       "/run/xtables.lock\"";
	if (family == RULE_IPV6)
		return "see ip6tables(8), or say -4 in the rule, which is for IPv4 alone then";
	if (status == RULE_PARAMETER_PROBLEM)
		return "see iptables(8) and iptables-extensions(8)";
	return "the chain, the matches and NFQUEUE must be there: see \"iptables -S\", and "
	       "\"modprobe xt_NFQUEUE\"";
}

static int exit_code(int status, const char *text)
{
	if (status == RULE_PARAMETER_PROBLEM)
		return EX_USAGE;
	return strstr(text, "Permission denied") || strstr(text, "must be root") ? EX_NOPERM
										 : EX_UNAVAILABLE;
}

int rule_failure_explain(const struct rule_failure *failure, const char *rule,
			 enum rule_family family, const char *program, char *why, size_t size)
{
	int status = failure->status;

	if (status == -ENOENT)
		snprintf(why, size, "--rule '%s': %s is not there; apt-get install iptables%s",
			 rule, program, family == RULE_IPV6 ? ", or say -4 in the rule" : "");
	else if (status == -EAFNOSUPPORT)
		snprintf(why, size,
			 "--rule '%s': it is for IPv6 alone, which this system has not; leave it "
			 "out",
			 rule);
	else if (status < 0)
		snprintf(why, size, "--rule '%s': cannot run %s: %s; it has to end by itself", rule,
			 program, strerror(-status));
	if (status < 0)
		return EX_UNAVAILABLE;
	rule_failure_cut(failure->text);
	snprintf(why, size, "--rule '%s': %s (%s, status %d); %s", rule, failure->text, program,
		 status, remedy(status, failure->text, family));
	return exit_code(status, failure->text);
}

bool rule_failure_is_of_form(const struct rule_failure *failure)
{
	return failure->status > 0 && failure->status != RULE_PARAMETER_PROBLEM &&
	       !strstr(failure->text, "xtables lock");
}
