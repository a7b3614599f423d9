/*
 * Mode Webhook: an apiserver is asked (SubjectAccessReview). Both answers are remembered for a while. When nobody answers there is no
 * opinion, which is no, or a denial, as the configuration says.
 */
#include "api/gen/authorization_v1.h"
#include "auth/auth-cache.h"
#include "auth/authz-table.h"
#include "auth/limits.h"
#include "base/clock.h"
#include "auth/authn.h"
#include "auth/review-post.h"
#include "base/list.h"

struct decision {
    uint8_t digest[32];
    uint64_t until_ms; /* 0: empty */
    enum authz_result result;
};

struct authz_webhook {
    struct authz authz;
    struct review_target target;
    struct list reviews; /* under way */
    unsigned n_reviews;
    uint64_t allowed_ttl_ms, denied_ttl_ms;
    bool fail_denies;
    struct decision decisions[AUTH_DECISION_SLOTS];
};

struct review {
    struct list link;
    struct authz_webhook *owner;
    struct authz_request *r;
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

static uint64_t ttl_ms(uint32_t s, uint32_t fallback)
{
    return s == AUTH_TTL_NONE ? 0 : 1000ull * (s ? s : fallback);
}

static bool webhook_open(const struct authz_config *cfg, struct authz **ret, struct err *err)
{
    struct review_target target;
    if (!cfg->review_client) {
        return err_set(err, ERR_INVALID, "authorization-mode Webhook needs somebody to ask (a kubeconfig)");
    }
    if (!review_target_init(&target, cfg->review_client, "authorization.k8s.io", "subjectaccessreviews", cfg->review_webhook,
                            cfg->review_version, err)) {
        return false;
    }
    struct authz_webhook *w = calloc(1, sizeof(*w));
    if (!w) {
        abort();
    }
    w->authz.ops = &authz_webhook_ops;
    w->target = target;
    w->fail_denies = cfg->fail_denies;
    w->allowed_ttl_ms = ttl_ms(cfg->review_allowed_ttl_s, AUTH_REVIEW_ALLOWED_TTL_S);
    w->denied_ttl_ms = ttl_ms(cfg->review_denied_ttl_s, AUTH_REVIEW_DENIED_TTL_S);
    list_init(&w->reviews);
    *ret = &w->authz;
    return true;
}

static void webhook_free(struct authz *self)
{
    struct authz_webhook *w = CONTAINER_OF(self, struct authz_webhook, authz);
    LIST_FOREACH (&w->reviews, struct review, link, v) {
        review_post_cancel(v->post);
        review_free(v);
    }
    free(w);
}

static void webhook_cancel(struct authz *self, struct authz_request *r)
{
    struct review *v = r->wait_data;
    (void)self;
    review_post_cancel(v->post);
    review_free(v);
}

/* ---- what was asked before ---- */

/* Everything the answer may depend on, as one hash. False when it is too much to be remembered. */
static bool digest_of(const struct authz_attributes *a, uint8_t ret[32])
{
    enum { MAX = 256 };
    struct str pieces[MAX];
    size_t n = 0;
    const struct auth_user *u = a->user;
    const struct str fixed[] = { u->name, u->uid, a->verb, a->resource_request ? STR("r") : STR("p"), a->namespace_, a->api_group,
                                 a->api_version, a->resource, a->subresource, a->name, a->path };
    memcpy(pieces, fixed, sizeof(fixed));
    n = ARRAY_SIZE(fixed);
    /* Counts and texts both go in, so that no list can be taken for the next one. */
    if (n + 1 + u->n_groups > MAX) {
        return false;
    }
    pieces[n++] = str_n((const char *)&u->n_groups, sizeof(u->n_groups));
    for (size_t i = 0; i < u->n_groups; i++) {
        pieces[n++] = u->groups[i];
    }
    for (size_t i = 0; i < u->n_extra; i++) {
        if (n + 2 + u->extra[i].n_values > MAX) {
            return false;
        }
        pieces[n++] = u->extra[i].key;
        pieces[n++] = str_n((const char *)&u->extra[i].n_values, sizeof(u->extra[i].n_values));
        for (size_t k = 0; k < u->extra[i].n_values; k++) {
            pieces[n++] = u->extra[i].values[k];
        }
    }
    if (a->n_fields > 0 || a->n_labels > 0) {
        return false; /* lists with selectors are rare here */
    }
    auth_cache_digest(pieces, n, ret);
    return true;
}

static struct decision *slot_of(struct authz_webhook *w, const uint8_t digest[32])
{
    return &w->decisions[((size_t)digest[0] | (size_t)digest[1] << 8) % AUTH_DECISION_SLOTS];
}

static void remember(struct authz_webhook *w, const uint8_t digest[32], enum authz_result result)
{
    static const uint8_t none[32];
    if (memcmp(digest, none, sizeof(none)) == 0) {
        return;
    }
    struct decision *d = slot_of(w, digest);
    memcpy(d->digest, digest, sizeof(d->digest));
    d->result = result;
    d->until_ms = clock_mono_ms() + (result == AUTHZ_ALLOW ? w->allowed_ttl_ms : w->denied_ttl_ms);
}

/* ---- the answer ---- */

static enum authz_result judge(struct review *v, const struct authorization_v1_subject_access_review *s, const struct err *err)
{
    struct authz_request *r = v->r;
    if (!s) {
        const char *who = v->owner->target.webhook ? "webhook" : "apiserver";
        (void)err_set(&r->err, ERR_UNAVAILABLE, "the %s could not be asked for the right: %s", who, err->msg);
        r->reason = arena_printf(r->arena, "the %s could not be asked for the right", who);
        return v->owner->fail_denies ? AUTHZ_DENY : AUTHZ_NO_OPINION;
    }
    enum authz_result result =
        s->status.allowed && !s->status.denied ? AUTHZ_ALLOW : s->status.denied ? AUTHZ_DENY : AUTHZ_NO_OPINION;
    r->reason = arena_str(r->arena, s->status.reason);
    remember(v->owner, v->digest, result);
    return result;
}

static void on_answer(void *data, const void *object, const struct err *err)
{
    struct review *v = data;
    struct authz_request *r = v->r;
    enum authz_result result = judge(v, object, err);
    review_free(v);
    authz_resume(r, result);
}

/* ---- the question ---- */

static struct str *copy_strs(struct arena *a, const struct str *src, size_t n)
{
    struct str *dst = arena_new_n(a, struct str, n + 1);
    for (size_t i = 0; dst && i < n; i++) {
        dst[i] = src[i];
    }
    return dst;
}

/* Selectors narrow the question (KEP-4601). */
static bool fill_fields(struct authz_request *r, struct authorization_v1_resource_attributes *ret)
{
    const struct authz_attributes *a = &r->attr;
    ret->field_selector = arena_new(r->arena, struct authorization_v1_field_selector_attributes);
    struct meta_v1_field_selector_requirement *list = arena_new_n(r->arena, struct meta_v1_field_selector_requirement, a->n_fields);
    if (!ret->field_selector || !list) {
        return false;
    }
    for (size_t i = 0; i < a->n_fields; i++) {
        list[i] = (struct meta_v1_field_selector_requirement){
            .key = a->fields[i].key, .operator = a->fields[i].op,
            .values = copy_strs(r->arena, a->fields[i].values, a->fields[i].n_values), .n_values = a->fields[i].n_values,
        };
    }
    ret->field_selector->requirements = list;
    ret->field_selector->n_requirements = a->n_fields;
    return true;
}

static bool fill_labels(struct authz_request *r, struct authorization_v1_resource_attributes *ret)
{
    const struct authz_attributes *a = &r->attr;
    ret->label_selector = arena_new(r->arena, struct authorization_v1_label_selector_attributes);
    struct meta_v1_label_selector_requirement *list = arena_new_n(r->arena, struct meta_v1_label_selector_requirement, a->n_labels);
    if (!ret->label_selector || !list) {
        return false;
    }
    for (size_t i = 0; i < a->n_labels; i++) {
        list[i] = (struct meta_v1_label_selector_requirement){
            .key = a->labels[i].key, .operator = a->labels[i].op,
            .values = copy_strs(r->arena, a->labels[i].values, a->labels[i].n_values), .n_values = a->labels[i].n_values,
        };
    }
    ret->label_selector->requirements = list;
    ret->label_selector->n_requirements = a->n_labels;
    return true;
}

/* Fills the body, borrowing from the request and its arena. */
static bool fill(struct authz_request *r, struct authorization_v1_subject_access_review *s)
{
    const struct authz_attributes *a = &r->attr;
    const struct auth_user *u = a->user;
    struct authorization_v1_subject_access_review_spec *spec = &s->spec;
    struct api_str_list_entry *extra = arena_new_n(r->arena, struct api_str_list_entry, u->n_extra + 1);
    spec->groups = copy_strs(r->arena, u->groups, u->n_groups);
    if (!extra || !spec->groups) {
        return false;
    }
    spec->user = u->name;
    spec->uid = u->uid;
    spec->n_groups = u->n_groups;
    for (size_t i = 0; i < u->n_extra; i++) {
        extra[i].key = u->extra[i].key;
        extra[i].value.items = copy_strs(r->arena, u->extra[i].values, u->extra[i].n_values);
        extra[i].value.n = u->extra[i].n_values;
        if (!extra[i].value.items) {
            return false;
        }
    }
    spec->extra = extra;
    spec->n_extra = u->n_extra;
    if (!a->resource_request) {
        spec->non_resource_attributes = arena_new(r->arena, struct authorization_v1_non_resource_attributes);
        if (!spec->non_resource_attributes) {
            return false;
        }
        spec->non_resource_attributes->path = a->path;
        spec->non_resource_attributes->verb = a->verb;
        return true;
    }
    spec->resource_attributes = arena_new(r->arena, struct authorization_v1_resource_attributes);
    if (!spec->resource_attributes) {
        return false;
    }
    *spec->resource_attributes = (struct authorization_v1_resource_attributes){
        .namespace = a->namespace_,
        .verb = a->verb,
        .group = a->api_group,
        .version = a->api_version,
        .resource = a->resource,
        .subresource = a->subresource,
        .name = a->name,
    };
    return (a->n_fields == 0 || fill_fields(r, spec->resource_attributes)) &&
           (a->n_labels == 0 || fill_labels(r, spec->resource_attributes));
}

static enum authz_result webhook_authorize(struct authz *self, struct authz_request *r)
{
    struct authz_webhook *w = CONTAINER_OF(self, struct authz_webhook, authz);
    uint8_t digest[32] = { 0 };
    if (digest_of(&r->attr, digest)) {
        const struct decision *d = slot_of(w, digest);
        if (clock_mono_ms() < d->until_ms && memcmp(d->digest, digest, sizeof(digest)) == 0) {
            return d->result;
        }
    }
    struct authorization_v1_subject_access_review s = { 0 };
    struct review *v = w->n_reviews < AUTH_MAX_REVIEWS && fill(r, &s) ? calloc(1, sizeof(*v)) : NULL;
    if (!v) {
        (void)err_set(&r->err, ERR_UNAVAILABLE, "too many rights are being reviewed, %d at once", AUTH_MAX_REVIEWS);
        return w->fail_denies ? AUTHZ_DENY : AUTHZ_NO_OPINION;
    }
    *v = (struct review){ .owner = w, .r = r };
    memcpy(v->digest, digest, sizeof(digest));
    v->post = review_post_start(&w->target, &s, on_answer, v, &r->err);
    if (!v->post) {
        r->err.code = ERR_UNAVAILABLE;
        free(v);
        return w->fail_denies ? AUTHZ_DENY : AUTHZ_NO_OPINION;
    }
    list_push_back(&w->reviews, &v->link);
    w->n_reviews++;
    r->wait_data = v;
    return AUTHZ_WAIT;
}

const struct authz_ops authz_webhook_ops = {
    .mode = STR_INIT("Webhook"),
    .open = webhook_open,
    .authorize = webhook_authorize,
    .cancel = webhook_cancel,
    .free = webhook_free,
};
