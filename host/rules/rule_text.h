/* iptables rules as text: taken apart, and looked at. */
#ifndef HOST_RULE_TEXT_H
#define HOST_RULE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum { RULE_WORDS_MAX = 96, RULE_TEXT_MAX = 2048 };

enum rule_family { RULE_IPV4, RULE_IPV6, RULE_FAMILIES };

/* "[-4|-6] [-t TABLE] CHAIN [matches]", as a person writes it. */
struct rule_text {
	const char *table;
	const char *chain;
	bool is_for[RULE_FAMILIES];
	int count;
	const char *words[RULE_WORDS_MAX]; /* the matches */
	char bytes[RULE_TEXT_MAX];	   /* what all of these point to */
};

/* Splits text in place as a shell does: by spaces, with '...', "..." and \. Gives the number of
 * words, -1 where a quote is not closed or there are more than max. */
int rule_words(char *text, char *words[], int max);

/* Takes a rule apart. False with the reason in why, for what is not a chain and matches alone. What
 * the words mean is left to iptables; which IP versions they are for is told by them: by literal
 * addresses, by -4 and -6, and by what only one of them has. */
bool rule_text_parse(struct rule_text *rule, const char *text, char *why, size_t size);

/* The matches for one IP version into words, where there is room for RULE_WORDS_MAX: ICMP has
 * another name in IPv6. Gives their number. */
int rule_text_matches(const struct rule_text *rule, enum rule_family family, const char *words[]);

#endif
