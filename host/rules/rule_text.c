#include "rule_text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* Words */

/* Copies the word that begins at *from to *to, without what quotes it. */
static bool take_word(char **from, char **to)
{
	char quote = 0;

	for (; **from && (quote || !strchr(" \t\n", **from)); ++*from) {
		char c = **from, next = (*from)[1];

		if (c == '\\' && next && (!quote || (quote == '"' && strchr("\\\"'$`", next)))) {
			*(*to)++ = next;
			++*from;
		} else if (quote ? c == quote : c == '\'' || c == '"') {
			quote = (char)(quote ? 0 : c);
		} else {
			*(*to)++ = c;
		}
	}
	return !quote;
}

int rule_words(char *text, char *words[], int max)
{
	char *from = text, *to = text;
	int count = 0;

	for (;;) {
		from += strspn(from, " \t\n");
		if (!*from)
			return count;
		if (count == max)
			return -1;
		words[count++] = to;
		if (!take_word(&from, &to))
			return -1;
		/* The 0 may take the place of the space behind the word. */
		if (*from)
			from++;
		*to++ = '\0';
	}
}

/* What is refused */

/* iptables' own options that are no matches. It takes any beginning of them, too. */
static const char *const commands[] = {
	"append",    "check",	"delete", "delete-chain",  "exact",   "flush",	      "goto",
	"help",	     "insert",	"jump",	  "line-numbers",  "list",    "list-rules",   "modprobe",
	"new-chain", "numeric", "policy", "rename-chain",  "replace", "set-counters", "table",
	"verbose",   "version", "wait",	  "wait-interval", "zero",
};

/* Matches' options that begin as one of those does. */
static const char *const matches[] = {"--set", "--pol"};

static bool is_among(const char *word, const char *const list[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(word, list[i]) == 0)
			return true;
	return false;
}

#define IS_AMONG(word, list) is_among(word, list, sizeof(list) / sizeof((list)[0]))

static bool is_command(const char *word)
{
	size_t len;

	if (word[0] != '-' || !word[1])
		return false;
	if (word[1] != '-')
		return !strchr("46dfimops", word[1]);
	if (IS_AMONG(word, matches))
		return false;
	len = strcspn(word + 2, "=");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strncmp(word + 2, commands[i], len) == 0)
			return true;
	return false;
}

static bool words_check(const struct rule_text *rule, char *why, size_t size)
{
	for (int i = 0; i < rule->count; i++) {
		const char *word = rule->words[i];

		if (is_command(word)) {
			snprintf(why, size,
				 "\"%s\" has no place in it: a rule is a chain and what packets it "
				 "matches; it is appended with -j NFQUEUE, and taken away at the "
				 "end",
				 word);
			return false;
		}
		if (word[0] == '-' && word[1] != '-' && word[1] && word[2]) {
			snprintf(why, size, "write \"%.2s %s\" for \"%s\"", word, word + 2, word);
			return false;
		}
	}
	return true;
}

/* IP versions */

static const char *const only_ipv4[] = {
	"-4", "--ipv4", "-f", "--fragment", "ttl", "realm", "icmp", "igmp", "--ecn-ip-ect",
};
static const char *const only_ipv6[] = {
	"-6",	      "--ipv6", "hl",	 "rt",	  "hbh",    "dst",	 "frag",
	"ipv6header", "mh",	"eui64", "icmp6", "icmpv6", "ipv6-icmp", "--icmpv6-type",
};
/* These have the same names in both. */
static const char *const icmp_types[] = {"echo-request", "echo-reply", "ping", "pong"};

/* Whether the word, or its first part, is an address: of a list, a range, or a network. */
static bool is_address(const char *word, int family)
{
	char text[INET6_ADDRSTRLEN], address[sizeof(struct in6_addr)];
	size_t len = strcspn(word, ",/-");

	if (len >= sizeof(text))
		return false;
	memcpy(text, word, len);
	text[len] = '\0';
	return inet_pton(family, text, address) == 1;
}

static bool is_option(const char *word, const char *letter, const char *name)
{
	return strcmp(word, letter) == 0 || strcmp(word, name) == 0;
}

