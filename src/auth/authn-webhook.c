/*
 * Tokens that an apiserver is asked about (TokenReview): how a kubelet knows service accounts and everybody else who has a token.
 * The answer yes is remembered for a while; a no is not, since another authenticator may know the token by then.
 */
#include "api/gen/authentication_v1.h"
#include "auth/auth-cache.h"
#include "auth/authn-table.h"
#include "auth/limits.h"
#include "auth/review-post.h"
#include "base/list.h"

struct authn_webhook {
    struct authn authn;
    struct review_target target;
    struct auth_cache *cache;
    struct list reviews; /* under way */
    unsigned n_reviews;
    int64_t ttl_s;
    struct arena arena;
    struct str *audiences; /* of this server; none for those that leave them to the apiserver they ask */
    size_t n_audiences;
};

struct review {
    struct list link;
    struct authn_webhook *owner;
    struct authn_request *r;
    struct review_post *post;
    uint8_t digest[32];
};

static void review_free(struct review *v)
{
    list_remove(&v->link);
    v->owner->n_reviews--;
    free(v);
}

/* ---- lifecycle ---- */

static bool webhook_open(const struct authn_config *cfg, struct authn **ret, struct err *err)
{
    if (!cfg->review_client) {
        *ret = NULL;
        return true;
    }
    struct review_target target;
    if (!review_target_init(&target, cfg->review_client, "authentication.k8s.io", "tokenreviews", cfg->review_webhook, cfg->review_version,
                            err)) {
        return false;
    }
    struct authn_webhook *w = calloc(1, sizeof(*w));
    if (!w) {
        abort();
    }
    *w = (struct authn_webhook){
        .authn = { &authn_webhook_ops },
        .target = target,
        .cache = auth_cache_new(),
        .ttl_s = cfg->review_ttl_s == AUTH_TTL_NONE ? 0 : cfg->review_ttl_s ? cfg->review_ttl_s : AUTH_REVIEW_TTL_S,
    };
    arena_init(&w->arena, ARENA_NO_BUDGET);
    bool own = cfg->n_api_audiences > 0;
    const struct str *audiences = own ? cfg->api_audiences : cfg->service_account_issuers;
    w->n_audiences = cfg->review_webhook ? (own ? cfg->n_api_audiences : cfg->n_service_account_issuers) : 0;
    w->audiences = arena_new_n(&w->arena, struct str, w->n_audiences + 1);
    for (size_t i = 0; i < w->n_audiences; i++) {
        w->audiences[i] = arena_str(&w->arena, audiences[i]);
    }
    list_init(&w->reviews);
    *ret = &w->authn;
    return true;
}

static void webhook_free(struct authn *self)
{
    struct authn_webhook *w = CONTAINER_OF(self, struct authn_webhook, authn);
    LIST_FOREACH (&w->reviews, struct review, link, v) {
        review_post_cancel(v->post);
        review_free(v);
    }
    auth_cache_free(w->cache);
    arena_deinit(&w->arena);
    free(w);
}

static void webhook_cancel(struct authn *self, struct authn_request *r)
{
    struct review *v = r->wait_data;
    (void)self;
    review_post_cancel(v->post);
    review_free(v);
}

/* ---- the answer ---- */

