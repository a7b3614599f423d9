/*
 * The ports for health and metrics that every component has. /healthz, /livez and /readyz are open to everybody, as in the
 * originals (--authorization-always-allow-paths); /metrics and /configz are for whom the delegated authorisation allows to get that
 * path. A plain port (HTTP) authenticates nobody: it serves health alone, or with 'open' all of it to everybody.
 */
#ifndef COMPONENT_HEALTH_SERVER_H
#define COMPONENT_HEALTH_SERVER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/flags.h"
#include "net/loop.h"

struct health_server;
struct delegated;

struct health_check {
    const char *name;
    bool (*check)(void *data, struct err *err);
    void *data;
};

struct health_server_config {
    struct str bind_address;
    uint16_t port;
    bool plain; /* HTTP */
    bool open;  /* with 'plain': also metrics and configuration, to everybody */
    struct str tls_cert_file,
        tls_private_key_file;  /* empty: a self-signed certificate made for this process */
    struct str client_ca_file; /* empty: no certificate is asked for */
    const char *hostname;
    const char *process; /* "kube-scheduler": its name in /paths; NULL: /paths is not served. On a plain port to this host alone */
    const struct delegated *auth;             /* outlives the server; NULL: nobody may read what is not open */
    const struct flag_strings *always_allow;  /* paths that need no authorisation, "/a/" + "*" for all below; NULL: health alone */
    const struct flag_result *flags;          /* shown at /configz; NULL: not there */
};

MUST_CHECK struct health_server *
health_server_new(struct loop *l, const struct health_server_config *config, struct err *err);
/* NULL-safe. */
struct health_server *health_server_free(struct health_server *s);
/* At most HEALTH_CHECKS_MAX, kept as given. */
#define HEALTH_CHECKS_MAX 8
void health_server_add(struct health_server *s, const struct health_check *check);

#endif
