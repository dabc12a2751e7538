/* What the service manager is told: sd_notify(3)'s protocol. */
#ifndef HOST_NOTIFY_H
#define HOST_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Sends assignments as "READY=1\nSTATUS=...", where somebody listens ($NOTIFY_SOCKET). */
void notify_send(const char *text);

/* That the service is about to take its configuration anew, and since when: "READY=1" is due when
 * it has. */
void notify_reloading(void);

/* What the service is at, for a person: one line. */
void notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Has the manager close what it keeps under that name. */
void notify_forget(const char *name);

/* Has the manager keep a descriptor, under a name, for a later process of the same service. */
void notify_store(int fd, const char *name);

/* Whether it keeps them: $FDSTORE, which systemd 254 sets, or the unit for an older one. */
bool notify_can_store(void);

/* How often it wants to hear of us, in milliseconds; 0: never. ($WATCHDOG_USEC, $WATCHDOG_PID) */
int64_t notify_watchdog_ms(void);

#endif