static bool user_of(const struct authentication_v1_user_info *info, struct arena *a, struct auth_user *ret)
{
    struct auth_extra *extra = arena_new_n(a, struct auth_extra, info->n_extra + 1);
    if (!extra) {
        return false;
    }
    for (size_t i = 0; i < info->n_extra; i++) {
        extra[i] = (struct auth_extra){
            .key = info->extra[i].key,
            .values = info->extra[i].value.items,
            .n_values = info->extra[i].value.n,
        };
    }
    struct auth_user u = {
        .name = info->username,
        .uid = info->uid,
        .groups = info->groups,
        .n_groups = info->n_groups,
        .extra = extra,
        .n_extra = info->n_extra,
    };
    return auth_user_copy(ret, &u, a);
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

/* Does the answer hold an audience that was asked for? A webhook that knows none speaks for this server's own. Where none were asked
 * for, whatever the server takes is meant. */
static bool take_audiences(const struct authn_webhook *w, struct authn_request *r, const struct authentication_v1_token_review_status *s)
{
    bool silent = w->target.webhook && s->n_audiences == 0;
    const struct str *got = silent ? w->audiences : s->audiences;
    size_t n_got = silent ? w->n_audiences : s->n_audiences;
    const struct str *want = r->n_audiences ? r->audiences : w->audiences;
    size_t n_want = r->n_audiences ? r->n_audiences : w->n_audiences;
    r->ret_audiences = arena_new_n(r->arena, struct str, n_want + 1);
    r->n_ret_audiences = 0;
    for (size_t i = 0; r->ret_audiences && i < n_want; i++) {
        if (is_one_of(got, n_got, want[i])) {
            r->ret_audiences[r->n_ret_audiences++] = want[i];
        }
    }
    return n_want == 0 || r->n_ret_audiences > 0;
}

static enum authn_result judge(struct review *v, const struct authentication_v1_token_review *t, const struct err *err)
{
    struct authn_request *r = v->r;
    if (!t) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "the %s could not be asked about a token: %s",
                      v->owner->target.webhook ? "webhook" : "apiserver", err->msg);
        return AUTHN_FAILED;
    }
    if (!t->status.authenticated) {
        if (str_empty(t->status.error)) {
            return AUTHN_NONE;
        }
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "%.*s", STR_ARG(t->status.error));
        return AUTHN_FAILED;
    }
    if (str_empty(t->status.user.username) || !take_audiences(v->owner, r, &t->status)) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "the token is for other audiences, or for nobody");
        return AUTHN_FAILED;
    }
    if (!user_of(&t->status.user, r->arena, &r->user)) {
        (void)err_set(&r->err, ERR_NO_MEMORY, "out of memory while a user was built");
        return AUTHN_FAILED;
    }
    auth_cache_put(v->owner->cache, v->digest, r->now + v->owner->ttl_s, &r->user, STR("webhook"), r->ret_audiences,
                   r->n_ret_audiences);
    return AUTHN_OK;
}

static void on_answer(void *data, const void *object, const struct err *err)
{
    struct review *v = data;
    struct authn_request *r = v->r;
    enum authn_result result = judge(v, object, err);
    review_free(v);
    authn_resume(r, result);
}

/* ---- the question ---- */

static bool known(struct authn_webhook *w, struct authn_request *r, const uint8_t digest[32])
{
    const struct str *audiences = NULL;
    size_t n = 0;
    const struct auth_user *u = auth_cache_get(w->cache, digest, r->now, NULL, &audiences, &n);
    struct str *copy = u ? arena_new_n(r->arena, struct str, n + 1) : NULL;
    if (!copy || !auth_user_copy(&r->user, u, r->arena)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        copy[i] = arena_str(r->arena, audiences[i]);
    }
    r->ret_audiences = copy;
    r->n_ret_audiences = n;
    return true;
}

static enum authn_result webhook_authenticate(struct authn *self, struct authn_request *r)
{
    struct authn_webhook *w = CONTAINER_OF(self, struct authn_webhook, authn);
    struct str pieces[1 + AUTH_MAX_AUDIENCES] = { r->token };
    uint8_t digest[32];
    if (r->n_audiences > AUTH_MAX_AUDIENCES) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "more than %d audiences", AUTH_MAX_AUDIENCES);
        return AUTHN_FAILED;
    }
    for (size_t i = 0; i < r->n_audiences; i++) {
        pieces[1 + i] = r->audiences[i];
    }
    auth_cache_digest(pieces, 1 + r->n_audiences, digest);
    if (known(w, r, digest)) {
        return AUTHN_OK;
    }
    if (w->n_reviews == AUTH_MAX_REVIEWS) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "too many tokens are being reviewed, %d at once", AUTH_MAX_REVIEWS);
        return AUTHN_FAILED;
    }
    const struct str *want = r->n_audiences ? r->audiences : w->audiences;
    size_t n_want = r->n_audiences ? r->n_audiences : w->n_audiences;
    struct str *audiences = arena_new_n(r->arena, struct str, n_want + 1);
    struct review *v = calloc(1, sizeof(*v));
    if (!v || !audiences) {
        abort();
    }
    for (size_t i = 0; i < n_want; i++) {
        audiences[i] = want[i];
    }
    *v = (struct review){ .owner = w, .r = r };
    memcpy(v->digest, digest, sizeof(digest));
    struct authentication_v1_token_review t = {
        .spec = { .token = r->token, .audiences = audiences, .n_audiences = n_want },
    };
    v->post = review_post_start(&w->target, &t, on_answer, v, &r->err);
    if (!v->post) {
        free(v);
        return AUTHN_FAILED;
    }
    list_push_back(&w->reviews, &v->link);
    w->n_reviews++;
    r->wait_data = v;
    return AUTHN_WAIT;
}

const struct authn_ops authn_webhook_ops = {
    .name = "webhook",
    .bearer = true,
    .audiences = true,
    .open = webhook_open,
    .authenticate = webhook_authenticate,
    .cancel = webhook_cancel,
    .free = webhook_free,
};
