#include "apiserver/auth-setup.h"

#include "api/gen/core_v1.h"
#include "apiserver/auth-configmap.h"
#include "apiserver/auth-files.h"
#include "apiserver/egress.h"
#include "apiserver/world.h"
#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/bootstrap-token.h"
#include "auth/limits.h"
#include "auth/node-graph.h"
#include "auth/rbac.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/version.h"
#include "client/client.h"
#include "client/path-report.h"
#include "pki/jwt.h"

/* A C string in the arena; NULL when it is empty. */
static const char *cstr(struct arena *a, struct str s)
{
    return s.len > 0 ? arena_cstr(a, s) : NULL;
}

/* ---- keys of service-account tokens ---- */

/* --service-account-key-file, or the signing key alone when none is given. */
static struct flag_strings key_files(const struct apiserver *s)
{
    const struct apiserver_config *c = &s->cfg;
    if (c->service_account_key_files.n > 0 || str_empty(c->service_account_signing_key_file)) {
        return c->service_account_key_files;
    }
    return (struct flag_strings){ .items = (struct str *)(uintptr_t)&c->service_account_signing_key_file, .n = 1 };
}

static bool read_keys(const struct apiserver *s, struct pki_key **ret_key, struct jwt_keyset *ret_keys, struct err *err)
{
    struct flag_strings files = key_files(s);
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 1u << 20);
    const char *path = cstr(&a, s->cfg.service_account_signing_key_file);
    CLEANUP(pki_key_unrefp) struct pki_key *key = path ? pki_key_load_private(path, err) : NULL;
    if (path && !key) {
        return err_wrap(err, "--service-account-signing-key-file");
    }
    jwt_keyset_init(ret_keys);
    bool ok = true;
    for (size_t i = 0; i < files.n && ok; i++) {
        struct buf pem;
        buf_init(&pem, PKI_MAX_FILE + 1);
        path = cstr(&a, files.items[i]);
        ok = path ? fs_read(path, PKI_MAX_FILE, &pem, err) && jwt_keyset_add_pem(ret_keys, buf_str(&pem), err)
                  : err_set(err, ERR_INVALID, "an empty path");
        if (pem.ptr) {
            explicit_bzero(pem.ptr, pem.capacity);
        }
        buf_deinit(&pem);
    }
    if (!ok) {
        jwt_keyset_deinit(ret_keys);
        return err_wrap(err, "--service-account-key-file");
    }
    if (key && !jwt_keyset_add(ret_keys, key, STR_NULL)) {
        jwt_keyset_deinit(ret_keys);
        return err_set(err, ERR_INVALID, "too many service-account keys");
    }
    *ret_key = TAKE(key);
    return true;
}

static bool load_keys(struct apiserver *s, struct err *err)
{
    struct pki_key *key = NULL;
    struct jwt_keyset keys;
    if (!read_keys(s, &key, &keys, err)) {
        return false;
    }
    if (!s->sa_keys) {
        s->sa_keys = calloc(1, sizeof(*s->sa_keys));
        if (!s->sa_keys) {
            abort();
        }
    }
    jwt_keyset_deinit(s->sa_keys);
    *s->sa_keys = keys;
    (void)pki_key_unref(s->sa_key);
    s->sa_key = key;
    return true;
}

/* ---- those who are asked ---- */

/* Bootstrap tokens' Secrets, from the watch cache. */
static const struct core_v1_secret *bootstrap_secret(void *ctx, struct str name, struct arena *a)
{
    struct apiserver *s = ctx;
    struct rest *rest = registry_rest(s, STR_EMPTY, STR("secrets"));
    const struct object *o = rest ? watch_cache_get(rest->cache, BOOTSTRAP_TOKEN_NAMESPACE, name) : NULL;
    return o ? rest_decode(rest, a, o) : NULL;
}

