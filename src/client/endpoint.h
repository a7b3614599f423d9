/*
 * A kubeconfig's server as an HTTP client dials it: for programs that send requests of their own making over connections of
 * their own (load generators), where client.h is more than they want.
 */
#ifndef CLIENT_ENDPOINT_H
#define CLIENT_ENDPOINT_H

#include "client/kubeconfig.h"
#include "net/tls.h"

struct client_endpoint {
    struct str host;
    uint16_t port;
    struct str prefix;          /* path of the server's URL, without a slash at its end */
    struct str authorization;   /* header value, or absent */
    struct net_tls_client *tls; /* one for all connections; owned */
};

/* Takes the server's URL apart (https alone) and makes TLS material of CA, certificate and key. Strings borrow from 'config' or
 * live in 'a'. False with a reason; then nothing is owned. */
MUST_CHECK bool client_endpoint_init(struct client_endpoint *e, struct arena *a, const struct client_config *config, struct err *err);
/* Safe on a zeroed struct. */
void client_endpoint_deinit(struct client_endpoint *e);

#endif
