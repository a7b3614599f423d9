/*
 * OpenID Connect (--oidc-*, or the jwt authenticators of --authentication-config): ID tokens of one issuer or of several. Its keys are found by discovery, fetched beside the requests, and fetched again
 * when a token names a key that is not known (the issuer has rotated), at most so often; a request whose key is under way waits for it.
 * Keys are also refreshed in the background, so that one that the issuer has withdrawn stops working.
 */
#include "auth/authn-table.h"
#include "auth/https-fetch.h"
#include "auth/limits.h"
#include "auth/oidc-claims.h"
#include "base/fs.h"
#include "base/list.h"
#include "base/log.h"
#include "net/loop.h"
#include "pki/jwt.h"

/* What the chain knows: all issuers. Each takes the tokens that name it. */
struct authn_oidc_set {
    struct authn authn;
    struct list issuers; /* struct authn_oidc */
};

struct authn_oidc {
    struct list link;
    struct loop *loop;
    struct arena arena; /* of the configuration */
    struct oidc_rules rules;
    bool algs[JWT_ALG_MAX];
    char *ca_path;
    struct buf ca_pem;
    struct str discovery_url;
    char *jwks_uri; /* NULL: not discovered */
    struct jwt_keyset keys;
    bool have_keys;
    struct https_fetch *fetch; /* NULL: nothing is under way */
    struct list waiters;
    unsigned n_waiters;
    struct loop_timer timer;  /* the next fetch nobody asks for */
    unsigned budget;          /* fetches that tokens may cause now */
    uint64_t budget_at_ms;
};

struct waiter {
    struct list link;
    struct authn_oidc *owner;
    struct authn_request *r;
    struct jwt token;
};

static void fetch_begin(struct authn_oidc *o);

/* ---- lifecycle ---- */

static void issuer_free(struct authn_oidc *o)
{
    LIST_FOREACH (&o->waiters, struct waiter, link, w) {
        list_remove(&w->link);
        free(w);
    }
    loop_timer_stop(&o->timer);
    https_fetch_cancel(o->fetch);
    jwt_keyset_deinit(&o->keys);
    buf_deinit(&o->ca_pem);
    free(o->jwks_uri);
    arena_deinit(&o->arena);
    free(o);
}

static bool read_ca(const char *path, struct buf *b, struct err *err)
{
    buf_clear(b);
    return !path || fs_read(path, PKI_MAX_FILE, b, err) || err_wrap(err, "--oidc-ca-file");
}

static bool read_algs(struct authn_oidc *o, const struct authn_oidc_config *c, struct err *err)
{
    static const struct str fallback[] = { STR_INIT("RS256") };
    const struct str *list = c->n_signing_algs ? c->signing_algs : fallback;
    for (size_t i = 0; i < (c->n_signing_algs ? c->n_signing_algs : 1); i++) {
        enum jwt_alg alg = jwt_alg_of_name(list[i]);
        if (alg == JWT_ALG_UNKNOWN || alg == JWT_EDDSA) {
            return err_set(err, ERR_INVALID, "oidc: unsupported signing alg: \"%.*s\"", STR_ARG(list[i]));
        }
        o->algs[alg] = true;
    }
    return true;
}

static bool read_required(struct authn_oidc *o, const struct authn_oidc_config *c, struct err *err)
{
    struct oidc_required *list = arena_new_n(&o->arena, struct oidc_required, c->n_required_claims + 1);
    for (size_t i = 0; i < c->n_required_claims; i++) {
        struct str key, value;
        if (!list || !str_cut(c->required_claims[i], '=', &key, &value) || str_empty(key)) {
            return err_set(err, ERR_INVALID, "--oidc-required-claim: \"%.*s\" is not key=value", STR_ARG(c->required_claims[i]));
        }
        list[i] = (struct oidc_required){ .key = arena_str(&o->arena, key), .value = arena_str(&o->arena, value) };
    }
    o->rules.required = list;
    o->rules.n_required = c->n_required_claims;
    return true;
}

