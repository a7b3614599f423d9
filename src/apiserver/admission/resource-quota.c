/*
 * ResourceQuota: what is made in a namespace is charged to its quotas before it is stored (documentation, "Resource Quotas").
 *
 * The charge is a compare-and-put of the quota's status. Who loses the race waits until the cache has what the winner wrote, and looks
 * again; so no two requests take the same last place. Several quotas are charged one after the other. What was charged for a write that
 * then fails is given back by the controller's recount, as upstream has it.
 */
#include "api/copy.h"
#include "api/gen/core_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/limits.h"
#include "apiserver/request.h"
#include "base/clock.h"
#include "kinds/core/quota-usage.h"

/* What the plugin keeps while it waits. */
struct charges {
    struct str *done; /* names of quotas that are charged */
    size_t n_done, capacity;
    struct str current;
    unsigned conflicts;
    enum store_status failed; /* of the last write, unless it was made or lost a race */
};

struct pass {
    struct request *r;
    struct admission_attrs *attrs;
    struct charges *charges;
    struct amounts usage, old_usage; /* of the object as it will be and as it was */
    bool measured;
    const struct core_v1_resource_quota *charge; /* the first that is to be charged */
    struct amounts charged_used;                 /* its status.used then */
    enum stage_result result;
};

static enum stage_result too_large(struct request *r)
{
    return request_bad(r, "the object is too large");
}

/* ---- looking at one quota ---- */

static bool measure(struct pass *p)
{
    if (p->measured) {
        return true;
    }
    struct arena *a = &p->r->arena;
    int64_t now = clock_real_s();
    p->measured = true;
    return quota_usage(a, p->attrs->resource, p->attrs->obj, now, &p->usage) &&
           (!p->attrs->old || quota_usage(a, p->attrs->resource, p->attrs->old, now, &p->old_usage));
}

/* What the write adds under the names of the quota. */
static bool added(struct pass *p, const struct core_v1_resource_quota *q, struct amounts *ret)
{
    bool had = p->attrs->old && quota_selects(q, p->attrs->resource, p->attrs->old);
    for (size_t i = 0; i < q->status.n_hard; i++) {
        struct str name = q->status.hard[i].key;
        const struct amount *new = amounts_find(&p->usage, name), *old = had ? amounts_find(&p->old_usage, name) : NULL;
        struct quantity d = new ? (old ? quantity_sub(new->q, old->q) : new->q) : (struct quantity){ 0 };
        if (quantity_sign(d) > 0 && !amounts_set(&p->r->arena, ret, name, d)) {
            return false;
        }
    }
    return true;
}

static struct str append(struct arena *a, struct str list, struct str name, struct quantity q)
{
    return arena_printf(a, "%.*s%s%.*s=%.*s", STR_ARG(list), str_empty(list) ? "" : ",", STR_ARG(name), STR_ARG(quantity_str(a, q)));
}

/* 'ret_used': what is used with 'more'. */
static enum stage_result fits(struct pass *p, const struct core_v1_resource_quota *q, const struct amounts *more, struct amounts *ret_used)
{
    struct arena *a = &p->r->arena;
    struct amounts hard = { 0 }, used = { 0 };
    struct str requested = STR_EMPTY, have = STR_EMPTY, limit = STR_EMPTY;
    if (!amounts_add_pairs(a, &hard, q->status.hard, q->status.n_hard) || !amounts_add_pairs(a, &used, q->status.used, q->status.n_used)) {
        return too_large(p->r);
    }
    *ret_used = (struct amounts){ 0 };
    if (!amounts_add_all(a, ret_used, &used) || !amounts_add_all(a, ret_used, more)) {
        return too_large(p->r);
    }
    for (size_t i = 0; i < more->n; i++) {
        struct str name = more->items[i].name;
        const struct amount *h = amounts_find(&hard, name), *n = amounts_find(ret_used, name), *u = amounts_find(&used, name);
        if (h && n && quantity_cmp(n->q, h->q) > 0) {
            requested = append(a, requested, name, more->items[i].q);
            have = append(a, have, name, u ? u->q : (struct quantity){ 0 });
            limit = append(a, limit, name, h->q);
        }
    }
    if (str_empty(requested)) {
        return STAGE_DONE;
    }
    return admission_deny(p->r, p->attrs, "exceeded quota: %.*s, requested: %.*s, used: %.*s, limited: %.*s", STR_ARG(q->metadata.name),
                          STR_ARG(requested), STR_ARG(have), STR_ARG(limit));
}

