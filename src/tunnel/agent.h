/*
 * The node's side of reverse tunnels: dials the hub, shows the node's client certificate, verifies the hub's, and then opens
 * connections that the hub asks for, as far as allow.h admits them. Dials again, for ever, with back-off and jitter.
 */
#ifndef TUNNEL_AGENT_H
#define TUNNEL_AGENT_H

#include "net/loop.h"
#include "net/tls.h"
#include "tunnel/allow.h"

struct agent;

struct agent_config {
    struct str server;          /* "host:port" of the hub. Copied */
    struct net_tls_client *tls; /* CA and the node's identity; ALPN h2. A reference is taken */
    const struct tunnel_allow *allow; /* stays valid; may change */
};

MUST_CHECK struct agent *agent_new(struct loop *l, const struct agent_config *config, struct err *err);
/* NULL-safe; returns NULL. */
struct agent *agent_free(struct agent *a);
bool agent_is_connected(const struct agent *a);
unsigned agent_streams(const struct agent *a);

#endif
