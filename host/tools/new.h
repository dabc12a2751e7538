/* A filter to start from. */
#ifndef HOST_NEW_H
#define HOST_NEW_H

/* Writes NAME.lua and spec/NAME_spec.lua into the current folder; what is there already stays. name
 * is letters, digits, "_" and "-". Gives the exit code. */
int new_write(const char *name);

#endif