static bool configure(struct authn_oidc *o, const struct authn_oidc_config *c, struct err *err)
{
    struct https_url url;
    struct str claim = str_empty(c->username_claim) ? STR("sub") : c->username_claim;
    if (!https_url_parse(c->issuer_url, &o->arena, &url, err) || str_find_char(c->issuer_url, '?') >= 0) {
        return err_set(err, ERR_INVALID, "'oidc-issuer-url' (\"%.*s\") must be an https URL without query and fragment", STR_ARG(c->issuer_url));
    }
    if (str_empty(c->client_id) && c->n_audiences == 0) {
        return err_set(err, ERR_INVALID, "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set");
    }
    struct str issuer = arena_str(&o->arena, c->issuer_url), base = issuer, prefix = c->username_prefix;
    while (base.len > 0 && base.ptr[base.len - 1] == '/') {
        base.len--;
    }
    if (c->exact_prefix) {
        prefix = c->username_prefix;
    } else if (str_empty(prefix) && !str_eq_c(claim, "email")) {
        prefix = arena_printf(&o->arena, "%.*s#", STR_ARG(issuer));
    } else if (str_eq_c(prefix, "-")) {
        prefix = STR_EMPTY;
    }
    o->discovery_url = c->discovery_url.len ? arena_str(&o->arena, c->discovery_url)
                                            : arena_printf(&o->arena, "%.*s/.well-known/openid-configuration", STR_ARG(base));
    struct str *audiences = arena_new_n(&o->arena, struct str, c->n_audiences + 1);
    for (size_t i = 0; i < c->n_audiences; i++) {
        audiences[i] = arena_str(&o->arena, c->audiences[i]);
    }
    o->rules = (struct oidc_rules){
        .issuer = issuer,
        .client_id = arena_str(&o->arena, c->client_id),
        .audiences = audiences,
        .n_audiences = c->n_audiences,
        .uid_claim = arena_str(&o->arena, c->uid_claim),
        .username_claim = arena_str(&o->arena, claim),
        .username_prefix = arena_str(&o->arena, prefix),
        .groups_claim = arena_str(&o->arena, c->groups_claim),
        .groups_prefix = arena_str(&o->arena, c->groups_prefix),
    };
    o->ca_path = c->ca_file && c->ca_file[0] ? arena_cstr(&o->arena, str_c(c->ca_file)) : NULL;
    if (c->ca_pem.len > PKI_MAX_FILE) {
        return err_set(err, ERR_INVALID, "the issuer's certificateAuthority is longer than %zu bytes", (size_t)PKI_MAX_FILE);
    }
    buf_append(&o->ca_pem, c->ca_pem);
    return read_algs(o, c, err) && read_required(o, c, err) && (c->ca_pem.len || read_ca(o->ca_path, &o->ca_pem, err));
}

static void on_timer(void *arg)
{
    struct authn_oidc *o = arg;
    if (!o->fetch) {
        fetch_begin(o);
    }
}

static struct authn_oidc *issuer_new(const struct authn_oidc_config *c, struct loop *loop, struct err *err)
{
    struct authn_oidc *o = calloc(1, sizeof(*o));
    if (!o) {
        abort();
    }
    o->loop = loop;
    arena_init(&o->arena, ARENA_NO_BUDGET);
    buf_init(&o->ca_pem, PKI_MAX_FILE + 1);
    jwt_keyset_init(&o->keys);
    list_init(&o->waiters);
    o->budget = AUTH_OIDC_BURST;
    o->budget_at_ms = loop_now_ms(o->loop);
    loop_timer_init(&o->timer, o->loop, on_timer, o);
    if (!configure(o, c, err)) {
        issuer_free(o);
        return NULL;
    }
    loop_timer_start(&o->timer, 0);
    return o;
}

static void free_issuers(struct list *issuers)
{
    while (!list_empty(issuers)) {
        issuer_free(LIST_ENTRY(list_pop_front(issuers), struct authn_oidc, link));
    }
}

static void set_free(struct authn *self)
{
    struct authn_oidc_set *set = CONTAINER_OF(self, struct authn_oidc_set, authn);
    free_issuers(&set->issuers);
    free(set);
}

static bool add_issuers(struct list *issuers, const struct authn_oidc_config *list, size_t n, struct loop *loop, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct authn_oidc *o = issuer_new(&list[i], loop, err);
        if (!o) {
            free_issuers(issuers);
            return false;
        }
        list_push_back(issuers, &o->link);
    }
    return true;
}

static bool oidc_open(const struct authn_config *cfg, struct authn **ret, struct err *err)
{
    bool flags = !str_empty(cfg->oidc.issuer_url);
    *ret = NULL;
    if (!flags && !cfg->dynamic) {
        return true;
    }
    struct authn_oidc_set *set = calloc(1, sizeof(*set));
    if (!set) {
        abort();
    }
    set->authn.ops = &authn_oidc_ops;
    list_init(&set->issuers);
    if (!add_issuers(&set->issuers, flags ? &cfg->oidc : cfg->jwt, flags ? 1 : cfg->n_jwt, cfg->loop, err)) {
        free(set);
        return false;
    }
    *ret = &set->authn;
    return true;
}