/* Names of the quota that the object's resource is counted under; all of them must have been counted once. */
static enum stage_result check_names(struct pass *p, const struct core_v1_resource_quota *q, const struct str *names, size_t n)
{
    struct arena *a = &p->r->arena;
    bool known = true;
    struct str list = STR_EMPTY;
    if (admission_is(p->attrs, "", "pods", p->attrs->subresource.len ? "resize" : "")) {
        struct str missing = quota_missing(a, p->attrs->obj, names, n);
        if (!str_empty(missing)) {
            return admission_deny(p->r, p->attrs, "failed quota: %.*s: must specify %.*s", STR_ARG(q->metadata.name), STR_ARG(missing));
        }
    }
    for (size_t i = 0; i < n; i++) {
        bool there = false;
        for (size_t k = 0; k < q->status.n_used && !there; k++) {
            there = str_eq(q->status.used[k].key, names[i]);
        }
        known &= there;
        list = arena_printf(a, "%.*s%s%.*s", STR_ARG(list), i ? "," : "", STR_ARG(names[i]));
    }
    return known ? STAGE_DONE
                 : admission_deny(p->r, p->attrs, "status unknown for quota: %.*s, resources: %.*s", STR_ARG(q->metadata.name), STR_ARG(list));
}

static bool is_charged(const struct charges *c, struct str name)
{
    for (size_t i = 0; c && i < c->n_done; i++) {
        if (str_eq(c->done[i], name)) {
            return true;
        }
    }
    return false;
}

static bool one_quota(void *ctx, const void *obj)
{
    struct pass *p = ctx;
    const struct core_v1_resource_quota *q = obj;
    struct amounts more = { 0 }, used;
    if (is_charged(p->charges, q->metadata.name)) {
        return true;
    }
    struct str *names = arena_new_n(&p->r->arena, struct str, q->status.n_hard + 1);
    size_t n = 0;
    for (size_t i = 0; names && i < q->status.n_hard; i++) {
        if (quota_counts(p->attrs->resource, q->status.hard[i].key)) {
            names[n++] = q->status.hard[i].key;
        }
    }
    if (names && (n == 0 || !quota_selects(q, p->attrs->resource, p->attrs->obj))) {
        return true;
    }
    if (!names || !measure(p)) {
        p->result = too_large(p->r);
        return false;
    }
    p->result = check_names(p, q, names, n);
    if (p->result == STAGE_DONE && !added(p, q, &more)) {
        p->result = too_large(p->r);
    }
    if (p->result == STAGE_DONE && more.n > 0) {
        p->result = fits(p, q, &more, &used);
        if (p->result == STAGE_DONE && !p->charge) {
            p->charge = q;
            p->charged_used = used;
        }
    }
    return p->result == STAGE_DONE;
}

/* ---- charging ---- */

static void on_caught_up(void *arg, enum store_status status)
{
    struct request *r = arg;
    r->rv_waiting = false;
    if (status != STORE_OK) {
        ((struct charges *)r->attrs.plugin_data)->failed = status;
    }
    request_again(r);
}

