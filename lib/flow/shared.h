/*
 * Shared tables: values by keys, in memory that several processes have, which any of them may leave at
 * any instruction, killed.
 *
 * Called by   Lua: bindings/ipq/shared.lua for what scripts share. The host: makes the region before it
 *             forks (format), looks at one that it has taken over (check), and frees what a process has
 *             left behind that has ended (repair).
 *
 * States      of a lock: free, or its owner's number. Of a set: still (its sequence is even), or being
 *             changed (odd); then its lock is taken. Of an entry: complete, or not there.
 *
 * Always      Whoever is killed leaves complete entries, and at most one lock: that of the place which
 *             it has noted before. A reader takes no lock. A reader and a writer give up after a bounded
 *             time. What is read from the region is checked each time before it is followed: whatever
 *             stands there leads nobody out of it, and into no endless loop. Sizes and the hash's key are
 *             copies, made when the region was attached.
 *
 * How         A table is an index of sets, each of 16 entries at most; the lowest bits of a key's hash are
 *             its place in the index. A set that is full is split in two, until the table has as many as
 *             it may; then the least recently used entry of the set goes. (R. Fagin and others,
 *             "Extendible hashing", ACM Transactions on Database Systems, 1979.) So a table takes the
 *             memory that its keys need, and one that grows moves nothing.
 *             shared_region.c has the region, its directory and its locks; shared_set.c one set; shared_heap.c its
 *             texts; shared_key.c keys; shared.c what is done with tables. shared_layout.h is what they share.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations
 * only.
 */
#ifndef IPQ_FLOW_SHARED_H
#define IPQ_FLOW_SHARED_H

#include "lib/ipq_abi.h"

enum ipq_shared_limits {
	IPQ_SHARED_WORKERS = 256,	     /* processes at a time */
	IPQ_SHARED_TABLES = 64,		     /* in a region */
	IPQ_SHARED_NAME_MAX = 63,	     /* bytes of a table's name */
	IPQ_SHARED_KEY_MAX = 255,	     /* bytes of a key that is text */
	IPQ_SHARED_VALUE_MAX = 16384,	     /* bytes of a value that is text */
	IPQ_SHARED_ENTRIES_MAX = 0x1000000,  /* 2^24 */
	IPQ_SHARED_SIZE_LEAST = 0x100000,    /* bytes of a region: 1 MiB */
	IPQ_SHARED_SIZE_DEFAULT = 0x4000000, /* 64 MiB */
	IPQ_SHARED_VERSION = 1		     /* of the region's layout */
};

/* A process's view of a region, and its view of a table in it. */
struct ipq_shared;
struct ipq_shared_table;

/* What a key or a value is. */
enum ipq_shared_kind {
	IPQ_SHARED_NONE = 0,
	IPQ_SHARED_NUMBER = 1,
	IPQ_SHARED_TRUE = 2, /* values alone */
	IPQ_SHARED_FALSE = 3,
	IPQ_SHARED_TEXT = 4,
	IPQ_SHARED_ADDRESS4 = 5, /* keys alone */
	IPQ_SHARED_ADDRESS6 = 6
};

/* A key. bytes: an address in network order, a number as it is in memory, or text of up to 16 bytes, and
 * zeros behind it; text: longer text, which is its owner's. */
struct ipq_shared_key {
	uint8_t bytes[16];
	const char *text;
	uint32_t len;  /* bytes of either */
	uint32_t kind; /* enum ipq_shared_kind */
};

/* A value. text, len bytes, is its owner's; of a value that ipq_shared_get() gives, the view's: good
 * until its next call. */
struct ipq_shared_value {
	double number;
	const char *text;
	uint32_t len;
	uint32_t kind; /* enum ipq_shared_kind */
};

/* Times are in nanoseconds, by one clock for all who use the region. Any of them may be IPQ_SHARED_CLOCK:
 * CLOCK_MONOTONIC, or where that matters little CLOCK_MONOTONIC_COARSE. Where a ttl is IPQ_SHARED_DEFAULT,
 * it is the table's; 0: for ever. */
enum ipq_shared_time { IPQ_SHARED_CLOCK = -1, IPQ_SHARED_DEFAULT = -1 };

/* The region */

/* Makes a region of fresh memory: size bytes, which are 0 and mapped MAP_SHARED, at an address that 64
 * divides. 0, -EINVAL where it is too small, or getrandom(2)'s error. Touches two pages. */
int ipq_shared_format(void *region, size_t size);

/* Whether that is a region, of that size and of this version: 0, -EPROTO: of another version, or
 * -EBADMSG: it is damaged. Either is to be replaced by a fresh one. */
int ipq_shared_check(const void *region, size_t size);

/* Writes again what a region is known by, where a process has overwritten it since: of a region that was made, or
 * checked, with that size. Whoever comes can attach then; all else is as it was. Whether that was needed. */
bool ipq_shared_mend(void *region, size_t size);

/* A view of the region, for the process of that number: from 0 up, below IPQ_SHARED_WORKERS, and no
 * process that is alive has the same one. The region must outlive the view and those of its tables, which
 * keep it: ipq_shared_detach(), which takes NULL, may come before the last table is closed. Others of its
 * threads must not use the same view. 0, -EINVAL, -ENOMEM, or the error of ipq_shared_check(). */
int ipq_shared_attach(struct ipq_shared **shared, void *region, size_t size, uint32_t worker);
void ipq_shared_detach(struct ipq_shared *shared);

/* A view of a region of this process's own, which no child shares, of that many bytes; its memory goes with
 * the last of the view and its tables. 0, -EINVAL, -ENOMEM, or an error of mmap(2) or getrandom(2). */
