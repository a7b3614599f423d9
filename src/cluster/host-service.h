/* coracle.service: the unit that runs this host's programs where systemd does. */
#ifndef CLUSTER_HOST_SERVICE_H
#define CLUSTER_HOST_SERVICE_H

#include "cluster/host.h"

#define HOST_UNIT "/etc/systemd/system/coracle.service"

/* Is systemd the first process here? */
bool host_service_possible(void);
/* The unit's text. Pure. */
void host_service_write(const struct host *h, struct buf *b);
/* Writes it, and has systemd start it now and at every boot. */
MUST_CHECK bool host_service_start(const struct host *h, struct err *err);
/* Ends it and takes it away. Absent is fine. */
MUST_CHECK bool host_service_remove(struct err *err);

/* Runs a program of the system and waits. False unless it ends with 0. */
MUST_CHECK bool host_run_command(char *const argv[], struct err *err);

#endif
