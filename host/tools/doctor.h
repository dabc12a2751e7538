/* --doctor: what is missing. */
#ifndef HOST_DOCTOR_H
#define HOST_DOCTOR_H

#include "host/base/options.h"

/* Looks at the kernel, at what this process may do, at the queues and at the rules, and changes
 * nothing; with a script, loads it too. Writes a line for each to standard output, with what mends
 * it. EX_OK where nothing is in the way, else EX_UNAVAILABLE. */
int doctor_run(const struct options *options);

#endif
