#include "screen.h"
#include "host/base/output.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

/* The other screen, no cursor, lines that are cut and not wrapped; and back. */
static const char enter[] = "\033[?1049h\033[?25l\033[?7l";
static const char leave[] = "\033[?7h\033[?25h\033[?1049l";

enum { ROWS_UNKNOWN = 24, CTRL_C = 3 };

static int signals_take_over(void)
{
	static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		sigaddset(&set, taken[i]);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : fd;
}

int screen_open(struct screen *screen)
{
	struct termios raw;

	*screen = (struct screen){.signals = signals_take_over()};
	if (screen->signals < 0)
		return screen->signals;
	screen->has_keys = tcgetattr(STDIN_FILENO, &screen->before) == 0;
	if (screen->has_keys) {
		raw = screen->before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	(void)output_write(STDOUT_FILENO, enter, sizeof(enter) - 1);
	return 0;
}

void screen_close(struct screen *screen)
{
	(void)output_write(STDOUT_FILENO, leave, sizeof(leave) - 1);
	/* Keys that were typed for it are not the shell's. */
	if (screen->has_keys)
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &screen->before);
	close(screen->signals);
}

static unsigned int rows(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row ? size.ws_row
									   : ROWS_UNKNOWN;
}

void screen_show(const char *text, size_t len)
{
	const char *end = text + len;
	unsigned int room = rows();
	char *frame = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&frame, &size);

	if (!out)
		return;
	fputs("\033[H", out);
	for (unsigned int row = 0; row < room && text < end; row++) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));

		stop = stop ? stop : end;
		/* Behind the last line there is no newline, which would scroll. */
		fprintf(out, "%s%.*s\033[K", row ? "\r\n" : "", (int)(stop - text), text);
		text = stop + 1;
	}
	fputs("\033[J", out);
	if (fclose(out) == 0)
		(void)output_write(STDOUT_FILENO, frame, size);
	free(frame);
}

static enum screen_event take_signals(struct screen *screen)
{
	enum screen_event event = SCREEN_NOTHING;
	struct signalfd_siginfo info;

	while (read(screen->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGWINCH && event == SCREEN_NOTHING)
			event = SCREEN_RESIZED;
		else if (info.ssi_signo != SIGWINCH && info.ssi_signo != SIGTSTP)
			event = SCREEN_LEAVE;
	}
	return event;
}

static enum screen_event take_keys(void)
{
	char keys[64];
	ssize_t len = read(STDIN_FILENO, keys, sizeof(keys));

	if (len <= 0)
		return SCREEN_LEAVE;
	for (ssize_t i = 0; i < len; i++)
		if (keys[i] == 'q' || keys[i] == 'Q' || keys[i] == CTRL_C)
			return SCREEN_LEAVE;
	return SCREEN_NOTHING;
}

enum screen_event screen_wait(struct screen *screen, int timeout_ms)
{
	struct pollfd fds[] = {
		{.fd = screen->signals, .events = POLLIN},
		{.fd = screen->has_keys ? STDIN_FILENO : -1, .events = POLLIN},
	};
	enum screen_event event = SCREEN_NOTHING;

	if (poll(fds, 2, timeout_ms) <= 0)
		return SCREEN_NOTHING;
	if (fds[0].revents)
		event = take_signals(screen);
	if (event == SCREEN_NOTHING && fds[1].revents)
		event = take_keys();
	return event;
}
