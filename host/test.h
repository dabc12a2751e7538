/* Specs of filters, run by busted. */
#ifndef HOST_TEST_H
#define HOST_TEST_H

/* Runs busted over argv[0], a folder of specs or one of them; what follows it are busted's options.
 * The specs have the program's own modules. Gives the exit code: 0 where all passed, 1 where one
 * did not. */
int test_run(int argc, char **argv);

#endif