/* Those who wait for its keys are told so, then it is gone. */
static void retire(struct authn_oidc *o)
{
    struct list *node;
    while ((node = list_pop_front(&o->waiters))) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, link);
        struct authn_request *r = w->r;
        o->n_waiters--;
        free(w);
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "oidc: the issuers were configured anew meanwhile");
        authn_resume(r, AUTHN_FAILED);
    }
    issuer_free(o);
}

bool authn_oidc_replace(struct authn *self, const struct authn_config *cfg, struct err *err)
{
    struct authn_oidc_set *set = CONTAINER_OF(self, struct authn_oidc_set, authn);
    struct list fresh, old;
    list_init(&fresh);
    list_init(&old);
    if (!add_issuers(&fresh, cfg->jwt, cfg->n_jwt, cfg->loop, err)) {
        return false;
    }
    while (!list_empty(&set->issuers)) {
        list_push_back(&old, list_pop_front(&set->issuers));
    }
    while (!list_empty(&fresh)) {
        list_push_back(&set->issuers, list_pop_front(&fresh));
    }
    while (!list_empty(&old)) {
        retire(LIST_ENTRY(list_pop_front(&old), struct authn_oidc, link));
    }
    return true;
}

static bool reload_issuer(struct authn_oidc *o, struct err *err)
{
    struct buf fresh;
    if (!o->ca_path) {
        return true;
    }
    buf_init(&fresh, PKI_MAX_FILE + 1);
    if (!read_ca(o->ca_path, &fresh, err)) {
        buf_deinit(&fresh);
        return err_wrap(err, "the CAs of the OIDC issuer are kept as they were");
    }
    buf_deinit(&o->ca_pem);
    o->ca_pem = fresh;
    return true;
}

static bool oidc_reload(struct authn *self, struct err *err)
{
    struct authn_oidc_set *set = CONTAINER_OF(self, struct authn_oidc_set, authn);
    bool ok = true;
    LIST_FOREACH (&set->issuers, struct authn_oidc, link, o) {
        ok &= reload_issuer(o, ok ? err : NULL);
    }
    return ok;
}

/* ---- keys ---- */

/* May a token cause a fetch now? A few at once, then one in a while: strangers' tokens must not make us hammer the issuer. */
static bool may_fetch(struct authn_oidc *o)
{
    uint64_t now = loop_now_ms(o->loop), gained = (now - o->budget_at_ms) / AUTH_OIDC_REFILL_MS;
    if (gained > 0) {
        o->budget = (unsigned)MIN((uint64_t)AUTH_OIDC_BURST, o->budget + gained);
        o->budget_at_ms += gained * AUTH_OIDC_REFILL_MS;
    }
    if (o->budget == 0) {
        return false;
    }
    o->budget--;
    return true;
}

static enum authn_result judge(struct authn_oidc *o, struct authn_request *r, const struct jwt *t)
{
    int64_t expires = 0;
    if (!o->have_keys) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "oidc: authenticator not initialized: the issuer's keys could not be fetched");
        return AUTHN_FAILED;
    }
    if (!jwt_verify(t, &o->keys, &r->err)) {
        (void)err_wrap(&r->err, "oidc: verify token");
        return AUTHN_FAILED;
    }
    if (!oidc_claims_user(t->claims, &o->rules, r->now, r->arena, &r->user, &expires, &r->err)) {
        return AUTHN_FAILED;
    }
    r->until = expires;
    return AUTHN_OK;
}

static void fetch_end(struct authn_oidc *o, const struct err *err)
{
    struct list waiting;
    struct list *node;
    if (err) {
        log_warning("auth: the keys of the OIDC issuer %.*s cannot be fetched: %s; it is tried again", STR_ARG(o->rules.issuer), err->msg);
        free(o->jwks_uri);
        o->jwks_uri = NULL; /* perhaps they moved: discovery comes first next time */
    }
    loop_timer_start(&o->timer, err ? AUTH_OIDC_RETRY_MS : AUTH_OIDC_REFRESH_MS);
    list_init(&waiting);
    while ((node = list_pop_front(&o->waiters))) {
        list_push_back(&waiting, node);
    }
    while ((node = list_pop_front(&waiting))) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, link);
        struct authn_request *r = w->r;
        enum authn_result result = judge(o, r, &w->token);
        o->n_waiters--;
        free(w);
        authn_resume(r, result);
    }
}

