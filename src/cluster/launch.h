/* Starting a cluster's supervisor in the background, and ending all that is left of a cluster. */
#ifndef CLUSTER_LAUNCH_H
#define CLUSTER_LAUNCH_H

#include "cluster/config.h"
#include "cluster/machine.h"
#include "cluster/progress.h"

/*
 * Binds the host's ports, starts the supervisor and prints its steps until all programs are started. A port 0 in the
 * configuration is replaced by one that is free. False with the reason; nothing is then left running.
 */
MUST_CHECK bool launch(struct cluster_config *c, const struct machine *m, bool choose_port, struct progress *p,
                       struct err *err);
/* Takes the cluster's lock; returns its descriptor, or -1 with the reason ("is running" is ERR_ALREADY_EXISTS). */
MUST_CHECK int launch_lock(const struct place *place, struct err *err);
/* Ends what processes and control groups a supervisor that was killed has left. */
MUST_CHECK bool launch_sweep(const struct cluster_config *c, struct err *err);

#endif
