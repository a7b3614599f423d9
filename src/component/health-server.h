/*
 * The port for health and metrics that every component has. Health is open to everybody, as in the
 * originals (authorization-always-allow-paths); /metrics needs a client certificate of the client
 * CA whose group is system:masters or whose user the apiserver allows to get the path.
 */
#ifndef COMPONENT_HEALTH_SERVER_H
#define COMPONENT_HEALTH_SERVER_H

#include "base/err.h"
#include "net/loop.h"

struct health_server;

struct health_check {
    const char *name;
    bool (*check)(void *data, struct err *err);
    void *data;
};

struct health_server_config {
    struct str bind_address;
    uint16_t port;
    bool plain; /* HTTP, for ports that are loopback or health only */
    struct str tls_cert_file,
        tls_private_key_file;  /* empty: a self-signed certificate made for this process */
    struct str client_ca_file; /* empty: nobody is authenticated */
    const char *hostname;
    const char *process; /* "kube-scheduler": its name in /paths; NULL: /paths is not served */
};

MUST_CHECK struct health_server *
health_server_new(struct loop *l, const struct health_server_config *config, struct err *err);
/* NULL-safe. */
struct health_server *health_server_free(struct health_server *s);
/* At most HEALTH_CHECKS_MAX, kept as given. */
#define HEALTH_CHECKS_MAX 8
void health_server_add(struct health_server *s, const struct health_check *check);

#endif
