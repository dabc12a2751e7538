/* A terminal's whole screen, by its escape sequences (ECMA-48, and xterm's for the other screen).
 */
#ifndef HOST_SCREEN_H
#define HOST_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

struct screen {
	struct termios before;
	bool has_keys; /* standard input is a terminal */
	int signals;   /* signalfd(2) */
};

enum screen_event {
	SCREEN_NOTHING, /* the time is over */
	SCREEN_LEAVE,	/* "q", Ctrl-C, or a signal that ends */
	SCREEN_RESIZED
};

/* Takes the screen of standard output, which is a terminal, and keeps what was on it. Signals that
 * would end the process come as events from here on. 0 or a negative errno. */
int screen_open(struct screen *screen);

/* Gives the terminal back as it was. */
void screen_close(struct screen *screen);

/* Shows lines of text from the top on, as many and as much of each as there is room for. */
void screen_show(const char *text, size_t len);

/* Waits for an event for so long at most. */
enum screen_event screen_wait(struct screen *screen, int timeout_ms);

#endif
