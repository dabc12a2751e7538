/* Statistics: in the page that others read, in the log, and in the file of metrics. */
#include "supervision.h"
#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/figures/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { LOOK_INTERVAL_MS = 1000, METRICS_INTERVAL_MS = 15000 };

static const struct stats nothing;

static void count(struct supervisor *s)
{
	struct stats *stats = s->survey.now;

	FOR_EACH_CHILD (s, child) {
		stats_read_batch(stats, child->batch, &child->made);
		stats_read_worker(stats, child->pid);
		stats->queue_num = child->queue_num;
		stats->restarts = child->restarts;
		stats->is_given_up = child->is_given_up;
		stats->is_lost_known = child->overflow.is_known;
		stats->queue_full = child->overflow.queue_full;
		stats->socket_full = child->overflow.socket_full;
		stats->waiting = child->overflow.waiting;
		stats++;
	}
	if (s->survey.page)
		page_write(s->survey.page, s->survey.now);
}

static void tell_one(const struct stats *stats, const struct stats *before, double seconds)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	stats_put_line(out, stats, before, seconds);
	if (fclose(out) == 0)
		log_queue(LOG_LEVEL_INFO, (int)stats->queue_num, "%s", text);
	free(text);
}

static void tell_since(struct supervisor *s, int64_t now)
{
	struct survey *survey = &s->survey;
	double seconds = (double)(now - survey->told_at) / 1000;

	for (unsigned int i = 0; i < s->children.count; i++) {
		tell_one(&survey->now[i], &survey->told[i], seconds);
		survey->told[i] = survey->now[i];
	}
	survey->told_at = now;
}

static const char *reason(int error)
{
	return error == -EEXIST ? "there is something that is no plain file" : strerror(-error);
}

/* Complains once, until it could be written again. */
static void write_metrics(struct supervisor *s)
{
	int ret = metrics_write(s->options->metrics, s->survey.now, s->children.count);

	if (ret < 0 && !s->survey.is_warned)
		log_write(LOG_LEVEL_WARN, "cannot write the metrics %s: %s", s->options->metrics,
			  reason(ret));
	s->survey.is_warned = ret < 0;
}

void survey_look(struct supervisor *s)
{
	struct survey *survey = &s->survey;
	int64_t now = clock_ms();

	count(s);
	if (survey->tell_at <= now) {
		tell_since(s, now);
		survey->tell_at = now + s->options->stats_ms;
	}
	if (survey->metrics_at <= now) {
		write_metrics(s);
		survey->metrics_at = now + METRICS_INTERVAL_MS;
	}
	survey->look_at = now + LOOK_INTERVAL_MS;
	if (survey->tell_at < survey->look_at)
		survey->look_at = survey->tell_at;
}

void survey_tell(struct supervisor *s)
{
	count(s);
	for (unsigned int i = 0; i < s->children.count; i++)
		tell_one(&s->survey.now[i], &nothing, 0);
	if (s->options->metrics)
		write_metrics(s);
}

void survey_end(struct supervisor *s)
{
	int ret;

	count(s);
	if (!s->options->metrics)
		return;
	ret = metrics_write(s->options->metrics, s->survey.now, s->children.count);
	if (ret == 0)
		return;
	log_write(LOG_LEVEL_ERROR, "cannot write the metrics %s for the last time: %s",
		  s->options->metrics, reason(ret));
	if (s->code == EX_OK)
		s->code = EX_IOERR;
}

/* The first time, so that what is wrong is told before a packet comes. */
static int open_metrics(struct supervisor *s)
{
	int ret = metrics_write(s->options->metrics, s->survey.now, s->children.count);

	if (ret == 0)
		return EX_OK;
	log_write(LOG_LEVEL_ERROR,
		  "cannot write the metrics %s: %s; --metrics takes a file in a folder that is "
		  "there and can be written to, node_exporter's --collector.textfile.directory",
		  s->options->metrics, reason(ret));
	return EX_CANTCREAT;
}

int survey_open(struct supervisor *s)
{
	struct survey *survey = &s->survey;
	int64_t now = clock_ms();
	int ret;

	survey->now = calloc(s->children.count, sizeof(*survey->now));
	survey->told = calloc(s->children.count, sizeof(*survey->told));
	if (!survey->now || !survey->told) {
		log_write(LOG_LEVEL_ERROR, "not enough memory for statistics");
		return EX_OSERR;
	}
	ret = page_new(&survey->page, &s->children.page, s->children.count, s->options->script);
	if (ret < 0)
		log_write(LOG_LEVEL_DEBUG, "--top will not find this process: %s", strerror(-ret));
	survey->told_at = now;
	survey->tell_at = s->options->stats_ms ? now + s->options->stats_ms : NEVER;
	survey->metrics_at = s->options->metrics ? now + METRICS_INTERVAL_MS : NEVER;
	count(s);
	return s->options->metrics ? open_metrics(s) : EX_OK;
}

void survey_close(struct supervisor *s)
{
	page_free(s->survey.page);
	if (s->children.page >= 0)
		close(s->children.page);
	free(s->survey.now);
	free(s->survey.told);
}
