/*
 * Confining a program that needs little: which files it may see (Landlock) and which system calls it may make (seccomp). Called
 * in a child just before it runs the program, after it gave up root; what is confined stays so, and for its children too.
 */
#ifndef CLUSTER_CONFINE_H
#define CLUSTER_CONFINE_H

#include "base/err.h"

#define CONFINE_MAX_PATHS 4

struct confinement {
    const char *read[CONFINE_MAX_PATHS];  /* folders it may read, besides the system's programs and libraries; NULL ends */
    const char *write[CONFINE_MAX_PATHS]; /* folders it may write to */
};

/* Hides all other files from the calling process. True, too, on a kernel without Landlock: then users and modes alone protect. */
MUST_CHECK bool confine_files(const struct confinement *c, struct err *err);
/* Refuses (EPERM) system calls that only a machine's administrator needs. */
MUST_CHECK bool confine_calls(struct err *err);

#endif
