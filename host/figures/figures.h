/*
 * The room of figures: what is counted of queues, packets and workers, and how it is shown.
 *
 * Called by   host/supervise, which counts, publishes and tells; host/tools, which shows it to
 *             people; host/main.c, for a user that is not there.
 *
 * How         overflow.h is what was lost before a worker could see it, and stats.h all that is
 *             counted of a queue at one moment. It goes four ways: as a line of the log (stats.h),
 *             as memory that other processes read (stats_page.h), as a table in a terminal
 *             (stats_table.h, on screen.h), and as a file for Prometheus (metrics.h). report.h has
 *             the sentences at a queue's beginning and end, and sent.h the words for what
 *             filters send.
 *
 * States      none: these are values, and what is written of them. Who keeps them, and when they
 *             are told, is the business of host/supervise/statistics.c.
 *
 * Always      Each counter has one writer: the worker, and after its death the supervisor. The
 *             program's only grow; a script may set its own. A worker may have written anything
 *             into its batch: addresses and sizes are those of its making. What another process
 *             wrote into its page is checked, and its text is made harmless for a terminal.
 */
#ifndef HOST_FIGURES_H
#define HOST_FIGURES_H

#include "metrics.h"
#include "overflow.h"
#include "report.h"
#include "screen.h"
#include "sent.h"
#include "stats.h"
#include "stats_page.h"
#include "stats_table.h"

#endif
