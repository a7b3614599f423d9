/*
 * What a server keeps in its own API so that hosts can join: the cluster-info ConfigMap (which the bootstrap signer
 * signs), the rights of tokens and of nodes, and what a host must know (HOST_SETTINGS_NAME). And the way back: host
 * keys that hosts reached by SSH have left at their join become the tunnel's known_hosts, the first one for an address
 * being the one that counts.
 */
#ifndef CLUSTER_HOST_OBJECTS_H
#define CLUSTER_HOST_OBJECTS_H

#include "cluster/host.h"
#include "net/loop.h"

struct host_objects;

/* Begins; the API may come up later. NULL with a reason. */
MUST_CHECK struct host_objects *host_objects_new(struct loop *l, const struct host *h, struct err *err);
struct host_objects *host_objects_free(struct host_objects *o);
/* Are all of them there? */
bool host_objects_done(const struct host_objects *o);

/* One pin as a ConfigMap holds it: appends known_hosts lines for 'node' and 'address', or refuses what is not plain.
 * Pure. */
MUST_CHECK bool host_pin_lines(struct str node, struct str address, uint16_t port, struct str keys, struct buf *b);

#endif
