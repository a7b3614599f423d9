/* Service-account tokens (--service-account-key-file, --service-account-issuer, --api-audiences).
 */
#include "auth/authn-table.h"
#include "auth/limits.h"
#include "auth/sa-token.h"
#include "base/fs.h"

struct authn_service_account {
    struct authn authn;
    struct arena arena;
    struct jwt_keyset keys;
    char **key_files;
    size_t n_key_files;
    struct str *issuers, *audiences;
    size_t n_issuers, n_audiences;
    const struct sa_lookup *lookup;
};

static bool load_keys(char *const *files, size_t n, struct jwt_keyset *ret, struct err *err)
{
    struct jwt_keyset s;
    bool ok = true;
    jwt_keyset_init(&s);
    for (size_t i = 0; i < n && ok; i++) {
        struct buf b;
        buf_init(&b, PKI_MAX_FILE + 1);
        ok = fs_read(files[i], PKI_MAX_FILE, &b, err) &&
             (jwt_keyset_add_pem(&s, buf_str(&b), err) || err_wrap(err, "%s", files[i]));
        if (b.ptr) {
            explicit_bzero(b.ptr, b.capacity);
        }
        buf_deinit(&b);
    }
    if (!ok) {
        jwt_keyset_deinit(&s);
        return err_wrap(err, "--service-account-key-file");
    }
    *ret = s;
    return true;
}

static void service_account_free(struct authn *self)
{
    struct authn_service_account *s = CONTAINER_OF(self, struct authn_service_account, authn);
    jwt_keyset_deinit(&s->keys);
    arena_deinit(&s->arena);
    free(s);
}

static struct str *copy_strs(struct arena *a, const struct str *src, size_t n)
{
    struct str *dst = arena_new_n(a, struct str, n + 1);
    for (size_t i = 0; dst && i < n; i++) {
        dst[i] = arena_str(a, src[i]);
    }
    return dst;
}

static bool service_account_open(const struct authn_config *cfg, struct authn **ret,
                                 struct err *err)
{
    if (cfg->n_service_account_key_files == 0) {
        *ret = NULL;
        return true;
    }
    struct authn_service_account *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->authn.ops = &authn_service_account_ops;
    arena_init(&s->arena, ARENA_NO_BUDGET);
    bool own = cfg->n_api_audiences > 0;
    s->issuers = copy_strs(&s->arena, cfg->service_account_issuers, cfg->n_service_account_issuers);
    s->n_issuers = cfg->n_service_account_issuers;
    s->n_audiences = own ? cfg->n_api_audiences : cfg->n_service_account_issuers;
    s->audiences = copy_strs(&s->arena, own ? cfg->api_audiences : cfg->service_account_issuers,
                             s->n_audiences);
    s->lookup = cfg->sa_lookup;
    s->n_key_files = cfg->n_service_account_key_files;
    s->key_files = arena_new_n(&s->arena, char *, s->n_key_files);
    if (!s->issuers || !s->audiences || !s->key_files) {
        abort();
    }
    for (size_t i = 0; i < s->n_key_files; i++) {
        s->key_files[i] = arena_cstr(&s->arena, str_c(cfg->service_account_key_files[i]));
    }
    if (!load_keys(s->key_files, s->n_key_files, &s->keys, err)) {
        service_account_free(&s->authn);
        return false;
    }
    *ret = &s->authn;
    return true;
}

static bool service_account_reload(struct authn *self, struct err *err)
{
    struct authn_service_account *s = CONTAINER_OF(self, struct authn_service_account, authn);
    struct jwt_keyset keys;
    if (!load_keys(s->key_files, s->n_key_files, &keys, err)) {
        return false;
    }
    jwt_keyset_deinit(&s->keys);
    s->keys = keys;
    return true;
}

static bool is_one_of(const struct str *list, size_t n, struct str s)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i], s)) {
            return true;
        }
    }
    return false;
}

/* The audiences that the token is for and that are asked for. A legacy token is for the server's
 * own. */
static bool match_audiences(const struct authn_service_account *s, const struct sa_claims *c,
                            struct authn_request *r)
{
    const struct str *have = c->legacy && c->n_audiences == 0 ? s->audiences : c->audiences;
    size_t n_have = c->legacy && c->n_audiences == 0 ? s->n_audiences : c->n_audiences;
    const struct str *want = r->n_audiences ? r->audiences : s->audiences;
    size_t n_want = r->n_audiences ? r->n_audiences : s->n_audiences;
    r->ret_audiences = arena_new_n(r->arena, struct str, n_have + 1);
    r->n_ret_audiences = 0;
    for (size_t i = 0; r->ret_audiences && i < n_have; i++) {
        if (is_one_of(want, n_want, have[i])) {
            r->ret_audiences[r->n_ret_audiences++] = have[i];
        }
    }
    return r->n_ret_audiences > 0;
}

static enum authn_result service_account_authenticate(struct authn *self, struct authn_request *r)
{
    struct authn_service_account *s = CONTAINER_OF(self, struct authn_service_account, authn);
    struct str issuer;
    struct jwt t;
    struct sa_claims c;
    if (!jwt_looks_like(r->token) || !jwt_peek_issuer(r->token, r->arena, &issuer) ||
        !(str_eq(issuer, SA_LEGACY_ISSUER) || is_one_of(s->issuers, s->n_issuers, issuer))) {
        return AUTHN_NONE; /* not one of ours */
    }
    if (!jwt_parse(r->token, r->arena, &t, &r->err) || !jwt_verify(&t, &s->keys, &r->err) ||
        !sa_claims_read(t.claims, r->arena, &c, &r->err)) {
        return AUTHN_FAILED;
    }
    if (!match_audiences(s, &c, r)) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED,
                      "the token is for other audiences than this server");
        return AUTHN_FAILED;
    }
    if (!sa_claims_check(&c, r->token, r->now, s->lookup, r->arena, &r->user, &r->err)) {
        return AUTHN_FAILED;
    }
    r->until = c.legacy ? 0 : c.expires + AUTH_CLOCK_LEEWAY_S;
    return AUTHN_OK;
}

const struct authn_ops authn_service_account_ops = {
    .name = "serviceaccount",
    .bearer = true,
    .audiences = true,
    .open = service_account_open,
    .authenticate = service_account_authenticate,
    .reload = service_account_reload,
    .free = service_account_free,
};