/* Whether word i is the value of -p or -m, where names like "icmp" are protocols and matches. */
static bool is_name(const struct rule_text *rule, int i)
{
	const char *before = i > 0 ? rule->words[i - 1] : "";

	return is_option(before, "-p", "--protocol") || is_option(before, "-m", "--match") ||
	       rule->words[i][0] == '-';
}

/* Whether ICMP is all that makes word i IPv4's, and can be said in IPv6. */
static bool is_icmp_of_both(const struct rule_text *rule, int i)
{
	if (strcmp(rule->words[i], "icmp") != 0)
		return false;
	for (int j = 0; j < rule->count; j++)
		if (strcmp(rule->words[j], "--icmp-type") == 0 &&
		    (j + 1 == rule->count || !IS_AMONG(rule->words[j + 1], icmp_types)))
			return false;
	return true;
}

static void families_find(struct rule_text *rule)
{
	rule->is_for[RULE_IPV4] = rule->is_for[RULE_IPV6] = true;
	for (int i = 0; i < rule->count; i++) {
		const char *word = rule->words[i];
		bool is_named = is_name(rule, i);

		if (is_address(word, AF_INET6) || (is_named && IS_AMONG(word, only_ipv6)))
			rule->is_for[RULE_IPV4] = false;
		if (is_address(word, AF_INET) ||
		    (is_named && IS_AMONG(word, only_ipv4) && !is_icmp_of_both(rule, i)))
			rule->is_for[RULE_IPV6] = false;
	}
}

/* A rule */

static bool is_version(const char *word)
{
	return is_option(word, "-4", "--ipv4") || is_option(word, "-6", "--ipv6");
}

/* Takes what may stand before the chain: a table, once, and an IP version. Gives what is next. */
static int head_take(struct rule_text *rule, char *const words[], int count)
{
	bool has_table = false;
	int next = 0;

	for (;;) {
		if (next < count && is_version(words[next])) {
			rule->words[rule->count++] = words[next++];
		} else if (!has_table && next + 1 < count &&
			   is_option(words[next], "-t", "--table")) {
			has_table = true;
			rule->table = words[next + 1];
			next += 2;
		} else {
			return next;
		}
	}
}

static bool words_split(struct rule_text *rule, const char *text, char *why, size_t size)
{
	char *words[RULE_WORDS_MAX / 2];
	int count = -1, next;

	if ((size_t)snprintf(rule->bytes, sizeof(rule->bytes), "%s", text) < sizeof(rule->bytes))
		count = rule_words(rule->bytes, words, RULE_WORDS_MAX / 2);
	if (count < 0) {
		snprintf(why, size, "a quote is not closed, or it is too long");
		return false;
	}
	rule->table = "filter";
	next = head_take(rule, words, count);
	if (next == count || strchr("-!", words[next][0]) || rule->table[0] == '-') {
		snprintf(why, size,
			 "it must begin with the name of a chain, as in 'OUTPUT -p icmp' or '-t "
			 "mangle PREROUTING'");
		return false;
	}
	rule->chain = words[next++];
	while (next < count)
		rule->words[rule->count++] = words[next++];
	return true;
}

bool rule_text_parse(struct rule_text *rule, const char *text, char *why, size_t size)
{
	*rule = (struct rule_text){0};
	if (!words_split(rule, text, why, size) || !words_check(rule, why, size))
		return false;
	families_find(rule);
	if (rule->is_for[RULE_IPV4] || rule->is_for[RULE_IPV6])
		return true;
	snprintf(why, size, "it has something of IPv4 and something of IPv6");
	return false;
}

static const char *in_ipv6(const struct rule_text *rule, int i)
{
	const char *word = rule->words[i], *before = i > 0 ? rule->words[i - 1] : "";

	if (strcmp(word, "--icmp-type") == 0)
		return "--icmpv6-type";
	if (strcmp(word, "icmp") != 0)
		return word;
	if (is_option(before, "-p", "--protocol"))
		return "ipv6-icmp";
	return is_option(before, "-m", "--match") ? "icmp6" : word;
}

int rule_text_matches(const struct rule_text *rule, enum rule_family family, const char *words[])
{
	int count = 0;

	for (int i = 0; i < rule->count; i++)
		/* These say which program the rule is for. */
		if (!is_version(rule->words[i]))
			words[count++] = family == RULE_IPV6 ? in_ipv6(rule, i) : rule->words[i];
	return count;
}
