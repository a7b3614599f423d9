#include "apiserver/server.h"

#include <stdio.h>

#include "apiserver/admission.h"
#include "apiserver/discovery.h"
#include "apiserver/feeds.h"
#include "apiserver/kubelet.h"
#include "apiserver/openapi.h"
#include "apiserver/request.h"
#include "apiserver/service-alloc.h"
#include "apiserver/startup.h"
#include "apiserver/world.h"
#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/node-graph.h"
#include "auth/rbac.h"
#include "base/fs.h"
#include "base/log.h"
#include "pki/jwt.h"

void apiserver_config_defaults(struct apiserver_config *c)
{
    static struct str modes[] = { STR_INIT("AlwaysAllow") };
    static struct str issuers[] = { STR_INIT("https://kubernetes.default.svc.cluster.local") };
    *c = (struct apiserver_config){
        .store = STR("memory"), .advertise_address = STR("127.0.0.1"), .secure_port = 6443,
        .service_cluster_ip_range = STR("10.0.0.0/24"), .service_node_port_range = STR("30000-32767"), .anonymous_auth = true,
        .extend_token_expiration = true,
        .kubelet_preferred_address_types = STR("Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP"), .event_ttl_s = 3600,
        .authorization_modes = { .items = modes, .n = 1 }, .service_account_issuers = { .items = issuers, .n = 1 },
    };
}

static const char *cstr(struct str s, char *dst, size_t size)
{
    return s.len > 0 && str_to_cstr(s, dst, size) ? dst : NULL;
}

static bool open_store(struct apiserver *s, struct err *err)
{
    char path[4096], volatile_dir[4096], dir[4000];
    struct store_config cfg = { .loop = s->loop, .no_sync = s->cfg.no_sync };
    if (str_eq_c(s->cfg.store, "memory")) {
        s->store = store_open_memory(&cfg, err);
        return s->store != NULL;
    }
    if (!str_eq_c(s->cfg.store, "sqlite")) {
        return err_set(err, ERR_INVALID, "--store: \"%.*s\" is neither sqlite nor memory", STR_ARG(s->cfg.store));
    }
    if (!cstr(s->cfg.data_dir, dir, sizeof(dir))) {
        return err_set(err, ERR_INVALID, "--data-dir is needed with --store=sqlite");
    }
    if (!fs_mkdirs(dir, 0700, err)) {
        return false;
    }
    (void)snprintf(path, sizeof(path), "%s/coracle.db", dir);
    cfg.path = path;
    cfg.volatile_dir = cstr(s->cfg.volatile_dir, volatile_dir, sizeof(volatile_dir));
    if (cfg.volatile_dir && !fs_mkdirs(cfg.volatile_dir, 0700, err)) {
        return false;
    }
    s->store = store_open_sqlite(&cfg, err);
    return s->store != NULL;
}

static bool load_keys(struct apiserver *s, struct err *err)
{
    char path[4096];
    s->sa_keys = calloc(1, sizeof(*s->sa_keys));
    if (!s->sa_keys) {
        abort();
    }
    jwt_keyset_init(s->sa_keys);
    if (cstr(s->cfg.service_account_signing_key_file, path, sizeof(path))) {
        s->sa_key = pki_key_load_private(path, err);
        if (!s->sa_key) {
            return err_wrap(err, "--service-account-signing-key-file");
        }
    }
    for (size_t i = 0; i < s->cfg.service_account_key_files.n; i++) {
        CLEANUP(buf_deinit) struct buf pem;
        buf_init(&pem, 1u << 20);
        if (!cstr(s->cfg.service_account_key_files.items[i], path, sizeof(path)) || !fs_read(path, 1u << 20, &pem, err) ||
            !jwt_keyset_add_pem(s->sa_keys, buf_str(&pem), err)) {
            return err_wrap(err, "--service-account-key-file");
        }
    }
    if (s->sa_key && !jwt_keyset_add(s->sa_keys, s->sa_key, STR_NULL)) {
        return err_set(err, ERR_INVALID, "too many service-account keys");
    }
    return true;
}

