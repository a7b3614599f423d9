/*
 * No tunnel: a node whose label says that it is reached directly (--reach-label), in a cluster whose other nodes have
 * tunnels. TLS to its kubelet is verified by the API server as ever; what goes to its pods and services is as safe as
 * they make it, and /paths counts the two apart. A node without that label is never connected to so, whatever becomes
 * of its tunnel.
 */
#ifndef TUNNEL_DIRECT_LINK_H
#define TUNNEL_DIRECT_LINK_H

#include "net/loop.h"
#include "tunnel/link.h"

struct tunnel_link *direct_link_new(struct loop *l, struct str node);
/* Where its kubelet is. */
void direct_link_set_kubelet(struct tunnel_link *l, struct str host, uint16_t port);
/* What went elsewhere than to the kubelet: facts of their own. */
const struct tunnel_facts *direct_link_others(struct tunnel_link *l);

#endif