/* The server that a kubeconfig names. True with '*ret' NULL when there is no file. */
bool auth_setup_webhook_client(struct apiserver *s, struct str file, const char *flag, uint32_t timeout_ms, struct client **ret,
                               struct err *err)
{
    CLEANUP(arena_deinit) struct arena a;
    struct client_config config;
    struct client_options options = { .user_agent = "kube-apiserver/" KUBERNETES_VERSION " (coracle)", .timeout_ms = timeout_ms,
                                      .dialer = egress_dialer(s->egress, EGRESS_CONTROLPLANE, EGRESS_ANY),
                                      .peer = flag, .purpose = PATH_PURPOSE_WEBHOOK };
    arena_init(&a, 32u << 20);
    const char *path = cstr(&a, file);
    *ret = NULL;
    if (!path) {
        return true;
    }
    if (!kubeconfig_read(&a, path, STR_NULL, &config, err)) {
        return err_wrap(err, "--%s", flag);
    }
    if (config.insecure || str_starts(config.server, STR("http://"))) {
        log_warning("apiserver: --%s: the server is not verified by TLS: whoever is on the way decides", flag);
    }
    *ret = client_new(s->loop, &config, &options, err);
    return *ret || err_wrap(err, "--%s", flag);
}

/* Milliseconds of a flag, as the chains take it: seconds, and a word of its own for none. */
static uint32_t ttl_s(int64_t ms)
{
    return ms <= 0 ? AUTH_TTL_NONE : (uint32_t)MIN((ms + 999) / 1000, (int64_t)UINT32_MAX - 1);
}

enum { SYNC_MS = 60000 };

/* extension-apiserver-authentication is written again when somebody changed or deleted it. */
static void on_sync(void *arg)
{
    struct apiserver *s = arg;
    if (s->started && !s->stopping) {
        auth_configmap_sync(s);
    }
    loop_timer_start(&s->auth_timer, SYNC_MS);
}

/* ---- the chains ---- */

static struct authn_oidc_config oidc_of(const struct apiserver_auth_config *c, struct arena *a)
{
    return (struct authn_oidc_config){
        .issuer_url = c->oidc_issuer_url,
        .client_id = c->oidc_client_id,
        .ca_file = cstr(a, c->oidc_ca_file),
        .username_claim = c->oidc_username_claim,
        .username_prefix = c->oidc_username_prefix,
        .groups_claim = c->oidc_groups_claim,
        .groups_prefix = c->oidc_groups_prefix,
        .required_claims = c->oidc_required_claims.items,
        .n_required_claims = c->oidc_required_claims.n,
        .signing_algs = c->oidc_signing_algs.items,
        .n_signing_algs = c->oidc_signing_algs.n,
    };
}

static struct authn_requestheader_config requestheader_of(const struct apiserver_auth_config *c, struct arena *a)
{
    return (struct authn_requestheader_config){
        .client_ca_file = cstr(a, c->requestheader_client_ca_file),
        .allowed_names = c->requestheader_allowed_names.items,
        .n_allowed_names = c->requestheader_allowed_names.n,
        .username_headers = c->requestheader_username_headers.items,
        .n_username_headers = c->requestheader_username_headers.n,
        .uid_headers = c->requestheader_uid_headers.items,
        .n_uid_headers = c->requestheader_uid_headers.n,
        .group_headers = c->requestheader_group_headers.items,
        .n_group_headers = c->requestheader_group_headers.n,
        .extra_prefixes = c->requestheader_extra_prefixes.items,
        .n_extra_prefixes = c->requestheader_extra_prefixes.n,
    };
}

