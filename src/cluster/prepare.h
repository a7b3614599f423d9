/*
 * Writes what a cluster needs on disk before it starts: a copy of this executable under all its names, the images, the PKI, the
 * kubeconfigs of components, and each node's configuration. All of it is idempotent: what is there and good stays.
 */
#ifndef CLUSTER_PREPARE_H
#define CLUSTER_PREPARE_H

#include "client/kubeconfig.h"
#include "cluster/config.h"
#include "cluster/machine.h"

/* The executable under all its names, and the images, in the folder of a cluster or a host. */
MUST_CHECK bool prepare_programs(const char *state, struct err *err);
MUST_CHECK bool prepare_pki(const struct cluster_config *c, struct err *err);
MUST_CHECK bool prepare_nodes(const struct cluster_config *c, const struct machine *m, struct err *err);
/*
 * While the cluster runs: renews the certificates that are due and puts them where the programs read them, which see that by
 * themselves. '*ret_renewed' says whether there were any. The administrator's in the user's kubeconfig too.
 */
MUST_CHECK bool prepare_renew(const struct cluster_config *c, bool *ret_renewed, struct err *err);
/* How the administrator reaches the cluster from the host. */
MUST_CHECK bool prepare_admin_config(const struct cluster_config *c, struct arena *a, struct client_config *ret,
                                     struct err *err);

#endif
