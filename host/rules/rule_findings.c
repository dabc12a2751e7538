#include "rule_findings.h"
#include "command.h"
#include "rules.h"
#include "host/judge/edits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FEEDS_MAX = 256 };

/* A rule that queues packets. */
struct feed {
	char program[24];
	char table[64];
	char text[256];
	bool is_for[RULE_FAMILIES];
	bool is_bypass;
	int first, last;
};

struct feeds {
	struct findings *findings;
	const struct options *options;
	struct rules rules; /* whose tag tells this process's */
	bool is_to_be_fed;  /* by them */
	int count;
	struct feed of[FEEDS_MAX];
};

/* nft lists what iptables-nft made, in a table "ip filter" or "ip6 filter". */
static bool is_listed(const struct feeds *feeds, const struct ruleset_rule *rule)
{
	const char *name = strchr(rule->table, ' ');

	for (int i = 0; name && i < feeds->count; i++) {
		const struct feed *feed = &feeds->of[i];

		if (strcmp(feed->table, name + 1) == 0 && feed->first == rule->first &&
		    feed->last == rule->last && feed->is_bypass == rule->is_bypass &&
		    feed->is_for[RULE_IPV4] == rule->is_for[RULE_IPV4] &&
		    !strstr(feed->program, "legacy"))
			return true;
	}
	return false;
}

static void take(void *data, const struct ruleset_rule *rule)
{
	struct feeds *feeds = data;
	struct feed *feed = &feeds->of[feeds->count];

	if (rule->is_offload) {
		finding(feeds->findings, FINDING_WARNING,
			"offload: \"%s\" (%s, table %s) leads flows around the queue after their "
			"first packets; see \"nft -a list ruleset\", and \"nft delete rule\" it",
			rule->text, rule->program, rule->table);
		return;
	}
	if (rules_is_left_over(&feeds->rules, rule, RULES_LEFT_BY_ALL))
		finding(feeds->findings, FINDING_WARNING,
			"rule: left by a run that was killed; the next one with --rule takes it "
			"away, or \"%s -t %s -D%s\"",
			rule->program, rule->table, rule->text + 2);
	if (feeds->count == FEEDS_MAX ||
	    (strcmp(rule->program, "nft") == 0 && is_listed(feeds, rule)))
		return;
	feeds->count++;
	snprintf(feed->program, sizeof(feed->program), "%s", rule->program);
	snprintf(feed->table, sizeof(feed->table), "%s", rule->table);
	snprintf(feed->text, sizeof(feed->text), "%s", rule->text);
	memcpy(feed->is_for, rule->is_for, sizeof(feed->is_for));
	feed->is_bypass = rule->is_bypass;
	feed->first = rule->first;
	feed->last = rule->last;
}

/* Of the first queue that it feeds and nobody reads: -1 where there is none. */
static int unread_queue(const struct feed *feed)
{
	struct ipq_procfs_queue status;

	for (int i = feed->first; i <= feed->last && i < feed->first + OPTIONS_QUEUES_MAX; i++)
		if (ipq_procfs_queue((uint16_t)i, &status) == -ENOENT)
			return i;
	return -1;
}

static void tell_feed(const struct feeds *feeds, const struct feed *feed)
{
	int unread = unread_queue(feed);

	if (unread >= 0 && !feed->is_bypass)
		finding(feeds->findings, FINDING_WARNING,
			"rule: \"%s\" (%s, table %s): its packets are dropped while nobody reads "
			"queue %d; start ipq-lua -q %d, or have %s in the rule",
			feed->text, feed->program, feed->table, unread, unread,
			strcmp(feed->program, "nft") == 0 ? "\"bypass\"" : "--queue-bypass");
	else
		finding(feeds->findings, FINDING_OK, "rule: \"%s\" (%s, table %s), %s bypass",
			feed->text, feed->program, feed->table,
			feed->is_bypass ? "with" : "without");
}

static bool is_fed(const struct feeds *feeds, int queue_num, enum rule_family family)
{
	for (int i = 0; i < feeds->count; i++)
		if (feeds->of[i].is_for[family] && feeds->of[i].first <= queue_num &&
		    queue_num <= feeds->of[i].last)
			return true;
	return false;
}

