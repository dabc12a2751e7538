/* Entries of lists of domain names. */
#include "domain.h"

#include <errno.h>
#include <string.h>

/* Takes what stands around the name in adblock's way of writing it. 0 or the error. */
static int unwrap(const char **text, size_t *len)
{
	static const char important[] = "^$important";

	if (*len >= 2 && memcmp(*text, "@@", 2) == 0)
		return -EOPNOTSUPP;
	if (*len < 2 || memcmp(*text, "||", 2) != 0)
		return 0;
	*text += 2;
	*len -= 2;
	if (*len >= sizeof(important) - 1 &&
	    memcmp(*text + *len - (sizeof(important) - 1), important, sizeof(important) - 1) == 0)
		*len -= sizeof(important) - 2;
	if (*len == 0 || (*text)[*len - 1] != '^')
		return -EOPNOTSUPP;
	--*len;
	return memchr(*text, '^', *len) || memchr(*text, '/', *len) ? -EOPNOTSUPP : 0;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* The labels of a name. 0 or the error. */
static int check_labels(const char *name, size_t len)
{
	size_t label = 0, digits = 0;

	for (size_t i = 0; i < len; i++) {
		if (name[i] == '.') {
			if (label == 0)
				return -EINVAL;
			label = 0;
			digits = 0;
			continue;
		}
		if (name[i] & 0x80)
			return -EILSEQ;
		if (!is_letter(name[i]))
			return -EINVAL;
		digits += name[i] >= '0' && name[i] <= '9';
		if (++label > IPQ_LABEL_MOST)
			return -ENAMETOOLONG;
	}
	/* No top level has digits alone: this is an address, or a part of one. */
	return label == digits ? -EINVAL : 0;
}

int ipq_domain_read(char name[IPQ_DOMAIN_MOST], const char *text, size_t len)
{
	int ret = unwrap(&text, &len);

	if (ret < 0)
		return ret;
	if (len >= 2 && text[0] == '*' && text[1] == '.') {
		text += 2;
		len -= 2;
	} else if (len >= 2 && text[0] == '.') {
		text++;
		len--;
	}
	if (len >= 2 && text[len - 1] == '.')
		len--;
	if (len > IPQ_DOMAIN_MOST)
		return -ENAMETOOLONG;
	for (size_t i = 0; i < len; i++)
		name[i] = ipq_lower(text[i]);
	ret = check_labels(name, len);
	return ret < 0 ? ret : (int)len;
}
