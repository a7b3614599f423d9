#include "auth/authn.h"

#include <assert.h>

#include "auth/auth-cache.h"
#include "auth/authn-table.h"
#include "auth/limits.h"
#include "base/encoding.h"

struct authn_chain {
    struct authn **list;
    size_t n;
    struct auth_cache *tokens; /* tokens found good a moment ago */
    bool anonymous;
    struct str *anonymous_paths;
    size_t n_anonymous_paths;
    struct str *audiences; /* the server's own */
    size_t n_audiences;
    struct arena arena; /* of the configuration */
    struct arena anonymous_arena;
};

/* ---- making ---- */

void authn_chain_add(struct authn_chain *c, struct authn *a)
{
    struct authn **grown = realloc(c->list, (c->n + 1) * sizeof(*grown));
    if (!grown) {
        abort();
    }
    c->list = grown;
    c->list[c->n++] = a;
}

static void set_anonymous(struct authn_chain *c, const struct authn_config *cfg)
{
    arena_clear(&c->anonymous_arena);
    c->anonymous = cfg->anonymous;
    c->n_anonymous_paths = cfg->n_anonymous_paths;
    c->anonymous_paths = arena_new_n(&c->anonymous_arena, struct str, cfg->n_anonymous_paths + 1);
    for (size_t i = 0; i < cfg->n_anonymous_paths; i++) {
        c->anonymous_paths[i] = arena_str(&c->anonymous_arena, cfg->anonymous_paths[i]);
    }
}

struct authn_chain *authn_chain_new(const struct authn_config *cfg, struct err *err)
{
    struct authn_chain *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    arena_init(&c->arena, ARENA_NO_BUDGET);
    arena_init(&c->anonymous_arena, ARENA_NO_BUDGET);
    c->tokens = auth_cache_new();
    set_anonymous(c, cfg);
    bool own = cfg->n_api_audiences > 0;
    const struct str *audiences = own ? cfg->api_audiences : cfg->service_account_issuers;
    c->n_audiences = own ? cfg->n_api_audiences : cfg->n_service_account_issuers;
    c->audiences = arena_new_n(&c->arena, struct str, c->n_audiences + 1);
    for (size_t i = 0; i < c->n_audiences; i++) {
        c->audiences[i] = arena_str(&c->arena, audiences[i]);
    }
    for (size_t i = 0; authn_table[i]; i++) {
        struct authn *a = NULL;
        if (!authn_table[i]->open(cfg, &a, err)) {
            return authn_chain_free(c);
        }
        if (a) {
            authn_chain_add(c, a);
        }
    }
    return c;
}

struct authn_chain *authn_chain_free(struct authn_chain *c)
{
    if (c) {
        for (size_t i = 0; i < c->n; i++) {
            c->list[i]->ops->free(c->list[i]);
        }
        free(c->list);
        auth_cache_free(c->tokens);
        arena_deinit(&c->arena);
        arena_deinit(&c->anonymous_arena);
        free(c);
    }
    return NULL;
}

bool authn_chain_set_jwt(struct authn_chain *c, const struct authn_config *cfg, struct err *err)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->list[i]->ops == &authn_oidc_ops && !authn_oidc_replace(c->list[i], cfg, err)) {
            return false;
        }
    }
    set_anonymous(c, cfg);
    auth_cache_clear(c->tokens);
    return true;
}

bool authn_chain_reload(struct authn_chain *c, struct err *err)
{
    bool ok = true;
    for (size_t i = 0; i < c->n; i++) {
        if (c->list[i]->ops->reload && !c->list[i]->ops->reload(c->list[i], ok ? err : NULL)) {
            ok = false;
        }
    }
    auth_cache_clear(c->tokens);
    return ok;
}

bool authn_is_credential_header(const struct authn_chain *c, struct str name)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->list[i]->ops->believes && c->list[i]->ops->believes(c->list[i], name)) {
            return true;
        }
    }
    return str_eq(name, STR("authorization")) || str_starts(name, STR("impersonate-"));
}

/* ---- the token of a request ---- */

/* "Bearer TOKEN", the scheme without case (RFC 6750 2.1). */
static struct str token_of_header(struct str authorization)
{
    struct str scheme, rest, token;
    if (!str_cut(str_trim(authorization), ' ', &scheme, &rest) ||
        !str_eq_nocase(scheme, STR("bearer"))) {
        return STR_NULL;
    }
    (void)str_cut(rest, ' ', &token, &rest);
    return token.len > 0 ? token : STR_NULL;
}

