/* The script taken anew while packets come. */
#ifndef HOST_RELOAD_H
#define HOST_RELOAD_H

#include "session.h"

/* Loads the script beside the one that runs, carries over what the old one's stop() returns, and
 * puts it in its place between two batches. Where it cannot be loaded, or its start() raises, the
 * old one goes on, and the log says why: in the latter case its own start() is called again, with
 * what its stop() returned. Gives whether the new one is in place. */
bool reload(struct session *session);

#endif