static bool open_auth(struct apiserver *s, struct err *err)
{
    char client_ca[4096], tokens[4096];
    const char *key_files[16];
    static char key_paths[16][4096];
    struct sa_lookup lookup = { .ctx = s, .get = world_sa_get };
    s->sa_lookup = lookup;
    size_t n = 0;
    for (size_t i = 0; i < s->cfg.service_account_key_files.n && n < ARRAY_SIZE(key_files); i++) {
        key_files[n] = cstr(s->cfg.service_account_key_files.items[i], key_paths[n], sizeof(key_paths[n]));
        n += key_files[n] != NULL;
    }
    struct authn_config authn = {
        .client_ca_file = cstr(s->cfg.client_ca_file, client_ca, sizeof(client_ca)),
        .token_auth_file = cstr(s->cfg.token_auth_file, tokens, sizeof(tokens)),
        .service_account_key_files = key_files, .n_service_account_key_files = n,
        .service_account_issuers = s->cfg.service_account_issuers.items, .n_service_account_issuers = s->cfg.service_account_issuers.n,
        .api_audiences = s->cfg.api_audiences.items, .n_api_audiences = s->cfg.api_audiences.n,
        .sa_lookup = &s->sa_lookup, .anonymous = s->cfg.anonymous_auth,
    };
    s->authn = authn_chain_new(&authn, err);
    s->rbac = rbac_new();
    s->node_graph = node_graph_new();
    struct authz_config authz = { .modes = s->cfg.authorization_modes.items, .n_modes = s->cfg.authorization_modes.n,
                                  .rbac = s->rbac, .node_graph = s->node_graph };
    s->authz = s->authn ? authz_chain_new(&authz, err) : NULL;
    return s->authz != NULL;
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
    struct http_server_config http = { .on_request = front_on_request, .arg = s };
    s->admission_enabled = calloc(admission_count() + 1, sizeof(bool));
    s->services = service_alloc_new(s, err);
    bool ok = s->services && s->admission_enabled &&
              admission_select(cfg->enable_admission_plugins, cfg->disable_admission_plugins, s->admission_enabled,
                               admission_count(), err) &&
              open_store(s, err) && registry_open(s, err) && load_keys(s, err) && open_auth(s, err);
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
    s->http = http_server_free(s->http);
    LIST_FOREACH(&s->requests, struct request, link, r)
    {
        r->cancelled = true;
    }
    feeds_stop(s);
    service_alloc_stop(s->services);
    registry_close(s);
    s->store = store_close(s->store);
    startup_free(s);
    LIST_FOREACH(&s->requests, struct request, link, r)
    {
        r->pending = 0;
        request_free(r);
    }
    s->services = service_alloc_free(s->services);
    s->authn = authn_chain_free(s->authn);
    s->authz = authz_chain_free(s->authz);
    s->rbac = rbac_free(s->rbac);
    s->node_graph = node_graph_free(s->node_graph);
    s->discovery = discovery_free(s->discovery);
    s->openapi = openapi_free(s->openapi);
    s->kubelets = kubelet_pool_free(s->kubelets);
    s->sa_key = pki_key_unref(s->sa_key);
    if (s->sa_keys) {
        jwt_keyset_deinit(s->sa_keys);
        free(s->sa_keys);
    }
    free(s->admission_enabled);
    free(s);
    return NULL;
}

bool apiserver_listen(struct apiserver *s, int fd, struct net_tls_server *tls, struct err *err)
{
    return http_server_listen(s->http, fd, tls, NULL, err);
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
    bool authn = authn_chain_reload(s->authn, err);
    bool kubelets = kubelet_pool_reload(s, authn ? err : NULL);
    return authn && kubelets;
}

void apiserver_drain(struct apiserver *s, uint32_t max_ms, loop_fn *done, void *arg)
{
    s->stopping = true;
    http_server_drain(s->http, max_ms, done, arg);
}
