/*
 * Which node's pods have which addresses: watched at the API (spec.podCIDR of the Nodes), and kept as routes of the switch, through
 * which the nodes reach one another's pods.
 */
#ifndef CLUSTER_ROUTES_H
#define CLUSTER_ROUTES_H

#include "cluster/config.h"
#include "cluster/switch.h"
#include "net/loop.h"

struct routes;

/* Begins to watch; the API may come up later. NULL with a reason. */
MUST_CHECK struct routes *routes_new(struct loop *l, const struct cluster_config *c, struct net_switch *net, struct err *err);
/* NULL-safe. The routes stay. */
struct routes *routes_free(struct routes *r);

#endif
