/* Which name a misspelt word was meant to be. */
#include "core_calls.h"

#include <ctype.h>
#include <string.h>

enum { LENGTH_MAX = 40 };

/* As it is compared. */
static char folded(char c)
{
	return c == '-' ? '_' : (char)tolower((unsigned char)c);
}

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* How many letters have to be changed, added or taken away, or swapped with their neighbour, to make
 * a word another one, b, which is no longer than LENGTH_MAX. */
static unsigned int distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	/* Of a's beginning, of so many letters and one, two before it, to each beginning of b. */
	unsigned int rows[3][LENGTH_MAX + 1];

	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = (unsigned int)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned int *row = rows[i % 3], *above = rows[(i + 2) % 3];
		const unsigned int *twice = rows[(i + 1) % 3];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= b_len; j++) {
			char x = folded(a[i - 1]), y = folded(b[j - 1]);

			row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == folded(b[j - 2]) && y == folded(a[i - 2]))
				row[j] = least(row[j], twice[j - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}

/* What may be wrong in a word of that length. */
static unsigned int tolerance(size_t len)
{
	if (len < 3)
		return 0;
	return len < 6 ? 1 : len < 10 ? 2 : 3;
}

int ipq_nearest(const char *word, const char *const *names, uint32_t count)
{
	size_t len = strlen(word);
	unsigned int most = tolerance(len);
	int nearest = -1;

	if (len > LENGTH_MAX)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		size_t name_len = strlen(names[i]);
		unsigned int wrong;

		if (name_len > LENGTH_MAX)
			continue;
		wrong = distance(word, len, names[i], name_len);
		if (wrong > most || (nearest >= 0 && wrong == most))
			continue;
		nearest = (int)i;
		most = wrong;
	}
	return nearest;
}
