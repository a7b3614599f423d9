#include "apiserver/server.h"

#include "apiserver/admission-config.h"

#include <stdio.h>

#include "apiserver/admission.h"
#include "apiserver/auth-setup.h"
#include "apiserver/discovery.h"
#include "apiserver/egress.h"
#include "apiserver/feeds.h"
#include "apiserver/kubelet.h"
#include "apiserver/kubernetes-service.h"
#include "apiserver/openapi.h"
#include "apiserver/paths.h"
#include "apiserver/request.h"
#include "apiserver/service-alloc.h"
#include "apiserver/startup.h"
#include "apiserver/store-setup.h"
#include "apiserver/tunnel-check.h"
#include "apiserver/world.h"
#include "base/fs.h"
#include "base/log.h"
#include "client/path-report.h"

void apiserver_config_defaults(struct apiserver_config *c)
{
    static struct str modes[] = { STR_INIT("AlwaysAllow") };
    static struct str issuers[] = { STR_INIT("https://kubernetes.default.svc.cluster.local") };
    *c = (struct apiserver_config){
        .store = STR("memory"), .storage_media_type = STR("application/vnd.kubernetes.protobuf"), .advertise_address = STR("127.0.0.1"), .secure_port = 6443,
        .service_cluster_ip_range = STR("10.0.0.0/24"), .service_node_port_range = STR("30000-32767"), .anonymous_auth = true,
        .extend_token_expiration = true, .service_account_lookup = true,
        .auth = { .webhook_ttl_ms = 120000, .authz_webhook_allowed_ttl_ms = 300000, .authz_webhook_denied_ttl_ms = 30000,
                  .oidc_username_claim = STR("sub") },
        .kubelet_preferred_address_types = STR("Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP"), .event_ttl_s = 3600,
        .kubelet_timeout_ms = 5000, .kubelet_port = 10250, .endpoint_reconciler_type = STR("lease"),
        .authorization_modes = { .items = modes, .n = 1 }, .service_account_issuers = { .items = issuers, .n = 1 },
    };
}

static bool open_egress(struct apiserver *s, struct err *err)
{
    struct egress_config egress = { .selector_file = s->cfg.egress_selector_config_file, .tunnel_socket = s->cfg.tunnel_socket,
                                    .denied_cidrs = s->cfg.proxy_denied_cidrs };
    struct str way;
    s->egress = egress_new(&egress, err);
    if (s->egress && egress_is_proxied(s->egress, EGRESS_CLUSTER, &way)) {
        log_info("apiserver: kubelets, nodes, pods and services are reached through %.*s alone", STR_ARG(way));
    }
    if (s->egress && !str_empty(s->cfg.tunnel_socket)) {
        s->tunnel = tunnel_check_new(s->loop, s->cfg.tunnel_socket, err);
        return s->tunnel != NULL;
    }
    return s->egress != NULL;
}

static void open_discovery(struct apiserver *s)
{
    const struct api_resource **served = calloc(s->n_endpoints, sizeof(const struct api_resource *));
    char address[300];
    if (!served) {
        abort();
    }
    for (size_t i = 0; i < s->n_endpoints; i++) {
        served[i] = s->endpoints[i].res;
    }
    (void)snprintf(address, sizeof(address), "%.*s:%lld", STR_ARG(s->cfg.advertise_address), (long long)s->cfg.secure_port);
    s->discovery = discovery_new(served, s->n_endpoints, str_c(address));
    free(served);
}

struct apiserver *apiserver_new(struct loop *l, const struct apiserver_config *cfg, struct err *err)
{
    struct apiserver *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->loop = l;
    s->cfg = *cfg;
    list_init(&s->requests);
    list_init(&s->feeds);
    world_init(s);
    front_init(s);
    struct http_server_config http = { .on_request = front_on_request, .arg = s };
    s->admission_enabled = calloc(admission_count() + 1, sizeof(bool));
    s->services = service_alloc_new(s, err);
    bool ok = s->services && s->admission_enabled &&
              admission_select(cfg->enable_admission_plugins, cfg->disable_admission_plugins, s->admission_enabled,
                               admission_count(), err) &&
              admission_config_open(s, err) &&
              kubernetes_service_check(cfg, err) && open_egress(s, err) && store_setup_open(s, err) && registry_open(s, err) &&
              auth_setup_open(s, err);
    if (ok) {
        open_discovery(s);
        s->http = http_server_new(l, &http, err);
    }
    if (!ok || !s->http) {
        return apiserver_free(s);
    }
    startup_begin(s);
    return s;
}

struct apiserver *apiserver_free(struct apiserver *s)
{
    if (!s) {
        return NULL;
    }
    s->stopping = true;
    startup_end(s);
    kubernetes_service_stop(s);
    s->http = http_server_free(s->http);
    LIST_FOREACH(&s->requests, struct request, link, r)
    {
        r->cancelled = true;
    }
    feeds_stop(s);
    if (s->services) {
        service_alloc_end(s->services);
    }
    world_free(s);
    registry_close(s);
    s->store = store_close(s->store);
    startup_free(s);
    kubernetes_service_free(s);
    LIST_FOREACH(&s->requests, struct request, link, r)
    {
        r->pending = 0;
        request_free(r);
    }
    front_deinit(s);
    s->services = service_alloc_free(s->services);
    auth_setup_close(s);
    s->discovery = discovery_free(s->discovery);
    s->openapi = openapi_free(s->openapi);
    s->paths = paths_collector_free(s->paths);
    s->path_labels = path_labels_free(s->path_labels);
    s->kubelets = kubelet_pool_free(s->kubelets);
    s->tunnel = tunnel_check_free(s->tunnel);
    s->egress = egress_free(s->egress);
    admission_config_close(s);
    free(s->admission_enabled);
    free(s);
    return NULL;
}

bool apiserver_listen(struct apiserver *s, int fd, struct net_tls_server *tls, struct err *err)
{
    if (!http_server_listen(s->http, fd, tls, NULL, err)) {
        return false;
    }
    http_server_describe(s->http, fd, tls ? PATH_PURPOSE_API : PATH_PURPOSE_INSECURE_API, tls ? "in each request" : "nobody",
                         tls ? paths_authz_words(s).ptr : "everything is allowed");
    return true;
}

const char apiserver_insecure_listener[] = "insecure";

bool apiserver_listen_insecure(struct apiserver *s, int fd, struct err *err)
{
    if (!http_server_listen(s->http, fd, NULL, apiserver_insecure_listener, err)) {
        return false;
    }
    http_server_describe(s->http, fd, PATH_PURPOSE_INSECURE_API, "nobody", "everything is allowed");
    return true;
}

void apiserver_serve_fd(struct apiserver *s, int fd)
{
    http_server_serve_fd(s->http, fd, NULL, NULL);
}

bool apiserver_is_ready(const struct apiserver *s)
{
    return s->started && !s->stopping;
}

bool apiserver_reload(struct apiserver *s, struct err *err)
{
    struct err later;
    bool ok = auth_setup_reload(s, err);
    ok = store_reload(s->store, ok ? err : &later) && ok;
    ok = kubelet_pool_reload(s, ok ? err : &later) && ok;
    return egress_reload(s->egress, ok ? err : &later) && ok;
}

void apiserver_drain(struct apiserver *s, uint32_t max_ms, loop_fn *done, void *arg)
{
    s->stopping = true;
    kubernetes_service_leave(s);
    http_server_drain(s->http, max_ms, done, arg);
}
