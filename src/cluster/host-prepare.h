/*
 * What a host that stays needs on disk: programs, images, and of a server the PKI and each program's credentials, of a
 * node containerd's configuration. Idempotent, and also what renews certificates while it runs.
 */
#ifndef CLUSTER_HOST_PREPARE_H
#define CLUSTER_HOST_PREPARE_H

#include "client/kubeconfig.h"
#include "cluster/host.h"

/* Everything that does not need another host. */
MUST_CHECK bool host_prepare(const struct host *h, const struct machine *m, struct err *err);
/* Of a server: certificates that are due are made anew and handed to the programs. '*ret_renewed': there were any. */
MUST_CHECK bool host_renew(const struct host *h, bool *ret_renewed, struct err *err);
/* Folders in /run, which a restart of the machine empties: before programs are started. */
MUST_CHECK bool host_prepare_run(const struct host *h, struct err *err);
/* How the server's administrator reaches the API. */
MUST_CHECK bool host_admin_config(const struct host *h, struct arena *a, struct client_config *ret, struct err *err);

#endif
