#include "tools.h"
#include "host/base/base.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/socket.h>

enum { ANSWER_S = 60, ANSWER_MOST = 1 << 20 };

/* Which program */

/* A connected socket, or a negative errno. */
static int connect_to(const char *name)
{
	struct timeval patience = {.tv_sec = ANSWER_S};
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	control_address(name, &address);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

struct found {
	int count, error;
	char first[NAME_MAX + 1];
	char all[1024];
};

static void note(struct found *found, const char *name)
{
	size_t used = strlen(found->all);
	int fd = connect_to(name);

	if (fd < 0) {
		/* One that was killed leaves its own behind. */
		if (fd != -ECONNREFUSED && fd != -ENOENT)
			found->error = fd;
		return;
	}
	close(fd);
	if (found->count++ == 0)
		snprintf(found->first, sizeof(found->first), "%s", name);
	snprintf(found->all + used, sizeof(found->all) - used, " %s", name);
}

/* The one that there is. Gives an exit code. */
static int find(struct found *found)
{
	DIR *folder = opendir(CONTROL_FOLDER);
	struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		if (control_is_name(entry->d_name))
			note(found, entry->d_name);
	if (folder)
		closedir(folder);
	if (found->count == 1)
		return EX_OK;
	if (found->count > 1)
		log_write(LOG_LEVEL_ERROR, "several run; say which, --ctl=NAME:%s", found->all);
	else if (found->error == -EACCES)
		log_write(LOG_LEVEL_ERROR,
			  "only root, and the user that the program runs as, may ask");
	else
		log_write(LOG_LEVEL_ERROR, "no ipq-lua runs here");
	if (found->count > 1)
		return EX_USAGE;
	return found->error == -EACCES ? EX_NOPERM : EX_UNAVAILABLE;
}

static int cannot_connect(const char *name, int error)
{
	if (error == -EACCES || error == -EPERM) {
		log_write(LOG_LEVEL_ERROR,
			  "%s: only root, and the user that the program runs as, may ask", name);
		return EX_NOPERM;
	}
	if (error == -ENOENT || error == -ECONNREFUSED) {
		log_write(LOG_LEVEL_ERROR, "no ipq-lua runs by the name of %s%s", name,
			  name[strspn(name, "0123456789")] == '\0'
				  ? "; one that was started with --name answers to that, and not "
				    "to its number"
				  : "");
		return EX_UNAVAILABLE;
	}
	log_write(LOG_LEVEL_ERROR, "%s does not answer: %s", name, strerror(-error));
	return EX_TEMPFAIL;
}

/* What it says */

/* It takes its time, and says so by a space. */
static void wait_on(int fd)
{
	struct timeval forever = {.tv_sec = 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
}

/* A line, without its end; the caller frees it. NULL where none comes. */
static char *read_line(int fd)
{
	char *text = malloc(ANSWER_MOST);
	size_t len = 0;

	while (text && len < ANSWER_MOST - 1) {
		ssize_t got = recv(fd, text + len, ANSWER_MOST - 1 - len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		if (len == 0 && text[0] == ' ') {
			wait_on(fd);
			memmove(text, text + 1, (size_t)--got);
		}
		len += (size_t)got;
		if (!len)
			continue;
		if (text[len - 1] == '\n') {
			text[len - 1] = '\0';
			return text;
		}
	}
	free(text);
	return NULL;
}

/* The character of a JSON escape's four digits, in UTF-8. Those of the program are below 0x100. */
static void put_number(FILE *out, unsigned int number)
{
	if (number < 0x80) {
		putc((int)number, out);
	} else {
		putc((int)(0xc0 | number >> 6), out);
		putc((int)(0x80 | (number & 0x3f)), out);
	}
}

/* Writes the string at text, behind its quote. */
static void put_string(FILE *out, const char *text)
{
	static const char names[] = "bfnrt", bytes[] = "\b\f\n\r\t";

	for (; *text && *text != '"'; text++) {
		unsigned int number;
		const char *name;

		if (*text != '\\') {
			putc(*text, out);
			continue;
		}
		text++;
		if (*text == 'u' && sscanf(text + 1, "%4x", &number) == 1) {
			put_number(out, number);
			text += 4;
		} else if (*text && (name = strchr(names, *text))) {
			putc(bytes[name - names], out);
		} else if (*text) {
			putc(*text, out);
		} else {
			return;
		}
	}
}

/* The program's own form: {"status":N,"text":"...". */
static int show(const char *answer, bool is_json)
{
	char *text = NULL;
	size_t size;
	int status, at = 0;
	FILE *out;

	if (sscanf(answer, "{\"status\":%d,\"text\":\"%n", &status, &at) != 1 || !at) {
		log_write(LOG_LEVEL_ERROR, "what it answers is of another version");
		return EX_TEMPFAIL;
	}
	if (is_json) {
		puts(answer);
		return status;
	}
	out = open_memstream(&text, &size);
	if (out)
		put_string(out, answer + at);
	if (!out || fclose(out) != 0)
		return EX_OSERR;
	if (status == 0)
		puts(text);
	else
		log_write(LOG_LEVEL_ERROR, "%s", text);
	free(text);
	return status;
}

static int ask(int fd, int argc, char **argv, bool is_json)
{
	char line[CONTROL_LINE_MAX] = "";
	size_t used = 0;
	char *answer = NULL;
	int code = EX_TEMPFAIL;

	for (int i = 0; i < argc && used < sizeof(line); i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s", i ? " " : "",
					 argv[i]);
	if (used + 1 >= sizeof(line) || strchr(line, '\n')) {
		log_write(LOG_LEVEL_ERROR, "--ctl: a command is one line, and shorter");
		return EX_USAGE;
	}
	line[used++] = '\n';
	/* One that may not ask has its answer already. */
	(void)send(fd, line, used, MSG_NOSIGNAL);
	answer = read_line(fd);
	if (answer)
		code = show(answer, is_json);
	else
		log_write(LOG_LEVEL_ERROR, "it does not answer%s",
			  errno == EAGAIN ? ": it has had a minute" : ", and may have ended");
	free(answer);
	return code;
}

int ctl_run(const struct options *options)
{
	struct found found = {0};
	const char *name = options->ctl_name;
	int fd, code;

	if (!name) {
		code = find(&found);
		if (code != EX_OK)
			return code;
		name = found.first;
	}
	fd = connect_to(name);
	if (fd < 0)
		return cannot_connect(name, fd);
	code = ask(fd, options->argc, options->argv, options->json);
	close(fd);
	return code;
}
