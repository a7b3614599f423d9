/*
 * On a host that stays: routes to the pods of the other nodes, through those nodes' addresses, from the Nodes at the
 * API; and the rules by which pods leave for other networks with the host's address. Nodes must see one another
 * directly (one network, no router between); one that is reached by its own tunnel alone gets no route.
 */
#ifndef CLUSTER_HOST_ROUTES_H
#define CLUSTER_HOST_ROUTES_H

#include "cluster/host.h"
#include "net/loop.h"

struct host_routes;

/* Begins when there are credentials: the administrator's of a server, otherwise the node's, once it has them. */
struct host_routes *host_routes_new(struct loop *l, const struct host *h);
/* NULL-safe. The routes stay: pods do. */
struct host_routes *host_routes_free(struct host_routes *r);

/* Takes out every route that was made here, and the rules. */
MUST_CHECK bool host_routes_remove(const struct host *h, struct err *err);

#endif
