/* The statistics of a running program, for others to read: memory of the supervisor's, which
 * /proc/PID/fd leads to. No other process can change it, nor its size. */
#ifndef HOST_STATS_PAGE_H
#define HOST_STATS_PAGE_H

#include <sys/types.h>

#include "stats.h"

struct stats_page_head {
	char magic[8];
	uint32_t head_size;  /* of this struct, and of a struct stats: what another version has */
	uint32_t stats_size; /* may be others */
	uint32_t count;	     /* of queues */
	uint32_t sequence;   /* odd while it is written */
	int64_t time_ns;     /* CLOCK_MONOTONIC: when it was written */
	int64_t since_ns;    /* when the program began */
	char version[16];
	char script[224];
};

/* Makes a page for so many queues; *fd stays open as long as others may find it, and forked
 * processes do not have the page. 0 or a negative errno. */
int stats_page_new(struct stats_page_head **page, int *fd, uint32_t count, const char *script);
void stats_page_free(struct stats_page_head *page);

/* Writes the statistics of all its queues. */
void stats_page_write(struct stats_page_head *page, const struct stats *stats);

/* What another process's page has had at one moment. Zeroed memory is none. */
struct stats_snapshot {
	struct stats_page_head head;
	struct stats *stats; /* head.count of them */
};

enum stats_page_result {
	STATS_PAGE_OK,
	STATS_PAGE_NONE,    /* there is no such process, or it is no ipq-lua's supervisor */
	STATS_PAGE_DENIED,  /* this user may not look */
	STATS_PAGE_OTHER,   /* another version's: head.version is its name */
	STATS_PAGE_UNSTEADY /* it was never seen at rest, or there is no memory */
};

/* Reads the page of a process; all text in it ends, and is harmless in a terminal. The caller frees
 * what *snapshot then has by stats_page_clear(). */
enum stats_page_result stats_page_read(struct stats_snapshot *snapshot, pid_t pid);
void stats_page_clear(struct stats_snapshot *snapshot);

#endif
