/*
 * The agent of bare-metal, on every node (--node-agent): for each load balancer's address one of the nodes that may carry it holds a
 * Lease, answers for it on its link, and tells everybody when it begins to. Traffic that comes is kube-proxy's.
 *
 * A node may carry an address while its Node is ready and not excluded, it has a link for it, and, with externalTrafficPolicy Local, an
 * endpoint that is ready.
 */
#ifndef CLOUD_AGENT_H
#define CLOUD_AGENT_H

#include "base/err.h"
#include "base/str.h"

struct component;

/* As struct cloud_provider has them. */
void *agent_start(void *provider, struct component *c, struct str node, struct err *err);
void agent_synced(void *agent);
void agent_stop(void *agent);

#endif
