/* Client certificates (--client-ca-file): CN is the user, O the groups. */
#include "auth/auth-cache.h"
#include "auth/authn-table.h"
#include "auth/limits.h"
#include "base/macros.h"
#include "pki/cert.h"

struct authn_x509 {
    struct authn authn;
    char *path;
    struct pki_bundle roots;
    struct auth_cache *cache;
};

static bool x509_open(const struct authn_config *cfg, struct authn **ret, struct err *err)
{
    struct pki_bundle roots;
    if (!cfg->client_ca_file || !cfg->client_ca_file[0]) {
        *ret = NULL;
        return true;
    }
    if (!pki_bundle_load(&roots, cfg->client_ca_file, err)) {
        return err_wrap(err, "--client-ca-file");
    }
    struct authn_x509 *x = calloc(1, sizeof(*x));
    char *path = strdup(cfg->client_ca_file);
    if (!x || !path) {
        abort();
    }
    *x = (struct authn_x509){
        .authn = { &authn_x509_ops }, .path = path, .roots = roots, .cache = auth_cache_new()
    };
    *ret = &x->authn;
    return true;
}

static bool x509_reload(struct authn *self, struct err *err)
{
    struct authn_x509 *x = CONTAINER_OF(self, struct authn_x509, authn);
    struct pki_bundle roots;
    if (!pki_bundle_load(&roots, x->path, err)) {
        return err_wrap(err, "--client-ca-file is kept as it was");
    }
    pki_bundle_deinit(&x->roots);
    x->roots = roots;
    auth_cache_clear(x->cache);
    return true;
}

static void x509_free(struct authn *self)
{
    struct authn_x509 *x = CONTAINER_OF(self, struct authn_x509, authn);
    pki_bundle_deinit(&x->roots);
    auth_cache_free(x->cache);
    free(x->path);
    free(x);
}

static bool user_of(struct arena *a, const struct pki_cert_info *info, struct auth_user *ret)
{
    struct auth_extra *extra = arena_new(a, struct auth_extra);
    struct str *id = arena_new(a, struct str);
    if (!extra || !id) {
        return false;
    }
    *id = arena_printf(a, "X509SHA256=%.*s", STR_ARG(info->fingerprint));
    *extra = (struct auth_extra){ .key = AUTH_EXTRA_CREDENTIAL_ID, .values = id, .n_values = 1 };
    *ret = (struct auth_user){
        .name = info->names.cn,
        .groups = info->names.orgs,
        .n_groups = info->names.n_orgs,
        .extra = extra,
        .n_extra = 1,
    };
    return id->ptr != NULL;
}

static bool read_chain(const struct authn_request *r, struct pki_cert *chain[PKI_MAX_CHAIN],
                       struct err *err)
{
    for (size_t i = 0; i < r->n_peer_chain; i++) {
        chain[i] = pki_cert_of_der(r->peer_chain[i], err);
        if (!chain[i]) {
            return false;
        }
    }
    return true;
}

static enum authn_result verify(struct authn_x509 *x, struct authn_request *r,
                                struct pki_cert *const chain[PKI_MAX_CHAIN],
                                const uint8_t digest[32])
{
    struct pki_cert_info info;
    if (!pki_cert_inspect(chain[0], r->arena, &info, &r->err)) {
        return AUTHN_FAILED;
    }
    if (!pki_verify(&x->roots, chain, r->n_peer_chain, PKI_USAGE_CLIENT_AUTH, r->now, &r->err)) {
        (void)err_wrap(&r->err, "verifying certificate SN=%.*s failed", STR_ARG(info.serial));
        return AUTHN_FAILED;
    }
    if (str_empty(info.names.cn)) {
        return AUTHN_NONE; /* nobody in particular */
    }
    if (!user_of(r->arena, &info, &r->user)) {
        (void)err_set(&r->err, ERR_NO_MEMORY, "out of memory while a user was built");
        return AUTHN_FAILED;
    }
    int64_t until = r->now + AUTH_CERT_CACHE_S;
    for (size_t i = 0; i < r->n_peer_chain; i++) {
        until = MIN(until, pki_cert_not_after(chain[i]) + 1);
    }
    auth_cache_put(x->cache, digest, until, &r->user, STR("x509"), NULL, 0);
    return AUTHN_OK;
}

static enum authn_result x509_authenticate(struct authn *self, struct authn_request *r)
{
    struct authn_x509 *x = CONTAINER_OF(self, struct authn_x509, authn);
    struct pki_cert *chain[PKI_MAX_CHAIN] = { NULL };
    uint8_t digest[32];
    if (r->n_peer_chain == 0) {
        return AUTHN_NONE;
    }
    if (r->n_peer_chain > PKI_MAX_CHAIN) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED,
                      "x509: a chain of %zu certificates, at most %d are accepted", r->n_peer_chain,
                      PKI_MAX_CHAIN);
        return AUTHN_FAILED;
    }
    if (r->peer_digest) {
        memcpy(digest, r->peer_digest, sizeof(digest));
    } else {
        auth_cache_digest(r->peer_chain, r->n_peer_chain, digest);
    }
    const struct auth_user *known = auth_cache_get(x->cache, digest, r->now, NULL, NULL, NULL);
    if (known && auth_user_copy(&r->user, known, r->arena)) {
        return AUTHN_OK;
    }
    enum authn_result result =
        read_chain(r, chain, &r->err) ? verify(x, r, chain, digest) : AUTHN_FAILED;
    for (size_t i = 0; i < PKI_MAX_CHAIN; i++) {
        pki_cert_unref(chain[i]);
    }
    return result;
}

const struct authn_ops authn_x509_ops = {
    .name = "x509",
    .open = x509_open,
    .authenticate = x509_authenticate,
    .reload = x509_reload,
    .free = x509_free,
};
