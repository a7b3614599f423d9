/*
 * The process that a cluster's life hangs on: it makes the switch and the nodes, starts the components, starts again what ends,
 * and answers on the control socket. When it ends, the kernel ends everything it made.
 */
#ifndef CLUSTER_SUPERVISOR_H
#define CLUSTER_SUPERVISOR_H

#include "cluster/config.h"
#include "cluster/machine.h"

struct supervisor_start {
    const struct cluster_config *config;
    const struct machine *machine;
    int lock;                                  /* the lock file, locked */
    int api_socket;                            /* listening on the host's loopback */
    int published[CLUSTER_MAX_PUBLISHED];      /* the same for each published port */
    int progress; /* a pipe: "+text\n" for each step that is done, "!reason\n" for the end; closed when all is started */
};

/* Runs until it is told to stop. Returns the exit status. */
int supervisor_run(const struct supervisor_start *start);

#endif
