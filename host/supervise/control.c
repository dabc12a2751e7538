#include "control.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* A client that says nothing, or takes nothing, is given up after so long. */
enum { SILENCE_MS = 5000, BACKLOG = 64, TRIES = 10, PAUSE_MS = 1000 };

/* The socket */

/* Where that cannot be told, as with no descriptor left (EBADF), it is. */
static bool is_alive(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
		     (errno != ECONNREFUSED && errno != ENOENT);

	if (fd >= 0)
		close(fd);
	return alive;
}

/* Root's folder, or a service manager's. */
static int make_folders(const char *name)
{
	char path[sizeof(CONTROL_FOLDER) + CONTROL_NAME_MAX + 2];

	if (mkdir(CONTROL_FOLDER, 0755) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/%s", CONTROL_FOLDER, name);
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int listen_at(struct control *control)
{
	struct sockaddr_un address;
	int ret = make_folders(control->name);

	if (ret < 0)
		return ret;
	control_address(control->name, &address);
	if (is_alive(&address))
		return -EADDRINUSE;
	/* Of a program that was killed. */
	(void)unlink(address.sun_path);
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0)
		return -errno;
	if (bind(control->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(address.sun_path, 0600) < 0 || listen(control->fd, BACKLOG) < 0) {
		ret = -errno;
		close(control->fd);
		control->fd = -1;
	}
	return ret;
}

/* Takes the socket away, and the folders where nothing else is in them. */
static void remove_at(const char *name)
{
	struct sockaddr_un address;
	char *slash;

	control_address(name, &address);
	(void)unlink(address.sun_path);
	while ((slash = strrchr(address.sun_path, '/')) &&
	       strlen(address.sun_path) > sizeof(CONTROL_FOLDER) - 1) {
		*slash = '\0';
		(void)rmdir(address.sun_path);
	}
}

/* Those of programs that were killed, by their numbers; one with a name finds its own again. */
static void sweep(void)
{
	DIR *folder = opendir(CONTROL_FOLDER);
	struct sockaddr_un address;
	struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		const char *name = entry->d_name;

		if (!control_is_name(name) || strspn(name, "0123456789") != strlen(name))
			continue;
		control_address(name, &address);
		/* One that is about to listen does not yet. */
		if (!is_alive(&address) && kill((pid_t)strtol(name, NULL, 10), 0) < 0 &&
		    errno == ESRCH)
			remove_at(name);
	}
	if (folder)
		closedir(folder);
}

void control_open(struct control *control, const char *name,
		  int (*answer)(void *data, const char *line, FILE *out), void *data)
{
	int ret = 0;

	*control = (struct control){.fd = -1, .answer = answer, .data = data};
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		control->clients[i].fd = -1;
	if (name)
		snprintf(control->name, sizeof(control->name), "%s", name);
	else
		snprintf(control->name, sizeof(control->name), "%d", (int)getpid());
	sweep();
	/* One that ends may take the folder of all away meanwhile. */
	for (int tries = 0; tries < TRIES; tries++) {
		ret = listen_at(control);
		if (ret != -ENOENT)
			break;
	}
	if (ret < 0)
		log_write(LOG_LEVEL_WARN, "--ctl will not find this process: %s/%s: %s",
			  CONTROL_FOLDER, control->name,
			  ret == -EADDRINUSE ? "another one has that name" : strerror(-ret));
}

static void drop(struct control_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->answer);
	*client = (struct control_client){.fd = -1};
}

void control_close(struct control *control)
{
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		drop(&control->clients[i]);
	if (control->fd < 0)
		return;
	close(control->fd);
	control->fd = -1;
	remove_at(control->name);
}

void control_leave(const struct control *control)
{
	if (control->fd >= 0)
		close(control->fd);
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (control->clients[i].fd >= 0)
			close(control->clients[i].fd);
}

/* Answers */

