/*
 * The cluster's own network: a namespace with a bridge, to which every node is joined by a link. It is the nodes' way out,
 * which leads nowhere unless slirp4netns stands behind it; service and pod addresses never leave it.
 */
#ifndef CLUSTER_SWITCH_H
#define CLUSTER_SWITCH_H

#include "cluster/config.h"
#include "net/rtnl.h"

#define SWITCH_NAMESERVER "10.0.2.3" /* slirp4netns' own forwarder */

struct net_switch {
    int netns;
    struct rtnl rtnl;
    pid_t slirp; /* 0: offline, or it ended */
};

MUST_CHECK bool switch_start(struct net_switch *s, struct err *err);
/* Starts slirp4netns, so that nodes reach the outside, but not the host's loopback. The caller reaps s->slirp. */
MUST_CHECK bool switch_go_online(struct net_switch *s, const char *log_path, struct err *err);
/* Joins a node's namespace: eth0 with its address there, and its routes. */
MUST_CHECK bool switch_join(struct net_switch *s, unsigned node, int node_netns, struct err *err);
/* A listening socket on all addresses of a node, or -1. */
MUST_CHECK int switch_listen(int node_netns, uint16_t port, struct err *err);
/* Takes the node's link away. */
MUST_CHECK bool switch_leave(struct net_switch *s, unsigned node, struct err *err);
/* The way to a node's pods, from the switch. */
MUST_CHECK bool switch_route_pods(struct net_switch *s, unsigned node, uint32_t pod_net, unsigned prefix, struct err *err);
/* NULL-safe and safe twice; ends slirp4netns. */
void switch_stop(struct net_switch *s);

#endif
