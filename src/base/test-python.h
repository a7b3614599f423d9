/* For tests whose other end is a script of tests/lib: runs it with python3, and skips the test where either is missing. */
#ifndef BASE_TEST_PYTHON_H
#define BASE_TEST_PYTHON_H

#include <sys/types.h>

/* Runs a script ("tests/lib/x.py", from the repository's folder) until it says "ready X"; X (a port, a path) is written to 'word'.
 * The arguments end with NULL. The script dies with the test program; what it writes to standard error is dropped. */
pid_t test_python_start(const char *script, char word[64], ...);
/* Ends and reaps it; 0 is none. */
void test_python_stop(pid_t *pid);

#endif
