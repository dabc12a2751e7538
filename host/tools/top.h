/* ipq-lua --top: the statistics of one that runs, live. */
#ifndef HOST_TOP_H
#define HOST_TOP_H

/* Shows those of the process of that number, NULL for the one that there is. In a terminal until
 * "q" is typed or the process ends; elsewhere once. Gives the exit code. */
int top_run(const char *pid);

#endif
