/*
 * Where a cluster keeps what: paths are made of its name, which is bounded, so that they always fit.
 *
 *   /var/lib/coracle/NAME/           state: kept over restarts, removed by 'coracle down'
 *     pki/  store/  bin/  images/  logs/
 *     kube/{apiserver,controller-manager,scheduler}/   what each of them may read, owned by its user
 *     nodes/NODE/{var,tmp,etc}       the node's own files; var/ is its /var
 *     nodes/NODE/conf/               what coracle writes for it: containerd's and the kubelet's configuration
 *   /run/coracle/NAME/               control.sock, and a lock that the running supervisor holds
 */
#ifndef CLUSTER_PLACE_H
#define CLUSTER_PLACE_H

#include <limits.h>

#include "base/err.h"

#define PLACE_NAME_MAX 40
#define PLACE_DEFAULT_NAME "coracle"
/* Not a cluster's: what 'coracle server' and 'coracle join' keep on this host. */
#define PLACE_HOST_NAME "host"
#define PLACE_STATE_ROOT "/var/lib/coracle"
#define PLACE_RUN_ROOT "/run/coracle"

struct place {
    char name[PLACE_NAME_MAX + 1];
    char state[80];
    char run[80];
};

/* A name is a DNS label of at most PLACE_NAME_MAX characters, and not PLACE_HOST_NAME. */
MUST_CHECK bool place_init(struct place *p, struct str name, struct err *err);
/* The same, or this host's place for PLACE_HOST_NAME, and for no name while nothing but that is here. */
MUST_CHECK bool place_find(struct place *p, struct str name, bool given, struct err *err);
/* The place of PLACE_HOST_NAME. */
void place_of_host(struct place *p);
/* Is the cluster's supervisor running? It holds the lock. */
bool place_in_use(const struct place *p);

/* Formats a path that is known to fit; aborts when it does not. Returns 'dst'. */
PRINTF_LIKE(2, 3) char *path_of(char dst[PATH_MAX], const char *fmt, ...);

#endif
