/* Statistics as Prometheus reads them (exposition_formats.md, version 0.0.4): a file for
 * node_exporter's textfile collector. */
#ifndef HOST_METRICS_H
#define HOST_METRICS_H

#include "stats.h"

/* Writes the statistics of count queues in the place of the file at path: who reads it finds the
 * old ones or the new. 0 or a negative errno, -EEXIST where there is something that is no plain
 * file, and no link to one's either; what is there is as it was then. */
int metrics_write(const char *path, const struct stats *stats, unsigned int count);

#endif
