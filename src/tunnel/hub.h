/*
 * Where agents' connections arrive: TLS, and the node's own client certificate (CN system:node:<name>, O system:nodes, verified
 * against the cluster's CA) says whose tunnel it is. The last connection of a node is the one; an older one is closed.
 */
#ifndef TUNNEL_HUB_H
#define TUNNEL_HUB_H

#include "net/loop.h"
#include "tunnel/link.h"

struct hub;

struct hub_config {
    struct str address; /* "0.0.0.0:8132" */
    struct str tls_cert_file, tls_private_key_file, client_ca_file; /* read again every minute */
};

/* The reverse link of a node, or NULL when there is no such Node. */
typedef struct tunnel_link *hub_find_fn(void *arg, struct str node);

/* NULL with a reason. Copies. */
MUST_CHECK struct hub *hub_new(struct loop *l, const struct hub_config *config, hub_find_fn *find, void *arg, struct err *err);
/* Before the links. NULL-safe; returns NULL. */
struct hub *hub_free(struct hub *h);

/* A link that waits for its node to call. Never NULL. */
struct tunnel_link *reverse_link_new(struct loop *l, struct str node);
/* What is asked for to see whether the kubelet answers. */
void reverse_link_set_kubelet(struct tunnel_link *l, struct str host, uint16_t port);

#endif