static void on_keys(void *data, struct str body, const struct err *err)
{
    struct authn_oidc *o = data;
    struct jwt_keyset keys;
    struct err why = { 0 };
    o->fetch = NULL;
    if (!err && !jwks_read(body, &keys, &why)) {
        err = &why;
    }
    if (!err) {
        jwt_keyset_deinit(&o->keys);
        o->keys = keys;
        if (!o->have_keys) {
            log_info("auth: the OIDC issuer %.*s is known, %zu keys", STR_ARG(o->rules.issuer), keys.n);
        }
        o->have_keys = true;
    }
    fetch_end(o, err);
}

static void fetch_keys(struct authn_oidc *o)
{
    struct err err = { 0 };
    o->fetch = https_fetch_start(o->loop, str_c(o->jwks_uri), buf_str(&o->ca_pem), JWKS_MAX_SIZE, AUTH_OIDC_TIMEOUT_MS, on_keys, o, &err);
    if (!o->fetch) {
        fetch_end(o, &err);
    }
}

static void on_discovery(void *data, struct str body, const struct err *err)
{
    struct authn_oidc *o = data;
    struct err why = { 0 };
    struct str uri;
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 4u << 20);
    o->fetch = NULL;
    if (err || !oidc_discovery_read(body, o->rules.issuer, &a, &uri, &why)) {
        fetch_end(o, err ? err : &why);
        return;
    }
    free(o->jwks_uri);
    o->jwks_uri = strndup(uri.ptr, uri.len);
    if (!o->jwks_uri) {
        abort();
    }
    fetch_keys(o);
}

static void fetch_begin(struct authn_oidc *o)
{
    struct err err = { 0 };
    loop_timer_stop(&o->timer);
    if (o->jwks_uri) {
        fetch_keys(o);
        return;
    }
    o->fetch = https_fetch_start(o->loop, o->discovery_url, buf_str(&o->ca_pem), AUTH_OIDC_MAX_DISCOVERY, AUTH_OIDC_TIMEOUT_MS, on_discovery, o,
                                 &err);
    if (!o->fetch) {
        fetch_end(o, &err);
    }
}

/* ---- requests ---- */

static enum authn_result wait_for_keys(struct authn_oidc *o, struct authn_request *r, const struct jwt *t)
{
    if (!o->fetch && o->n_waiters == 0 && !may_fetch(o)) {
        return judge(o, r, t);
    }
    struct waiter *w = o->n_waiters < AUTH_MAX_REVIEWS ? calloc(1, sizeof(*w)) : NULL;
    if (!w) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "oidc: too many tokens wait for the issuer's keys, %d at once", AUTH_MAX_REVIEWS);
        return AUTHN_FAILED;
    }
    *w = (struct waiter){ .owner = o, .r = r, .token = *t };
    list_push_back(&o->waiters, &w->link);
    o->n_waiters++;
    r->wait_data = w;
    if (!o->fetch) {
        loop_timer_start(&o->timer, 0); /* in a turn of its own: the answer never comes before the caller knows that it waits */
    }
    return AUTHN_WAIT;
}

static enum authn_result ask_issuer(struct authn_oidc *o, struct authn_request *r)
{
    struct jwt t;
    if (!jwt_parse(r->token, r->arena, &t, &r->err)) {
        return AUTHN_FAILED;
    }
    if (!o->algs[t.alg]) { /* what is not known is never set */
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "oidc: id token signed with unsupported algorithm");
        return AUTHN_FAILED;
    }
    if (!o->have_keys) {
        return wait_for_keys(o, r, &t);
    }
    if (t.kid.ptr ? jwt_keyset_has(&o->keys, t.kid) : jwt_verify(&t, &o->keys, NULL)) {
        return judge(o, r, &t);
    }
    return wait_for_keys(o, r, &t);
}

static enum authn_result oidc_authenticate(struct authn *self, struct authn_request *r)
{
    struct authn_oidc_set *set = CONTAINER_OF(self, struct authn_oidc_set, authn);
    struct str issuer;
    if (!jwt_looks_like(r->token) || !jwt_peek_issuer(r->token, r->arena, &issuer)) {
        return AUTHN_NONE;
    }
    LIST_FOREACH (&set->issuers, struct authn_oidc, link, o) {
        if (str_eq(issuer, o->rules.issuer)) {
            return ask_issuer(o, r);
        }
    }
    return AUTHN_NONE;
}

static void oidc_cancel(struct authn *self UNUSED, struct authn_request *r)
{
    struct waiter *w = r->wait_data;
    list_remove(&w->link);
    w->owner->n_waiters--;
    free(w);
}

const struct authn_ops authn_oidc_ops = {
    .name = "oidc",
    .bearer = true,
    .open = oidc_open,
    .authenticate = oidc_authenticate,
    .reload = oidc_reload,
    .cancel = oidc_cancel,
    .free = set_free,
};