static void tell_queue(const struct feeds *feeds, int queue_num, bool is_known)
{
	bool ipv4 = is_fed(feeds, queue_num, RULE_IPV4), ipv6 = is_fed(feeds, queue_num, RULE_IPV6);

	if (ipv4 && ipv6)
		return;
	if (ipv4 || ipv6)
		finding(feeds->findings, FINDING_WARNING,
			"rule: queue %d gets IPv%d alone; %s -A CHAIN ... -j NFQUEUE --queue-num "
			"%d",
			queue_num, ipv4 ? 4 : 6, ipv4 ? "ip6tables" : "iptables", queue_num);
	else if (feeds->is_to_be_fed)
		finding(feeds->findings, FINDING_OK, "rule: --rule feeds queue %d", queue_num);
	else if (is_known && !feeds->options->rule_count)
		finding(feeds->findings, FINDING_PROBLEM,
			"rule: none feeds queue %d; ipq-lua --rule 'OUTPUT -p icmp', or iptables "
			"-A OUTPUT -p icmp -j NFQUEUE --queue-num %d",
			queue_num, queue_num);
}

static bool feeds_program(const struct feeds *feeds, const struct feed *feed)
{
	int first = feeds->options->queue.queue_num;
	int last = first + (int)feeds->options->queue_count - 1;

	return feed->first <= last && first <= feed->last;
}

/* What a script that edits connections needs of the rules that feed it. */
static void tell_edits(const struct feeds *feeds)
{
	bool is_fed = feeds->is_to_be_fed;
	bool brings_errors = is_fed && edits_rules_bring_errors(feeds->options);

	for (int i = 0; i < feeds->count; i++) {
		const struct feed *feed = &feeds->of[i];

		if (!feeds_program(feeds, feed))
			continue;
		is_fed = true;
		brings_errors = brings_errors || edits_brings_errors(feed->text);
		if (feed->is_bypass)
			finding(feeds->findings, FINDING_WARNING,
				"rule: \"%s\" (%s, table %s): its bypass lets packets of edited "
				"connections by that are not translated, which corrupts them; "
				"have it without",
				feed->text, feed->program, feed->table);
	}
	if (is_fed && !brings_errors)
		finding(feeds->findings, FINDING_WARNING,
			"rule: none brings ICMP errors, by which the ends of edited connections "
			"learn the path's MTU; iptables and ip6tables -A CHAIN -p icmp (-p "
			"ipv6-icmp) -j NFQUEUE --queue-num %u, or --rule 'CHAIN -p icmp'",
			feeds->options->queue.queue_num);
}

/* Whether all that lists rules could be asked. */
static bool look(struct feeds *feeds)
{
	bool has_nft, has_iptables, is_known = true;
	char path[PATH_MAX];

	has_iptables = command_find("iptables-save", path);
	has_nft = command_find("nft", path);
	if (has_iptables)
		is_known = ruleset_iptables(take, feeds, NULL);
	if (has_nft)
		is_known = ruleset_nft(take, feeds) && is_known;
	if (!has_iptables && !has_nft)
		finding(feeds->findings, FINDING_WARNING,
			"rule: neither iptables nor nft is there to tell; install one: apt-get "
			"install iptables");
	else if (!is_known)
		finding(feeds->findings, FINDING_WARNING,
			"rule: not all could be listed; run it as root: sudo ipq-lua --doctor");
	return is_known && (has_iptables || has_nft);
}

void rule_findings_tell(struct findings *findings, const struct options *options, bool edits)
{
	struct feeds feeds = {.findings = findings, .options = options};
	bool is_known;

	rules_init(&feeds.rules, options, NULL);
	feeds.is_to_be_fed = rules_try(&feeds.rules, findings) && options->rule_count;
	is_known = look(&feeds);
	for (int i = 0; i < feeds.count; i++)
		tell_feed(&feeds, &feeds.of[i]);
	for (unsigned int i = 0; i < options->queue_count; i++)
		tell_queue(&feeds, (int)(options->queue.queue_num + i), is_known);
	if (edits)
		tell_edits(&feeds);
}
