/*
 * Sets of domain names.
 *
 * A table of slots, each a hash of 32 bits and where the name lies. A slot's place is that of the
 * hash's first bits, or the next free one, so the table grows without a look at the names. Names lie
 * one behind the other in one piece of memory, each behind its length.
 */
#include "domain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum {
	BITS_LEAST = 4,
	COUNT_MOST = 1 << 26,
	LABELS_MOST = (IPQ_DOMAIN_MOST + 1) / 2,
	NAMES_LEAST = 1 << 10,
	HUGE_PAGE = 1 << 21,
	WORD = sizeof(uint64_t),
};

/* at is 0 where the slot is free. */
struct slot {
	uint32_t hash, at;
};

struct ipq_domainset {
	uint64_t key[2];
	struct slot *slots;
	uint32_t bits, count;
	uint32_t labels_most;
	bool has[LABELS_MOST + 1]; /* whether a name of so many labels was added */
	char *names;
	uint32_t used, room, wasted; /* bytes of names */
	struct ipq_domainset_file file;
};

/* A suffix of a name that may be in the set. */
struct suffix {
	uint32_t hash, len;
};

/* Has the kernel take huge pages for what is looked at here and there. */
static void prefer_huge_pages(char *bytes, size_t size)
{
	size_t before = -(uintptr_t)bytes % HUGE_PAGE;

	if (size >= before + HUGE_PAGE)
		madvise(bytes + before, (size - before) / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
}

static struct slot *slots_new(uint32_t bits)
{
	size_t size = sizeof(struct slot) << bits;
	struct slot *slots;

	if (size < HUGE_PAGE)
		return calloc(1, size);
	slots = aligned_alloc(HUGE_PAGE, size);
	if (!slots)
		return NULL;
	prefer_huge_pages((char *)slots, size);
	memset(slots, 0, size);
	return slots;
}

int ipq_domainset_new(struct ipq_domainset **set)
{
	struct ipq_domainset *made = calloc(1, sizeof(*made));
	int ret = -ENOMEM;

	*set = NULL;
	if (!made)
		return -ENOMEM;
	made->bits = BITS_LEAST;
	made->slots = slots_new(BITS_LEAST);
	made->room = NAMES_LEAST;
	made->names = malloc(NAMES_LEAST);
	made->used = 1;
	if (!made->slots || !made->names)
		goto failed;
	ret = -EIO;
	if (getrandom(made->key, sizeof(made->key), 0) != sizeof(made->key))
		goto failed;
	*set = made;
	return 0;
failed:
	ipq_domainset_free(made);
	return ret;
}

void ipq_domainset_free(struct ipq_domainset *set)
{
	if (!set)
		return;
	free(set->slots);
	free(set->names);
	free(set->file.path);
	free(set);
}

void ipq_domainset_take(struct ipq_domainset *set, struct ipq_domainset *other)
{
	struct ipq_domainset before = *set;

	*set = *other;
	set->file = before.file;
	before.file = other->file;
	*other = before;
	ipq_domainset_free(other);
}

struct ipq_domainset_file *ipq_domainset_file(struct ipq_domainset *set)
{
	return &set->file;
}

const char *ipq_domainset_path(const struct ipq_domainset *set)
{
	return set->file.path;
}

uint32_t ipq_domainset_count(const struct ipq_domainset *set)
{
	return set->count;
}

size_t ipq_domainset_memory(const struct ipq_domainset *set)
{
	return sizeof(*set) + (sizeof(struct slot) << set->bits) + set->room;
}

/* Hashes */

/* Both halves of a product of 128 bits, of which one factor is secret. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The hash of a name, from that of the name behind its first label. Behind the label there are WORD - 1
 * bytes more that can be read. */
static uint64_t hash_label(const uint64_t key[2], uint64_t hash, const char *label, size_t len)
{
	uint64_t word;

	for (; len >= WORD; label += WORD, len -= WORD) {
		memcpy(&word, label, WORD);
		hash = mix(hash ^ word, key[0] | 1);
	}
	memcpy(&word, label, WORD);
	word = len ? htole64(le64toh(word) & ~0ULL >> (WORD - len) * 8) : 0;
	return mix(hash ^ word, (key[1] ^ (uint64_t)len << 1) | 1);
}

/* Finds those suffixes of a name that have as many labels as some name of the set, the shortest one
 * first. They end at text + IPQ_DOMAIN_MOST, in small letters. Gives how many there are. */
static uint32_t read_suffixes(const struct ipq_domainset *set, char text[IPQ_DOMAIN_MOST + WORD],
			      struct suffix suffixes[LABELS_MOST], const char *name, size_t len)
{
	uint64_t hash = set->key[1];
	uint32_t begin = IPQ_DOMAIN_MOST, labels = 0, count = 0;

	memset(text + begin, 0, WORD);
	while (labels < set->labels_most) {
		uint32_t end = begin;

		while (len > 0 && name[len - 1] != '.' && begin > 0)
			text[--begin] = ipq_lower(name[--len]);
		if (end == begin || end - begin > IPQ_LABEL_MOST)
			break;
		if (len > 0 && name[len - 1] != '.')
			break;
		hash = hash_label(set->key, hash, text + begin, end - begin);
		if (set->has[++labels]) {
			struct suffix suffix = {(uint32_t)(hash >> 32), IPQ_DOMAIN_MOST - begin};

			suffixes[count++] = suffix;
			__builtin_prefetch(&set->slots[suffix.hash >> (32 - set->bits)]);
		}
		if (len == 0 || begin == 0)
			break;
		text[--begin] = '.';
		len--;
	}
	return count;
}

static bool is_name(const struct ipq_domainset *set, const struct slot *slot,
		    const struct suffix *suffix, const char *text)
{
	const char *name = set->names + slot->at;

	return slot->hash == suffix->hash && (uint8_t)name[0] == suffix->len &&
	       memcmp(name + 1, text, suffix->len) == 0;
}

/* The slot of a name; the free one where it would be, if it is not there. */
static struct slot *find_slot(const struct ipq_domainset *set, const struct suffix *suffix,
			      const char *text)
{
	uint32_t mask = (1U << set->bits) - 1, i = suffix->hash >> (32 - set->bits);

	while (set->slots[i].at && !is_name(set, &set->slots[i], suffix, text))
		i = (i + 1) & mask;
	return &set->slots[i];
}

size_t ipq_domainset_find(const struct ipq_domainset *set, const char *name, size_t len)
{
	char text[IPQ_DOMAIN_MOST + WORD];
	struct suffix suffixes[LABELS_MOST];
	uint32_t count;

	if (len > 0 && name[len - 1] == '.')
		len--;
	count = read_suffixes(set, text, suffixes, name, len);
	while (count > 0) {
		const struct suffix *suffix = &suffixes[--count];

		if (find_slot(set, suffix, text + IPQ_DOMAIN_MOST - suffix->len)->at)
			return suffix->len;
	}
	return 0;
}

/* Changes */

static uint32_t labels_of(const char *name, size_t len)
{
	uint32_t labels = 1;

	for (size_t i = 0; i < len; i++)
		labels += name[i] == '.';
	return labels;
}

/* The hash of a whole name, len bytes in small letters. */
static struct suffix hash_name(const struct ipq_domainset *set, const char *name, size_t len)
{
	char text[IPQ_DOMAIN_MOST + WORD] = "";
	uint64_t hash = set->key[1];
	size_t end = len;

	memcpy(text, name, len);
	for (size_t begin = len; begin > 0; begin--)
		if (begin == 1 || text[begin - 2] == '.') {
			hash = hash_label(set->key, hash, text + begin - 1, end - (begin - 1));
			end = begin - 2;
		}
	return (struct suffix){(uint32_t)(hash >> 32), (uint32_t)len};
}

/* Puts all slots into a table of so many bits. */
static int resize(struct ipq_domainset *set, uint32_t bits)
{
	uint32_t mask = (1U << bits) - 1, size = 1U << set->bits;
	struct slot *slots = slots_new(bits);

	if (!slots)
		return -ENOMEM;
	for (uint32_t n = 0; n < size; n++) {
		uint32_t i = set->slots[n].hash >> (32 - bits);

		if (!set->slots[n].at)
			continue;
		while (slots[i].at)
			i = (i + 1) & mask;
		slots[i] = set->slots[n];
	}
	free(set->slots);
	set->slots = slots;
	set->bits = bits;
	return 0;
}

/* Room for a name of len bytes. 0 or the error. */
static int make_room(struct ipq_domainset *set, size_t len)
{
	uint32_t room = set->room;
	char *names;

	if (set->count >= COUNT_MOST)
		return -E2BIG;
	/* At most three of four slots are taken. */
	if (set->count >= (3ULL << set->bits) / 4) {
		int ret = resize(set, set->bits + 1);

		if (ret < 0)
			return ret;
	}
	if (len + 1 <= room - set->used)
		return 0;
	if (room > UINT32_MAX / 2)
		return -E2BIG;
	room *= 2;
	names = realloc(set->names, room);
	if (!names)
		return -ENOMEM;
	prefer_huge_pages(names, room);
	set->names = names;
	set->room = room;
	return 0;
}

int ipq_domainset_add(struct ipq_domainset *set, const char *text, size_t len)
{
	char name[IPQ_DOMAIN_MOST];
	int ret = ipq_domain_read(name, text, len);
	struct suffix suffix;
	struct slot *slot;
	uint32_t labels;

	if (ret < 0)
		return ret;
	len = (size_t)ret;
	suffix = hash_name(set, name, len);
	if (find_slot(set, &suffix, name)->at)
		return 0;
	ret = make_room(set, len);
	if (ret < 0)
		return ret;
	slot = find_slot(set, &suffix, name);
	*slot = (struct slot){suffix.hash, set->used};
	set->names[set->used++] = (char)len;
	memcpy(set->names + set->used, name, len);
	set->used += (uint32_t)len;
	set->count++;
	labels = labels_of(name, len);
	set->has[labels] = true;
	if (labels > set->labels_most)
		set->labels_most = labels;
	return 1;
}

/* Frees a slot: moves those behind it that could not have its place up, so that none is behind a free
 * one. */
static void free_slot(struct ipq_domainset *set, struct slot *slot)
{
	uint32_t mask = (1U << set->bits) - 1, hole = (uint32_t)(slot - set->slots);

	for (uint32_t i = (hole + 1) & mask; set->slots[i].at; i = (i + 1) & mask) {
		uint32_t home = set->slots[i].hash >> (32 - set->bits);

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		set->slots[hole] = set->slots[i];
		hole = i;
	}
	set->slots[hole].at = 0;
}

/* Takes the names that were removed out of their memory, where they are more than half of it. Without
 * memory for that they stay. */
static void tidy(struct ipq_domainset *set)
{
	uint32_t size = 1U << set->bits, used = 1;
	char *names;

	if (set->used < NAMES_LEAST || set->wasted < set->used / 2)
		return;
	names = malloc(set->room);
	if (!names)
		return;
	for (uint32_t i = 0; i < size; i++) {
		const char *name = set->names + set->slots[i].at;
		uint32_t len = (uint8_t)name[0] + 1U;

		if (!set->slots[i].at)
			continue;
		memcpy(names + used, name, len);
		set->slots[i].at = used;
		used += len;
	}
	free(set->names);
	set->names = names;
	set->used = used;
	set->wasted = 0;
}

int ipq_domainset_remove(struct ipq_domainset *set, const char *text, size_t len)
{
	char name[IPQ_DOMAIN_MOST];
	int ret = ipq_domain_read(name, text, len);
	struct suffix suffix;
	struct slot *slot;

	if (ret < 0)
		return ret;
	suffix = hash_name(set, name, (size_t)ret);
	slot = find_slot(set, &suffix, name);
	if (!slot->at)
		return 0;
	set->wasted += suffix.len + 1;
	set->count--;
	free_slot(set, slot);
	tidy(set);
	return 1;
}

const char *ipq_domainset_strerror(int error)
{
	switch (error) {
	case -EINVAL:
		return "not a domain name, as ads.example, *.ads.example or ||ads.example^ is";
	case -ENAMETOOLONG: return "a label has at most 63 bytes, and a name at most 253";
	case -EILSEQ:
		return "letters beyond ASCII are written in Punycode, as xn--bcher-kva.example";
	case -EOPNOTSUPP:
		return "of adblock's rules those of names alone are read, as ||ads.example^: "
		       "no exceptions, no paths, no options";
	case -E2BIG: return "too many names";
	default: return strerror(-error);
	}
}