static bool may_ask(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

void control_put_text(FILE *out, const char *text)
{
	fputs("\"text\":", out);
	json_put_string(out, text);
}

/* The whole answer; rest is what follows "status". */
static void answer_with(struct control_client *client, int status, const char *rest)
{
	FILE *out;

	free(client->answer);
	client->answer = NULL;
	client->is_patient = false;
	client->since = clock_ms();
	client->sent = 0;
	out = open_memstream(&client->answer, &client->size);
	if (out)
		fprintf(out, "{\"status\":%d,%s}\n", status, rest);
	if (!out || fclose(out) != 0)
		drop(client);
}

static void answer_text(struct control_client *client, int status, const char *text)
{
	char *rest = NULL;
	size_t size;
	FILE *out = open_memstream(&rest, &size);

	if (out)
		control_put_text(out, text);
	if (out && fclose(out) == 0)
		answer_with(client, status, rest);
	else
		drop(client);
	free(rest);
}

static void answer_line(struct control *control, struct control_client *client)
{
	char *rest = NULL;
	size_t size;
	FILE *out = open_memstream(&rest, &size);
	int status = 0;

	if (!out) {
		drop(client);
		return;
	}
	client->is_patient = true;
	status = control->answer(control->data, client->line, out);
	if (fclose(out) != 0)
		drop(client);
	else if (status != CONTROL_LATER)
		answer_with(client, status, rest);
	/* Where there is no room for a byte, nobody reads. */
	else if (client->is_patient && send(client->fd, " ", 1, MSG_NOSIGNAL) != 1)
		drop(client);
	free(rest);
}

void control_tell(struct control *control, int status, const char *text)
{
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (control->clients[i].fd >= 0 && control->clients[i].is_patient)
			answer_text(&control->clients[i], status, text);
}

/* Clients */

static void take(struct control *control)
{
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct control_client *client = &control->clients[i];

		if (client->fd >= 0)
			continue;
		client->fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (client->fd < 0) {
			/* It stays there to be accepted. */
			if (errno != EAGAIN)
				control->pause_until = clock_ms() + PAUSE_MS;
			return;
		}
		client->since = clock_ms();
		if (!may_ask(client->fd))
			answer_text(client, EX_NOPERM,
				    "root alone may ask, and the user that the program runs as");
	}
}

/* A line; what follows it nobody reads. */
static void hear(struct control *control, struct control_client *client)
{
	size_t room = sizeof(client->line) - client->len;
	ssize_t len = recv(client->fd, client->line + client->len, room, 0);
	char *end;

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0) {
		drop(client);
		return;
	}
	end = memchr(client->line + client->len, '\n', (size_t)len);
	client->len += (size_t)len;
	client->since = clock_ms();
	if (end) {
		*end = '\0';
		answer_line(control, client);
	} else if (client->len == sizeof(client->line)) {
		answer_text(client, 1, "the line is too long");
	}
}

static void finish(struct control_client *client)
{
	free(client->answer);
	client->answer = NULL;
	client->is_done = true;
	shutdown(client->fd, SHUT_WR);
}

static void say(struct control_client *client)
{
	ssize_t len = send(client->fd, client->answer + client->sent, client->size - client->sent,
			   MSG_NOSIGNAL);

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len > 0)
		client->since = clock_ms();
	client->sent += len > 0 ? (size_t)len : 0;
	if (len < 0)
		drop(client);
	else if (client->sent == client->size)
		finish(client);
}

/* What it says still is read by nobody; closed with that unread, it would lose the answer. */
static void see_off(struct control_client *client)
{
	char bytes[CONTROL_LINE_MAX];
	ssize_t len = recv(client->fd, bytes, sizeof(bytes), 0);

	if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR))
		drop(client);
}

/* Who waits for an answer may go meanwhile; one that has no more to say may not. */
static bool has_gone(const struct control_client *client)
{
	struct pollfd gone = {.fd = client->fd};

	return poll(&gone, 1, 0) > 0;
}

static bool is_silent(const struct control_client *client)
{
	return !client->is_patient && clock_ms() - client->since >= SILENCE_MS;
}

void control_serve(struct control *control)
{
	if (control->fd < 0)
		return;
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct control_client *client = &control->clients[i];

		if (client->fd >= 0 && !client->answer && !client->is_patient && !client->is_done)
			hear(control, client);
		if (client->fd >= 0 && client->answer)
			say(client);
		if (client->fd >= 0 && client->is_done)
			see_off(client);
		if (client->fd >= 0 &&
		    (is_silent(client) || (client->is_patient && has_gone(client))))
			drop(client);
	}
	if (clock_ms() >= control->pause_until)
		take(control);
}

unsigned int control_poll(const struct control *control, struct pollfd *fds)
{
	unsigned int count = 0, used = 0;

	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		const struct control_client *client = &control->clients[i];

		if (client->fd < 0)
			continue;
		used++;
		/* One that waits is heard of when it goes: what it says meanwhile is not read. */
		fds[count++] = (struct pollfd){
			.fd = client->fd,
			.events = client->answer       ? POLLOUT
				  : client->is_patient ? 0
						       : POLLIN,
		};
	}
	if (control->fd >= 0 && used < CONTROL_CLIENTS_MAX && clock_ms() >= control->pause_until)
		fds[count++] = (struct pollfd){.fd = control->fd, .events = POLLIN};
	return count;
}

int64_t control_due(const struct control *control)
{
	int64_t at = control->pause_until > clock_ms() ? control->pause_until : INT64_MAX;

	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		const struct control_client *client = &control->clients[i];

		if (client->fd >= 0 && !client->is_patient && client->since + SILENCE_MS < at)
			at = client->since + SILENCE_MS;
	}
	return at;
}
