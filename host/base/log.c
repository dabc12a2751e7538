#include "log.h"
#include "json.h"
#include "output.h"
#include "text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/stat.h>

static const struct {
	const char *name;
	const char *word; /* what a line begins with after the program's name */
	char priority;	  /* sd-daemon(3) */
} levels[] = {
	[LOG_LEVEL_DEBUG] = {"debug", "debug: ", '7'},
	/* Plain information needs no word for it. */
	[LOG_LEVEL_INFO] = {"info", "", '6'},
	[LOG_LEVEL_WARN] = {"warn", "warning: ", '4'},
	[LOG_LEVEL_ERROR] = {"error", "error: ", '3'},
};

/* Of the process, as its standard error is. */
static struct {
	enum log_level least;
	bool is_json;
	bool is_journal;
	int queue_num;
	char error[512];
} log_state = {.least = LOG_LEVEL_INFO, .queue_num = LOG_NO_QUEUE};

/* systemd.exec(5): the journal's device and inode, which a redirection leaves behind. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat status;

	return stream && sscanf(stream, "%ju:%ju", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &status) == 0 && device == (uintmax_t)status.st_dev &&
	       inode == (uintmax_t)status.st_ino;
}

void log_set_up(enum log_level least, bool is_json)
{
	log_state.least = least;
	log_state.is_json = is_json;
	log_state.is_journal = is_journal();
}

void log_set_queue(int queue_num)
{
	log_state.queue_num = queue_num;
}

bool log_takes(enum log_level level)
{
	return level >= log_state.least;
}

/* The journal takes each line for a message of its own. */
static void put_priority(FILE *out, enum log_level level)
{
	if (log_state.is_journal)
		fprintf(out, "<%c>", levels[level].priority);
}

/* A message may have several lines; those behind the first begin with a tab, so that nothing that
 * was in a packet or a script can look like another message. */
static void put_text(FILE *out, enum log_level level, const char *text)
{
	put_priority(out, level);
	fprintf(out, "ipq-lua: %s", levels[level].word);
	for (;;) {
		size_t len = strcspn(text, "\n");

		text_put(out, text, len);
		text += len;
		if (!*text || !*++text)
			break;
		putc('\n', out);
		put_priority(out, level);
		if (*text != '\t')
			putc('\t', out);
	}
	putc('\n', out);
}

static void put_json(FILE *out, enum log_level level, int queue_num, const char *text)
{
	struct timespec now;
	struct tm parts;
	char date[32];

	clock_gettime(CLOCK_REALTIME, &now);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &parts));
	put_priority(out, level);
	fprintf(out, "{\"time\":\"%s.%06ldZ\",\"level\":\"%s\",", date, now.tv_nsec / 1000,
		levels[level].name);
	if (queue_num != LOG_NO_QUEUE)
		fprintf(out, "\"queue\":%d,", queue_num);
	fputs("\"message\":", out);
	json_put_string(out, text);
	fputs("}\n", out);
}

static void put(enum log_level level, int queue_num, const char *text)
{
	char *line = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&line, &len);

	if (level == LOG_LEVEL_ERROR)
		snprintf(log_state.error, sizeof(log_state.error), "%.*s", (int)strcspn(text, "\n"),
			 text);
	if (!out)
		return;
	if (log_state.is_json)
		put_json(out, level, queue_num, text);
	else
		put_text(out, level, text);
	if (fclose(out) == 0)
		output_put(OUTPUT_ERR, line, len);
	free(line);
}

void log_write(enum log_level level, const char *format, ...)
{
	va_list args;
	char *text;
	int len;

	if (!log_takes(level))
		return;
	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0)
		return;
	put(level, log_state.queue_num, text);
	free(text);
}

void log_queue(enum log_level level, int queue_num, const char *format, ...)
{
	char *text = NULL, *whole = NULL;
	va_list args;

	if (!log_takes(level))
		return;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (text &&
	    (queue_num == LOG_NO_QUEUE ? asprintf(&whole, "all queues%s", text)
				       : asprintf(&whole, "queue %d%s", queue_num, text)) >= 0) {
		put(level, queue_num, whole);
		free(whole);
	}
	free(text);
}

const char *log_error(void)
{
	return log_state.error;
}

void log_last(const char *text)
{
	char line[1024];
	int len = snprintf(line, sizeof(line), "%sipq-lua: error: %s\n",
			   log_state.is_journal ? "<3>" : "", text);

	if (len > 0)
		output_put(OUTPUT_ERR, line,
			   (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

bool log_level_find(const char *name, enum log_level *level)
{
	for (int i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_ERROR; i++)
		if (strcmp(name, levels[i].name) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	return false;
}