/* Browsers cannot set headers on WebSockets: the token comes base64url-encoded as one of the
 * offered protocols, beside another one. */
static struct str token_of_ws(struct str protocols, struct arena *a)
{
    struct str prefix = STR("base64url.bearer.authorization.k8s.io."), piece, found = STR_NULL,
               token = STR_NULL;
    size_t others = 0;
    while (protocols.ptr && str_split(&protocols, ',', &piece)) {
        piece = str_trim(piece);
        if (str_starts(piece, prefix)) {
            if (found.ptr) {
                return STR_NULL;
            }
            found = str_sub(piece, prefix.len, piece.len);
        } else if (piece.len > 0) {
            others++;
        }
    }
    if (!found.ptr || others == 0 || !base64url_decode(a, found, &token) || !str_is_utf8(token)) {
        return STR_NULL;
    }
    return token;
}

/* ---- asking ---- */

/* At most AUTH_MAX_AUDIENCES audiences. */
static void token_digest(const struct authn_request *r, uint8_t ret[32])
{
    struct str pieces[1 + AUTH_MAX_AUDIENCES];
    pieces[0] = r->token;
    for (size_t i = 0; i < r->n_audiences; i++) {
        pieces[1 + i] = r->audiences[i];
    }
    auth_cache_digest(pieces, 1 + r->n_audiences, ret);
}

static bool copy_audiences(struct authn_request *r, const struct str *list, size_t n)
{
    r->ret_audiences = arena_new_n(r->arena, struct str, n + 1);
    for (size_t i = 0; r->ret_audiences && i < n; i++) {
        r->ret_audiences[i] = arena_str(r->arena, list[i]);
    }
    r->n_ret_audiences = n;
    return r->ret_audiences != NULL;
}

static bool known_token(struct authn_request *r)
{
    uint8_t digest[32];
    const struct str *audiences = NULL;
    size_t n = 0;
    if (r->n_audiences > AUTH_MAX_AUDIENCES) {
        return false;
    }
    token_digest(r, digest);
    const struct auth_user *u =
        auth_cache_get(r->chain->tokens, digest, r->now, &r->authenticator, &audiences, &n);
    return u && auth_user_copy(&r->user, u, r->arena) && copy_audiences(r, audiences, n);
}

static void remember_token(struct authn_request *r)
{
    uint8_t digest[32];
    if (r->n_audiences > AUTH_MAX_AUDIENCES) {
        return;
    }
    token_digest(r, digest);
    int64_t until = r->now + AUTH_TOKEN_CACHE_S;
    auth_cache_put(r->chain->tokens, digest, r->until ? MIN(until, r->until) : until, &r->user,
                   r->authenticator, r->ret_audiences, r->n_ret_audiences);
}

/* Tokens that name no audience are for this server's own. False: the question is about other ones. */
static bool own_audiences(struct authn_request *r, struct str **ret, size_t *ret_n)
{
    const struct authn_chain *c = r->chain;
    struct str *list = arena_new_n(r->arena, struct str, r->n_audiences + 1);
    size_t n = 0;
    for (size_t i = 0; list && i < r->n_audiences; i++) {
        for (size_t j = 0; j < c->n_audiences; j++) {
            if (str_eq(r->audiences[i], c->audiences[j])) {
                list[n++] = r->audiences[i];
                break;
            }
        }
    }
    *ret = list;
    *ret_n = n;
    return n > 0;
}

static void note_failure(struct authn_request *r, const char *msg)
{
    struct str joined = r->n_failures == 0
                            ? arena_str(r->arena, str_c(msg))
                            : arena_printf(r->arena, "%.*s, %s", STR_ARG(r->failures), msg);
    r->failures = joined.ptr ? joined : STR("out of memory");
    r->n_failures++;
}

static enum authn_result finish_ok(struct authn_request *r)
{
    if (!auth_user_in_group(&r->user, AUTH_GROUP_UNAUTHENTICATED) &&
        !auth_user_add_group(&r->user, r->arena, AUTH_GROUP_AUTHENTICATED)) {
        (void)err_set(&r->err, ERR_NO_MEMORY, "out of memory while a user was built");
        return AUTHN_FAILED;
    }
    return AUTHN_OK;
}

static bool anonymous_allowed(const struct authn_chain *c, struct str path)
{
    for (size_t i = 0; i < c->n_anonymous_paths; i++) {
        if (str_eq(c->anonymous_paths[i], path)) {
            return true;
        }
    }
    return c->anonymous && c->n_anonymous_paths == 0;
}

