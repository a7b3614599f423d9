#include "store/failpoint.h"

#ifdef CORACLE_FAILPOINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void failpoint(const char *name)
{
    static atomic_long passed;
    const char *want = getenv("CORACLE_FAILPOINT"); /* nobody changes the environment of a server */
    const char *colon = want ? strchr(want, ':') : NULL;
    if (!colon || strlen(name) != (size_t)(colon - want) || strncmp(want, name, (size_t)(colon - want)) != 0) {
        return;
    }
    if (atomic_fetch_add(&passed, 1) + 1 == strtol(colon + 1, NULL, 10)) {
        kill(getpid(), SIGKILL);
        pause();
    }
}

long failpoint_number(const char *variable, long usual)
{
    const char *given = getenv(variable);
    return given ? strtol(given, NULL, 10) : usual;
}
#endif
