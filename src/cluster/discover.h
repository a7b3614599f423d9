/*
 * What a host learns of a cluster before it joins, and believes: the CA, by the token's signature and the pin
 * (client/cluster-info.h), and with it, over TLS that is verified, the settings that the server has for hosts.
 */
#ifndef CLUSTER_DISCOVER_H
#define CLUSTER_DISCOVER_H

#include "base/arena.h"
#include "cluster/host.h"
#include "cluster/session.h"

struct discovery {
    struct str ca_pem;
    struct str pod_cidr, domain;
    bool tunnels;
    uint16_t reverse_port;
    struct str ssh_user, ssh_public_key;
};

/* 'server' is "https://host:port" as the user gave it. Everything lives in 'a'. Without pins the token's signature
 * alone decides. */
MUST_CHECK bool discover(const char *server, struct str token, const struct str *pins, size_t n_pins, struct arena *a,
                         struct discovery *ret, struct err *err);
/* Leaves this host's SSH host keys with the server: once for each node. */
MUST_CHECK bool discover_pin_host_keys(const char *server, struct str ca_pem, struct str token, const char *node,
                                       const char *address, struct str keys, struct err *err);

#endif
