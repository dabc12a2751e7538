#include "tools.h"
#include "host/base/base.h"
#include "host/figures/figures.h"
#include "lib/clock.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { INSTANCES_MAX = 64, LOOK_MS = 250, UPDATE_MOST_MS = 2500 };

/* Which process */

static bool pid_parse(const char *text, pid_t *pid)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	*pid = (pid_t)number;
	return !errno && end != text && !*end && number > 0 && number <= INT_MAX;
}

struct instances {
	unsigned int count;
	bool is_denied; /* there may be others */
	struct {
		pid_t pid;
		struct stats_page_head head;
		uint32_t first, last; /* queues */
	} of[INSTANCES_MAX];
};

static void note(struct instances *instances, pid_t pid)
{
	struct stats_snapshot snapshot;

	switch (stats_page_read(&snapshot, pid)) {
	case STATS_PAGE_OK:
		instances->of[instances->count].first = snapshot.stats[0].queue_num;
		instances->of[instances->count].last =
			snapshot.stats[snapshot.head.count - 1].queue_num;
		/* fall through */
	case STATS_PAGE_OTHER:
		instances->of[instances->count].pid = pid;
		instances->of[instances->count++].head = snapshot.head;
		break;
	case STATS_PAGE_DENIED: instances->is_denied = true; break;
	default: break;
	}
	stats_page_clear(&snapshot);
}

static void find_all(struct instances *instances)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	pid_t pid;

	while (folder && instances->count < INSTANCES_MAX && (entry = readdir(folder)))
		if (pid_parse(entry->d_name, &pid))
			note(instances, pid);
	if (folder)
		closedir(folder);
}

static int list(const struct instances *instances)
{
	for (unsigned int i = 0; i < instances->count; i++)
		printf("%8d  queues %u:%u  %s\n", (int)instances->of[i].pid, instances->of[i].first,
		       instances->of[i].last, instances->of[i].head.script);
	fflush(stdout);
	log_write(LOG_LEVEL_ERROR, "several run; say which: ipq-lua --top PID");
	return EX_USAGE;
}

/* The one that there is. */
static int find(pid_t *pid)
{
	struct instances *instances = calloc(1, sizeof(*instances));
	int code = EX_OK;

	if (!instances)
		return EX_OSERR;
	find_all(instances);
	*pid = instances->of[0].pid;
	if (instances->count > 1)
		code = list(instances);
	if (instances->count == 0) {
		log_write(LOG_LEVEL_ERROR, "no ipq-lua runs here%s",
			  instances->is_denied ? " that this user may look into; root may" : "");
		code = EX_UNAVAILABLE;
	}
	free(instances);
	return code;
}

static int complain(enum stats_page_result result, pid_t pid, const struct stats_snapshot *snapshot)
{
	switch (result) {
	case STATS_PAGE_DENIED:
		log_write(LOG_LEVEL_ERROR,
			  "process %d: this user may not look into it; its own may, or root",
			  (int)pid);
		return EX_NOPERM;
	case STATS_PAGE_OTHER:
		log_write(LOG_LEVEL_ERROR,
			  "process %d is ipq-lua %s, and counts otherwise than this one, %s: ask "
			  "its own program, /proc/%d/exe --top %d",
			  (int)pid, snapshot->head.version, IPQ_VERSION, (int)pid, (int)pid);
		return EX_UNAVAILABLE;
	default:
		log_write(LOG_LEVEL_ERROR, "process %d is no ipq-lua that judges a queue",
			  (int)pid);
		return EX_UNAVAILABLE;
	}
}

/* What is shown */

struct top {
	pid_t pid;
	struct stats_snapshot now,
		before; /* before: the one of another time, now where there is none */
};

static int copy(struct stats_snapshot *to, const struct stats_snapshot *from)
{
	size_t size = from->head.count * sizeof(*from->stats);

	to->head = from->head;
	to->stats = malloc(size);
	if (!to->stats)
		return -ENOMEM;
	memcpy(to->stats, from->stats, size);
	return 0;
}

/* Reads what is new. *is_new is whether anything was. */
static enum stats_page_result look(struct top *top, bool *is_new)
{
	struct stats_snapshot newest;
	enum stats_page_result result = stats_page_read(&newest, top->pid);

	*is_new = result == STATS_PAGE_OK && newest.head.time_ns != top->now.head.time_ns;
	if (!*is_new) {
		stats_page_clear(&newest);
		return result;
	}
	stats_page_clear(&top->before);
	top->before = top->now;
	top->now = newest;
	/* Another program has taken its place: there is nothing to compare with. */
	if (top->before.head.since_ns != newest.head.since_ns ||
	    top->before.head.count != newest.head.count) {
		stats_page_clear(&top->before);
		if (copy(&top->before, &newest) < 0)
			return STATS_PAGE_UNSTEADY;
	}
	return result;
}

static void put(const struct top *top, void (*show)(const char *text, size_t len))
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	stats_table_put(out, top->pid, &top->now, &top->before,
			ipq_monotonic_ns() - top->now.head.time_ns);
	if (fclose(out) == 0)
		show(text, size);
	free(text);
}

static void print(const char *text, size_t len)
{
	(void)output_write(STDOUT_FILENO, text, len);
}

/* Rates need two looks. */
static int show_once(struct top *top)
{
	int64_t until = clock_ms() + UPDATE_MOST_MS;
	bool is_new = false;

	while (!is_new && clock_ms() < until && look(top, &is_new) != STATS_PAGE_NONE)
		nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 100000L}, NULL);
	put(top, print);
	return EX_OK;
}

static int show_live(struct top *top)
{
	enum screen_event event = SCREEN_NOTHING;
	enum stats_page_result result = STATS_PAGE_OK;
	struct screen screen;
	int ret = screen_open(&screen);

	if (ret < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot use the terminal: %s", strerror(-ret));
		return EX_OSERR;
	}
	while (event != SCREEN_LEAVE &&
	       (result == STATS_PAGE_OK || result == STATS_PAGE_UNSTEADY)) {
		bool is_new;

		put(top, screen_show);
		event = screen_wait(&screen, LOOK_MS);
		result = look(top, &is_new);
	}
	screen_close(&screen);
	if (event != SCREEN_LEAVE)
		log_write(LOG_LEVEL_INFO, "process %d has ended", (int)top->pid);
	return EX_OK;
}

int top_run(const char *text)
{
	struct top top = {.pid = 0};
	enum stats_page_result result;
	int code = EX_OK;

	if (text && !pid_parse(text, &top.pid)) {
		log_write(LOG_LEVEL_ERROR, "--top %s: must be the number of a process", text);
		return EX_USAGE;
	}
	if (!text)
		code = find(&top.pid);
	if (code != EX_OK)
		return code;
	result = stats_page_read(&top.now, top.pid);
	if (result != STATS_PAGE_OK)
		return complain(result, top.pid, &top.now);
	if (copy(&top.before, &top.now) == 0)
		code = isatty(STDOUT_FILENO) ? show_live(&top) : show_once(&top);
	stats_page_clear(&top.now);
	stats_page_clear(&top.before);
	return code;
}
