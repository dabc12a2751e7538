/*
 * The room at the bottom of the program: what every other room may use, and what knows of none.
 *
 * Called by   all rooms of host.
 *
 * How         options.h is what the command line asked for, read by host/options.c. log.h is for
 *             messages to people, output.h for both streams, text.h and json.h for strings of
 *             strangers in them, finding.h for the lines of --doctor. signals.h is how processes
 *             take signals, clock.h the time.
 *
 * States      of a process, as its streams and its signals are: how the log is written and for
 *             which queue (log_set_up(), log_set_queue()), whether the streams are written to, or
 *             go into the pipe of a process that writes (output_divert()), whether standard output
 *             has failed (output_end() tells at the end), what signals have asked for since
 *             signals_take(). Children inherit them.
 *
 * Always      A message of the log is written by one call, so that the lines of several processes
 *             stay whole; its further lines begin with a tab. Control characters that came from
 *             a packet or a script reach no terminal.
 */
#ifndef HOST_BASE_H
#define HOST_BASE_H

#include "clock.h"
#include "control.h"
#include "exit.h"
#include "finding.h"
#include "json.h"
#include "log.h"
#include "options.h"
#include "output.h"
#include "signals.h"
#include "text.h"

#endif
