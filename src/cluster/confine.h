/*
 * Confining a program that needs little, in two steps.
 *
 * From outside, by the supervisor, in the child just before it runs the program and after it gave up root: which files it may
 * see (Landlock) and which system calls it may make (seccomp). What is confined stays so, and for its children too. Whatever
 * cannot be set up ends the child (it fails closed); only a kernel without Landlock is gone on with, and that is logged.
 *
 * From inside, by the program itself however it was started: it never runs another program.
 */
#ifndef CLUSTER_CONFINE_H
#define CLUSTER_CONFINE_H

#include <stdint.h>

#include "base/err.h"

#define CONFINE_MAX_PATHS 32

struct confinement {
    const char *read[CONFINE_MAX_PATHS];  /* folders it may read, besides the system's programs and libraries; NULL ends */
    const char *write[CONFINE_MAX_PATHS]; /* folders it may write to */
};

/* Does this kernel have Landlock (5.13 and later, if built in and enabled)? */
bool confine_has_files(void);
/* Hides all other files from the calling process. True, too, on a kernel without Landlock: then users and modes alone protect. */
MUST_CHECK bool confine_files(const struct confinement *c, struct err *err);
/* Refuses (EPERM) system calls that only a machine's administrator needs, and kinds of sockets that are not of this world. */
MUST_CHECK bool confine_calls(struct err *err);
/* From here on this process and its children run no other program: somebody who takes it over finds no shell. Sets
 * no_new_privs. True and without effect in sanitizer builds, whose tools run helpers. */
MUST_CHECK bool confine_exec(struct err *err);
/* All of it by a program that was not confined from outside: gives up every capability that is not in the mask 'keep', hides files,
 * and refuses system calls; asking for the clock's state is left, since nobody who lost the capability can set it. Before the first
 * thread is made. */
MUST_CHECK bool confine_self(const struct confinement *c, uint64_t keep, struct err *err);
/* False in sanitizer builds, where confine_self() has no effect. */
bool confine_is_built_in(void);

#endif