static bool open_authn(struct apiserver *s, struct arena *a, struct err *err)
{
    const struct apiserver_config *c = &s->cfg;
    struct flag_strings files = key_files(s);
    const char **paths = arena_new_n(a, const char *, files.n + 1);
    struct authn_bootstrap_lookup bootstrap = { .ctx = s, .get = bootstrap_secret };
    for (size_t i = 0; i < files.n; i++) {
        paths[i] = arena_cstr(a, files.items[i]);
    }
    s->sa_lookup = (struct sa_lookup){ .ctx = s, .get = world_sa_get, .used = world_sa_used };
    struct authn_config authn = {
        .client_ca_file = cstr(a, c->client_ca_file),
        .token_auth_file = cstr(a, c->token_auth_file),
        .service_account_key_files = paths,
        .n_service_account_key_files = files.n,
        .service_account_issuers = c->service_account_issuers.items,
        .n_service_account_issuers = c->service_account_issuers.n,
        .api_audiences = c->api_audiences.items,
        .n_api_audiences = c->api_audiences.n,
        .sa_lookup = c->service_account_lookup ? &s->sa_lookup : NULL,
        .review_client = s->authn_webhook,
        .review_ttl_s = ttl_s(c->auth.webhook_ttl_ms),
        .review_webhook = true,
        .review_version = c->auth.webhook_version,
        .loop = s->loop,
        .requestheader = requestheader_of(&c->auth, a),
        .oidc = oidc_of(&c->auth, a),
        .bootstrap_lookup = c->auth.bootstrap_tokens ? &bootstrap : NULL,
        .anonymous = c->anonymous_auth,
    };
    if (!auth_files_open_authn(s, &authn, err)) {
        return false;
    }
    s->authn = authn_chain_new(&authn, err);
    return s->authn != NULL;
}

static bool open_authz(struct apiserver *s, struct arena *a, struct err *err)
{
    const struct apiserver_config *c = &s->cfg;
    s->rbac = rbac_new();
    s->node_graph = node_graph_new();
    if (!str_empty(c->auth.authz_config)) {
        return auth_files_open_authz(s, err);
    }
    struct authz_config authz = {
        .modes = c->authorization_modes.items,
        .n_modes = c->authorization_modes.n,
        .rbac = s->rbac,
        .node_graph = s->node_graph,
        .policy_file = cstr(a, c->auth.policy_file),
        .review_client = s->authz_webhook,
        .review_webhook = true,
        .review_version = c->auth.authz_webhook_version,
        .review_allowed_ttl_s = ttl_s(c->auth.authz_webhook_allowed_ttl_ms),
        .review_denied_ttl_s = ttl_s(c->auth.authz_webhook_denied_ttl_ms),
    };
    s->authz = authz_chain_new(&authz, err);
    return s->authz != NULL;
}

bool auth_setup_open(struct apiserver *s, struct err *err)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    loop_timer_init(&s->auth_timer, s->loop, on_sync, s);
    loop_timer_start(&s->auth_timer, SYNC_MS);
    return load_keys(s, err) &&
           auth_setup_webhook_client(s, s->cfg.auth.webhook_config_file, "authentication-token-webhook-config-file", AUTH_REVIEW_TIMEOUT_MS, &s->authn_webhook, err) &&
           auth_setup_webhook_client(s, s->cfg.auth.authz_webhook_config_file, "authorization-webhook-config-file", AUTH_REVIEW_TIMEOUT_MS, &s->authz_webhook, err) &&
           open_authn(s, &a, err) && open_authz(s, &a, err);
}

bool auth_setup_reload(struct apiserver *s, struct err *err)
{
    bool chain = authn_chain_reload(s->authn, err);
    bool keys = load_keys(s, chain ? err : NULL);
    if (s->started) {
        auth_configmap_sync(s);
    }
    return chain && keys;
}

void auth_setup_close(struct apiserver *s)
{
    loop_timer_stop(&s->auth_timer);
    auth_files_close(s);
    s->authn = authn_chain_free(s->authn);
    s->authz = authz_chain_free(s->authz);
    s->rbac = rbac_free(s->rbac);
    s->node_graph = node_graph_free(s->node_graph);
    s->authn_webhook = client_free(s->authn_webhook);
    s->authz_webhook = client_free(s->authz_webhook);
    s->sa_key = pki_key_unref(s->sa_key);
    if (s->sa_keys) {
        jwt_keyset_deinit(s->sa_keys);
        free(s->sa_keys);
        s->sa_keys = NULL;
    }
}