int ipq_shared_private(struct ipq_shared **shared, size_t size);

/* Frees what the process of that number has left locked, and completes what it has begun. It has ended
 * (waitpid(2) has told so), and no other one has its number yet. Wakes who waits. Any number and any bytes in the region
 * are taken; the time depends on the size of one table's index at most. Whether there was something. */
bool ipq_shared_repair(void *region, size_t size, uint32_t worker);

/* What a region has. Whoever may write there may lie in it. */
struct ipq_shared_figures {
	uint64_t size;	  /* bytes */
	uint64_t used;	  /* of them */
	uint32_t tables;  /* that it has */
	uint32_t damaged; /* sets that were emptied, because what stood there could not be */
};
void ipq_shared_figures(const void *region, size_t size, struct ipq_shared_figures *figures);

/* The table of that name, len bytes. The first one to name it makes it; the largest of the entries and of the value, the bytes
 * of a text, that were ever named hold. One that is damaged is made anew. ttl, which is this view's own, is in nanoseconds, 0: for ever.
 * The caller closes it, which takes NULL. 0, or:
 *   -EINVAL   a name, or a number, beyond enum ipq_shared_limits
 *   -ENOSPC   the region has no room for so many entries
 *   -EMFILE   it has IPQ_SHARED_TABLES tables
 *   -EBUSY    another process has kept the directory locked for a second
 *   -EBADMSG  the directory was damaged meanwhile
 *   -ENOMEM */
int ipq_shared_open(struct ipq_shared *shared, const char *name, size_t len, uint32_t entries,
		    uint32_t value, int64_t ttl, struct ipq_shared_table **table);
void ipq_shared_close(struct ipq_shared_table *table);

/* Keys */

/* A number, which is not NaN: 0 and -0 are one key. */
void ipq_shared_key_number(struct ipq_shared_key *key, double number);

/* Text, which stays the caller's, and must live as long as the key. An address (ipq_address_parse()) is
 * that address, however it is written. -EMSGSIZE: longer than IPQ_SHARED_KEY_MAX. */
int ipq_shared_key_text(struct ipq_shared_key *key, const char *text, size_t len);

/* The packet's source or destination address: 0, or -ENOENT where it has no whole IP header. (No bool: where
 * LuaJIT compiles a call that gives one, and not in the function that looks at it, a trace that is left there
 * goes on in a wrong place.) */
int ipq_shared_key_saddr(struct ipq_shared_key *key, struct ipq_packet *packet);
int ipq_shared_key_daddr(struct ipq_shared_key *key, struct ipq_packet *packet);

/*
 * What is done with a table. Each of these is one change that others see whole or not at all. All give a
 * negative number where they could not:
 *   -EBUSY    another process has had the key's set for 100 microseconds
 *   -EBADMSG  what stood there could not be, and the set was emptied
 *   -ENOENT   there is no such key
 */

/* What the key has: enum ipq_shared_kind, IPQ_SHARED_NONE where it is not there; also in value. */
int ipq_shared_get(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		   struct ipq_shared_value *value);

/* Gives the key a value, for that time. IPQ_SHARED_ADD: where it has none, else -EEXIST;
 * IPQ_SHARED_REPLACE: where it has one, else -ENOENT. -EMSGSIZE: text longer than the table takes.
 * -ENOSPC: the region has no room for text. */
enum ipq_shared_mode { IPQ_SHARED_SET = 0, IPQ_SHARED_ADD = 1, IPQ_SHARED_REPLACE = 2 };
int ipq_shared_set(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		   const struct ipq_shared_value *value, int64_t ttl, uint32_t mode);

/* Adds n to the key's number, and gives the sum in *result. Where it has none it begins at *initial, with
 * that ttl; if initial is NULL, -ENOENT. -EINVAL: it has a value that is no number. */
int ipq_shared_incr(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		    double n, const double *initial, int64_t ttl, double *result);

/* Whether a token bucket has cost tokens, which are taken from it then: 1 or 0. It takes per_second
 * tokens a second and holds burst at most; a new one is full. All three are above 0, and cost may be 0. A
 * bucket is one number, the time at which it will be full (GCRA: ITU-T I.371), and is forgotten then. Buckets have a
 * space of keys of their own: a value of the same key is another matter. */
int ipq_shared_bucket(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		      double per_second, double burst, double cost);

/* Forgets the key's value and its bucket. 1: there was one, or 0. */
int ipq_shared_delete(struct ipq_shared_table *table, const struct ipq_shared_key *key,
		      int64_t now);

/* From now on the key's value has that time to live. 0 or -ENOENT. */
int ipq_shared_expire(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		      int64_t ttl);

/* The time that the key's value has left in *left: 0: for ever. 0 or -ENOENT. */
int ipq_shared_ttl(struct ipq_shared_table *table, const struct ipq_shared_key *key, int64_t now,
		   int64_t *left);

/* The keys: *cursor is 0 at first. 1: key is one, whose text is the view's until its next call; 0: there
 * are no more. A key that others add or remove meanwhile may come or not; the key of a value and of a bucket comes
 * twice. A set that is being changed for too long is left out. */
int ipq_shared_next(struct ipq_shared_table *table, int64_t now, uint64_t *cursor,
		    struct ipq_shared_key *key);

/* Forgets all. 0, or -EBUSY: a set was left as it was; where others keep many of them, all behind these. */
int ipq_shared_clear(struct ipq_shared_table *table);

/* An error of these functions in words, never NULL; good until the next call. */
const char *ipq_shared_strerror(int error);

#endif
