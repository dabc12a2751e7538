/* What a client of the control socket says, in pieces of any size. */
#include "fuzz.h"

#include "host/supervise/control.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

static int answer(void *data, const char *line, FILE *out)
{
	unsigned int *answers = data;

	CHECK(strlen(line) < CONTROL_LINE_MAX && !strchr(line, '\n'));
	(*answers)++;
	fputs("\"text\":", out);
	json_put_string(out, line);
	return line[0] == 'l' ? CONTROL_LATER : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = {bytes, len};
	unsigned int answers = 0;
	struct control control = {.answer = answer, .data = &answers};
	char text[4096];
	int ends[2];

	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		control.clients[i].fd = -1;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
	/* Nobody else comes: it is none that listens. */
	control.fd = open("/dev/null", O_RDONLY);
	control.clients[0] = (struct control_client){.fd = ends[0], .since = clock_ms()};
	while (in.len && control.clients[0].fd >= 0) {
		size_t n = take8(&in);
		const uint8_t *piece = take(&in, &n);
		struct pollfd fds[CONTROL_CLIENTS_MAX + 1];

		(void)!write(ends[1], piece, n);
		CHECK(control_poll(&control, fds) <= CONTROL_CLIENTS_MAX + 1);
		control_serve(&control);
		if (n % 7 == 6)
			control_tell(&control, 1, "told");
		(void)!read(ends[1], text, sizeof(text));
	}
	CHECK(answers <= 1);
	close(ends[1]);
	control_serve(&control);
	control_leave(&control);
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		free(control.clients[i].answer);
	return 0;
}
