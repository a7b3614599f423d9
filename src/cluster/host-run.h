/* The programs of a host that stays, watched over in the foreground: what coracle.service runs, and --foreground. */
#ifndef CLUSTER_HOST_RUN_H
#define CLUSTER_HOST_RUN_H

#include "cluster/host.h"

/*
 * Runs until SIGTERM, SIGINT or "stop" on the control socket; containers live on. Returns the exit status. 'ready' (may
 * be NULL) is called once: of a server, when hosts can join; of a node, when it has credentials of its own.
 */
int host_run(const struct host *h, const struct machine *m, void (*ready)(const struct host *h));

#endif
