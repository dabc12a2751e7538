/*
 * What Lua calls of C that is no business of lib's. LuaJIT reads this text as it reads lib's
 * headers (bindings/core.c): below its #include lines it has declarations only.
 */
#ifndef IPQ_CORE_CALLS_H
#define IPQ_CORE_CALLS_H

#include "lib/ipq_abi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Seconds since 1970, by CLOCK_REALTIME. */
double ipq_now(void);

/* Whole microseconds, by CLOCK_MONOTONIC. */
double ipq_monotonic_us(void);

/* Where needle is in haystack first: its offset, -1 where it is not. */
int ipq_find(const uint8_t *haystack, uint32_t haystack_len, const char *needle,
	     uint32_t needle_len);

/* Whether the file of that name can be read, and is no folder: 0, or a negative errno. It is not
 * opened, which would take from a pipe. */
int ipq_file_check(const char *path);

/* Which of the names a misspelt word was meant to be: the number of the one in which the fewest
 * letters are wrong, missing, too many or swapped, the first of those. -1: none is near. Capitals
 * are as small letters, and '-' is as '_'. */
int ipq_nearest(const char *word, const char *const *names, uint32_t count);

/* Timers by their times (heap.c): those that are due first are first, and those that are due at the
 * same time are in the order of their numbers. The memory is the caller's, and zeroed: dues has room
 * for each slot, and places is as long. */
struct ipq_due {
	double due;
	double number;
	uint32_t slot; /* whose it is */
};
struct ipq_heap {
	struct ipq_due *dues; /* count of them; the first one is due first */
	uint32_t *places;     /* by slot: where it is in dues, from 1 up; 0: nowhere */
	uint32_t count;
};

/* Adds a slot that is nowhere. */
void ipq_heap_add(struct ipq_heap *heap, uint32_t slot, double due, double number);
/* Takes the slot out, if it is there. */
void ipq_heap_remove(struct ipq_heap *heap, uint32_t slot);

/* Gives an empty counter its name, which has less than IPQ_COUNTER_NAME_SIZE bytes, and its value.
 * Who reads it meanwhile, in another process, finds no name, and not half of one: stats.c. */
void ipq_counter_name(struct ipq_counter *counter, const char *name, uint32_t len, double value);

/*
 * What became of a packet that was judged, as a line with its newline. why is what went wrong with
 * it, of why_len bytes, which may be any; NULL: nothing did. Writes at most IPQ_RECORD_SIZE +
 * IPQ_RECORD_ESCAPE * why_len bytes, without a 0 byte behind them, and gives how many.
 *
 *   ipq_record_json    an object: number, time (text, with all digits of its microseconds), verdict,
 *                      mark, changed, packet (ipq_packet_summary()), and error where there is one
 *   ipq_record_print   for people: local time and packet as tcpdump(1) prints them, and behind two
 *                      blanks the verdict, with what else became of the packet, and why's first line
 */
enum { IPQ_RECORD_SIZE = 512, IPQ_RECORD_ESCAPE = 6 };
size_t ipq_record_json(struct ipq_packet *packet, const char *why, size_t why_len, char *to);
size_t ipq_record_print(struct ipq_packet *packet, const char *why, size_t why_len, char *to);

/*
 * The same of packets that filters have sent (struct ipq_outbox):
 *
 *   ipq_record_next    the next one that nobody was told of whose cause is that packet, or which has
 *                      none where cause is NULL; NULL: there is none
 *   ipq_record_sent    its line, of at most IPQ_RECORD_SIZE bytes, for programs an object: number (of its
 *                      cause, if it has one), time, sent (true), packet. It is told of then.
 *   ipq_record_rest    writes lines to standard output, of all that nobody was told of
 */
struct ipq_sent;
struct ipq_sent *ipq_record_next(struct ipq_outbox *outbox, const struct ipq_packet *cause);
size_t ipq_record_sent(struct ipq_sent *sent, bool is_json, char *to);
void ipq_record_rest(struct ipq_outbox *outbox, bool is_json);

/* Writes bytes to standard output, behind what print() has written there. A failure is stdio's to
 * keep. */
void ipq_stdout_write(const char *bytes, size_t len);

/* Fills in len bytes, at most 256, that nobody can guess. 0 or a negative errno. */
int ipq_random(void *bytes, size_t len);

/* The C library's. */
int memcmp(const void *a, const void *b, size_t len);

#endif
