#include "rule_owner.h"
#include "host/base/clock.h"
#include "host/base/control.h"
#include "bindings/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void rule_owner_tag(char *text, size_t size, const char *name)
{
	snprintf(text, size, "ipq-lua:%ld:%" PRIu64 ":%" PRId64 "%s%s", (long)getpid(),
		 ipq_explain_started(getpid()), clock_ms(), name ? ":" : "", name ? name : "");
}

/* What follows the numbers; NULL where it is no comment of the program's. */
static const char *parse(const char *comment, long *pid, uint64_t *start)
{
	int64_t run;
	int len = 0;

	if (sscanf(comment, "ipq-lua:%ld:%" SCNu64 ":%" SCNd64 "%n", pid, start, &run, &len) != 3)
		return NULL;
	comment += len;
	return !*comment || (*comment == ':' && control_is_name(comment + 1)) ? comment : NULL;
}

bool rule_owner_has_name(const char *comment, const char *name)
{
	uint64_t start;
	long pid;
	const char *rest = parse(comment, &pid, &start);

	return rest && *rest && strcmp(rest + 1, name) == 0;
}

enum rule_owner rule_owner_of(const char *comment, const char *tag)
{
	uint64_t start;
	long pid;

	if (!parse(comment, &pid, &start))
		return RULE_OWNER_OTHER;
	if (ipq_explain_started((pid_t)pid) != start)
		return RULE_OWNER_GONE;
	if (pid != (long)getpid())
		return RULE_OWNER_ALIVE;
	return strcmp(comment, tag) == 0 ? RULE_OWNER_SELF : RULE_OWNER_BEFORE;
}