static void on_charged(void *arg, const struct store_result *res)
{
    struct request *r = arg;
    struct charges *c = r->attrs.plugin_data;
    r->pending--;
    if (r->cancelled) {
        r->waiting = false;
        r->ended = true;
        request_finish(r);
        return;
    }
    if (res->status == STORE_OK) {
        c->done[c->n_done++] = c->current;
    } else if (res->status == STORE_E_CONFLICT && ++c->conflicts < QUOTA_MAX_CONFLICTS) {
        struct rest *rest = registry_rest(r->srv, STR_EMPTY, STR("resourcequotas"));
        if (!watch_cache_wait(rest->cache, &r->rv_wait, res->revision, on_caught_up, r)) {
            r->rv_waiting = true;
            return;
        }
    } else {
        c->failed = res->status;
    }
    request_again(r);
}

static enum stage_result charge(struct pass *p)
{
    struct request *r = p->r;
    struct charges *c = p->charges;
    struct rest *rest = registry_rest(r->srv, STR_EMPTY, STR("resourcequotas"));
    struct core_v1_resource_quota q = *p->charge;
    struct err err = { 0 };
    uint64_t revision = 0;
    CLEANUP(buf_deinit) struct buf key, value;
    buf_init(&key, 2048);
    buf_init(&value, 8u << 20);
    if (!c) {
        c = r->attrs.plugin_data = arena_new(&r->arena, struct charges);
    }
    if (!c || !str_to_u64(q.metadata.resource_version, &revision) ||
        !amounts_pairs(&r->arena, &p->charged_used, &q.status.used, &q.status.n_used)) {
        return too_large(r);
    }
    if (c->n_done == c->capacity) {
        struct str *grown = arena_grow_n(&r->arena, c->done, c->capacity, c->capacity + 8, sizeof(*grown));
        if (!grown) {
            return too_large(r);
        }
        c->done = grown;
        c->capacity += 8;
    }
    c->current = q.metadata.name;
    struct object *o = rest_publish(rest, &r->arena, &q, &err);
    if (!o || !rest_encode_stored(rest, &q, &value, &err)) {
        (void)object_unref(o);
        status_from_err(&r->status, &r->arena, &err);
        return STAGE_ERROR;
    }
    watch_cache_key(rest->cache, q.metadata.namespace, q.metadata.name, &key);
    struct store_write w = { .resource = watch_cache_resource(rest->cache), .key = buf_str(&key), .value = buf_str(&value),
                             .expect = (int64_t)revision, .object = o, .done = on_charged, .arg = r };
    r->pending++;
    store_write(r->srv->store, &w);
    (void)object_unref(o);
    return STAGE_WAIT;
}

/* ---- the plugin ---- */

/* Most resources are charged when they are made; some use more or less later. */
static bool is_charged_now(const struct admission_attrs *attrs)
{
    if (str_empty(attrs->ns) || !quota_is_counted(attrs->resource)) {
        return false;
    }
    if (str_empty(attrs->subresource)) {
        return attrs->op == ADMIT_CREATE || admission_is(attrs, "", "services", "") || admission_is(attrs, "", "persistentvolumeclaims", "");
    }
    return admission_is(attrs, "", "pods", "resize");
}

static enum stage_result validate(struct request *r, struct admission_attrs *attrs)
{
    struct pass p = { .r = r, .attrs = attrs, .charges = attrs->plugin_data, .result = STAGE_DONE };
    if (!is_charged_now(attrs)) {
        return STAGE_DONE;
    }
    if (p.charges && p.charges->failed != STORE_OK) {
        if (p.charges->failed == STORE_E_CONFLICT) {
            status_conflict(&r->status, &r->arena, STR_EMPTY, STR("resourcequotas"), p.charges->current, STATUS_MODIFIED);
        } else {
            status_store_failed(&r->status, p.charges->failed);
        }
        return STAGE_ERROR;
    }
    const struct kind_world *w = admission_world(r);
    w->each(w, &r->arena, STR_EMPTY, STR("resourcequotas"), attrs->ns, one_quota, &p);
    return p.result == STAGE_DONE && p.charge && !attrs->dry_run ? charge(&p) : p.result;
}

const struct admission_plugin admission_resource_quota = {
    .name = STR_INIT("ResourceQuota"),
    .ops = ADMIT_CREATE | ADMIT_UPDATE,
    .default_on = true,
    .validate = validate,
};
