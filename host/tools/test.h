/* Specs of filters, run by busted. */
#ifndef HOST_TEST_H
#define HOST_TEST_H

#include "host/base/options.h"

/* Runs busted over options->argv[0], a folder of specs or one of them; what follows it are busted's
 * options. The specs have the program's own modules, and filters the time limit. Gives the exit
 * code: 0 where all passed, 1 where one did not. */
int test_run(const struct options *options);

#endif
