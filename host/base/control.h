/* Where a running program is spoken to: a socket in a folder that is named after it. */
#ifndef HOST_BASE_CONTROL_H
#define HOST_BASE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The folder of all of them, and the name of the socket in each. */
#define CONTROL_FOLDER "/run/ipq-lua"
#define CONTROL_SOCKET "control"

enum { CONTROL_NAME_MAX = 64, CONTROL_LINE_MAX = 1024 };

/* Whether it may be a program's name: letters, digits, "_", "-", ".", "@" and, as systemd escapes
 * others, a backslash; no "." at its beginning, and no more than CONTROL_NAME_MAX. */
bool control_is_name(const char *name);

/* The socket's address, for a name that is one. */
void control_address(const char *name, struct sockaddr_un *address);

#endif
