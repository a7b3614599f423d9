/*
 * What kube-proxy serves: /healthz and /livez (--healthz-bind-address), /metrics and /proxyMode
 * (--metrics-bind-address), and for load balancers a port for each Service with healthCheckNodePort
 * ("Traffic Policy", KEP-3836: the answer of /healthz says whether the node is to get new load
 * balanced connections, /livez only whether we work).
 */
#ifndef PROXY_HTTP_H
#define PROXY_HTTP_H

#include "net/loop.h"
#include "proxy/engine.h"

struct proxy_http;

struct proxy_http_config {
    struct str healthz_address, metrics_address; /* "0.0.0.0:10256"; empty: not served */
    struct str check_address; /* of health check node ports; empty: 0.0.0.0 */
    bool soft_bind;           /* a port that is taken is logged, and done without */
    const char *mode; /* as /proxyMode says it */
    /* Is what we wrote up to date? */
    bool (*is_healthy)(void *data);
    /* Is the node to get new connections (it is not being deleted)? */
    bool (*is_eligible)(void *data);
    void *data;
};

MUST_CHECK struct proxy_http *proxy_http_new(struct loop *l, const struct proxy_http_config *config,
                                             struct err *err);
/* NULL-safe. */
struct proxy_http *proxy_http_free(struct proxy_http *h);
/* Opens and closes health check node ports as the engine says. A port that cannot be opened is
 * logged and tried again next time. */
void proxy_http_set_checks(struct proxy_http *h, const struct engine *e);

#endif