/* Nobody said OK. */
static enum authn_result finish(struct authn_request *r)
{
    if (r->token.ptr && r->n_failures == 0) {
        note_failure(r, "invalid bearer token");
    }
    if (r->n_failures > 0) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED, r->n_failures > 1 ? "[%.*s]" : "%.*s",
                      STR_ARG(r->failures));
        return AUTHN_FAILED;
    }
    if (anonymous_allowed(r->chain, r->path)) {
        static const struct str groups[] = { STR_INIT("system:unauthenticated") };
        r->user =
            (struct auth_user){ .name = AUTH_USER_ANONYMOUS, .groups = groups, .n_groups = 1 };
        r->authenticator = STR("anonymous");
        return AUTHN_OK;
    }
    (void)err_set(&r->err, ERR_UNAUTHORIZED, "no credentials");
    return AUTHN_FAILED;
}

/* Takes one authenticator's answer. True when the chain is at its end, with '*ret'. */
static bool take_answer(struct authn_request *r, enum authn_result result, enum authn_result *ret)
{
    const struct authn *a = r->chain->list[r->next];
    if (result == AUTHN_OK) {
        r->authenticator = str_c(a->ops->name);
        if (a->ops->bearer && !a->ops->audiences) {
            r->n_ret_audiences = 0;
            if (r->n_audiences > 0) {
                (void)own_audiences(r, &r->ret_audiences, &r->n_ret_audiences);
            }
        }
        if (a->ops->bearer) {
            remember_token(r);
        }
        *ret = finish_ok(r);
        return true;
    }
    if (result == AUTHN_FAILED) {
        note_failure(r, r->err.msg);
    }
    r->next++;
    return false;
}

static enum authn_result run(struct authn_request *r, bool tokens_only)
{
    enum authn_result ret;
    while (r->next < r->chain->n) {
        struct authn *a = r->chain->list[r->next];
        if (a->ops->bearer ? !r->token.ptr : tokens_only) {
            r->next++;
            continue;
        }
        if (a->ops->bearer && !a->ops->audiences && r->n_audiences > 0 &&
            !own_audiences(r, &r->ret_audiences, &r->n_ret_audiences)) {
            r->next++;
            continue;
        }
        r->err = (struct err){ 0 };
        r->until = 0;
        enum authn_result result = a->ops->authenticate(a, r);
        if (result == AUTHN_WAIT) {
            r->waiting = true;
            return AUTHN_WAIT;
        }
        if (take_answer(r, result, &ret)) {
            return ret;
        }
    }
    return finish(r);
}

static enum authn_result start(struct authn_chain *c, struct authn_request *r, struct str token,
                               bool tokens_only)
{
    r->chain = c;
    r->next = 0;
    r->token = token;
    r->failures = STR_NULL;
    r->n_failures = 0;
    r->waiting = false;
    r->user = (struct auth_user){ 0 };
    r->err = (struct err){ 0 };
    r->ret_audiences = NULL;
    r->n_ret_audiences = 0;
    r->tokens_only = tokens_only;
    /* A certificate goes before a token, so the memory of tokens is asked only where no certificate
     * was shown. */
    if (r->token.ptr && (tokens_only || r->n_peer_chain == 0) && known_token(r)) {
        return finish_ok(r);
    }
    return run(r, tokens_only);
}

enum authn_result authn_start(struct authn_chain *c, struct authn_request *r)
{
    struct str token = token_of_header(r->authorization);
    if (!token.ptr) {
        token = token_of_ws(r->ws_protocols, r->arena);
    }
    return start(c, r, token, false);
}

enum authn_result authn_start_token(struct authn_chain *c, struct authn_request *r,
                                    struct str token)
{
    if (str_empty(token)) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "invalid bearer token");
        return AUTHN_FAILED;
    }
    return start(c, r, token, true);
}

void authn_resume(struct authn_request *r, enum authn_result result)
{
    enum authn_result ret;
    assert(r->waiting && result != AUTHN_WAIT);
    r->waiting = false;
    if (!take_answer(r, result, &ret)) {
        ret = run(r, r->tokens_only);
    }
    if (ret != AUTHN_WAIT) {
        r->done(r, ret);
    }
}

void authn_cancel(struct authn_request *r)
{
    if (r->waiting) {
        struct authn *a = r->chain->list[r->next];
        r->waiting = false;
        if (a->ops->cancel) {
            a->ops->cancel(a, r);
        }
    }
}
