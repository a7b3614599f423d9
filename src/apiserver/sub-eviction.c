/*
 * Eviction: a delete of a pod that its disruption budget must allow. The budget is charged first (status.disruptionsAllowed,
 * status.disruptedPods, by compare-and-put), then the pod is deleted by the stages of DELETE.
 */
#include "api/copy.h"
#include "api/gen/core_v1.h"
#include "api/gen/policy_v1.h"
#include "api/selector.h"
#include "apiserver/body.h"
#include "apiserver/limits.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"
#include "base/clock.h"

enum { DISRUPTED_PODS_MAX = 2000 };

struct budgets {
    struct request *r;
    const struct core_v1_pod *pod;
    const struct policy_v1_pod_disruption_budget *found;
    size_t n;
};

static bool look(void *ctx, const void *obj)
{
    struct budgets *b = ctx;
    const struct policy_v1_pod_disruption_budget *pdb = obj;
    struct selector s;
    struct err err;
    if (selector_from_label_selector(&b->r->arena, pdb->spec.selector, &s, &err) &&
        selector_matches(&s, b->pod->metadata.labels, b->pod->metadata.n_labels)) {
        b->found = pdb;
        b->n++;
    }
    return true;
}

static enum stage_result too_many(struct request *r, struct str why, int32_t retry)
{
    struct status_cause *c = arena_new(&r->arena, struct status_cause);
    r->status = (struct status){ .code = 429, .reason = STR("TooManyRequests"), .has_details = true, .retry_after = retry,
                                 .message = STR("Cannot evict pod as it would violate the pod's disruption budget.") };
    if (c) {
        *c = (struct status_cause){ .reason = STR("DisruptionBudget"), .message = why };
        r->status.causes = c;
        r->status.n_causes = 1;
    }
    return STAGE_ERROR;
}

static bool is_over(const struct core_v1_pod *pod)
{
    return str_eq_c(pod->status.phase, "Succeeded") || str_eq_c(pod->status.phase, "Failed") ||
           str_eq_c(pod->status.phase, "Pending") || pod->metadata.deletion_timestamp.set;
}

static bool is_ready(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->status.n_conditions; i++) {
        if (str_eq_c(pod->status.conditions[i].type, "Ready")) {
            return str_eq_c(pod->status.conditions[i].status, "True");
        }
    }
    return false;
}

static void on_charged(void *arg, const struct store_result *res)
{
    struct request *r = arg;
    r->pending--;
    if (r->cancelled) {
        r->waiting = false;
        r->ended = true;
        request_finish(r);
    } else if (res->status == STORE_OK) {
        r->verb_data = r; /* charged: a conflict of the pod's delete does not charge again */
        request_resume(r, STAGE_DONE);
    } else if (res->status == STORE_E_CONFLICT && ++r->conflicts < REQUEST_MAX_CONFLICTS) {
        request_again(r); /* somebody else was charged: look again */
    } else {
        status_internal(&r->status, &r->arena, "%s", store_status_text(res->status));
        request_resume(r, STAGE_ERROR);
    }
}

/* Takes one disruption off the budget. */
static enum stage_result charge(struct request *r, const struct policy_v1_pod_disruption_budget *found)
{
    struct rest *rest = registry_rest(r->srv, STR("policy"), STR("poddisruptionbudgets"));
    const struct object *there = watch_cache_get(rest->cache, found->metadata.namespace, found->metadata.name);
    struct policy_v1_pod_disruption_budget *pdb = api_copy(&r->arena, rest->hub->type, found);
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf key, value;
    buf_init(&key, 2048);
    buf_init(&value, 8u << 20);
    if (!there || !pdb) {
        return request_bad(r, "the object is too large");
    }
    struct api_time_entry *grown = arena_grow_n(&r->arena, pdb->status.disrupted_pods, pdb->status.n_disrupted_pods,
                                                pdb->status.n_disrupted_pods + 1, sizeof(*grown));
    if (!grown) {
        return request_bad(r, "the object is too large");
    }
    size_t at = pdb->status.n_disrupted_pods++;
    while (at > 0 && str_cmp(grown[at - 1].key, r->info.name) > 0) {
        grown[at] = grown[at - 1];
        at--;
    }
    grown[at] = (struct api_time_entry){ .key = r->info.name, .value = { .sec = clock_real_s(), .set = true } };
    pdb->status.disrupted_pods = grown;
    pdb->status.disruptions_allowed--;
    struct object *o = rest_publish(rest, &r->arena, pdb, &err);
    if (!o || !rest_encode_stored(rest, pdb, &value, &err)) {
        (void)object_unref(o);
        status_from_err(&r->status, &r->arena, &err);
        return STAGE_ERROR;
    }
    watch_cache_key(rest->cache, pdb->metadata.namespace, pdb->metadata.name, &key);
    struct store_write w = { .resource = watch_cache_resource(rest->cache), .key = buf_str(&key), .value = buf_str(&value),
                             .expect = object_revision(there), .object = o, .done = on_charged, .arg = r };
    r->pending++;
    store_write(r->srv->store, &w);
    (void)object_unref(o);
    return STAGE_WAIT;
}

static enum stage_result check_budget(struct request *r, const struct policy_v1_pod_disruption_budget *pdb)
{
    const struct policy_v1_pod_disruption_budget_status *s = &pdb->status;
    struct str name = pdb->metadata.name;
    if (s->observed_generation < pdb->metadata.generation) {
        return too_many(r, arena_printf(&r->arena, "The disruption budget %.*s is still being processed by the server.", STR_ARG(name)), 10);
    }
    if (s->n_disrupted_pods > DISRUPTED_PODS_MAX) {
        status_forbidden(&r->status, &r->arena, STR("policy"), STR("poddisruptionbudget"), name,
                         "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
        return STAGE_ERROR;
    }
    if (s->disruptions_allowed <= 0) {
        return too_many(r, arena_printf(&r->arena, "The disruption budget %.*s needs %d healthy pods and has %d currently",
                                        STR_ARG(name), s->desired_healthy, s->current_healthy), 0);
    }
    return r->opt.dry_run ? STAGE_DONE : charge(r, pdb);
}

/* Decodes the body and takes its delete options; before loading. */
enum stage_result stage_eviction_begin(struct request *r)
{
    struct body_type type = { .type = &policy_v1_eviction_type, .api_version = STR("policy/v1"), .kind = STR("Eviction") };
    /* policy/v1beta1 has the same shape. */
    if (str_find(r->body, STR("policy/v1beta1")) >= 0) {
        type.api_version = STR("policy/v1beta1");
    }
    struct policy_v1_eviction *e = body_decode(r, &type);
    if (!e) {
        return STAGE_ERROR;
    }
    if (!str_empty(e->metadata.name) && !str_eq(e->metadata.name, r->info.name)) {
        return request_bad(r, "name in URL does not match name in Eviction object");
    }
    if (e->delete_options) {
        const struct meta_v1_delete_options *d = e->delete_options;
        r->opt.has_grace = d->has_grace_period_seconds;
        r->opt.grace_s = d->grace_period_seconds;
        r->opt.propagation = d->propagation_policy;
        r->opt.dry_run |= d->n_dry_run > 0;
        if (d->preconditions) {
            r->opt.precondition_uid = d->preconditions->uid;
            r->opt.precondition_rv = d->preconditions->resource_version;
        }
    }
    return STAGE_DONE;
}

enum stage_result stage_eviction_budget(struct request *r)
{
    const struct core_v1_pod *pod = r->old;
    struct budgets b = { .r = r, .pod = pod };
    if (r->verb_data || is_over(pod)) {
        return STAGE_DONE;
    }
    r->srv->world.each(&r->srv->world, &r->arena, STR("policy"), STR("poddisruptionbudgets"), pod->metadata.namespace, look, &b);
    if (b.n > 1) {
        status_unclassified(&r->status, &r->arena,
                            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
        return STAGE_ERROR;
    }
    if (b.n == 0) {
        return STAGE_DONE;
    }
    bool always = str_eq_c(b.found->spec.unhealthy_pod_eviction_policy, "AlwaysAllow");
    bool guarded = b.found->status.current_healthy >= b.found->status.desired_healthy && b.found->status.desired_healthy > 0;
    if (!is_ready(pod) && (always || guarded)) {
        return STAGE_DONE; /* an unhealthy pod takes nothing off the budget */
    }
    return check_budget(r, b.found);
}

/* The pod goes by no fault of its own: condition DisruptionTarget, in the write that marks it. */
enum stage_result stage_eviction_tell(struct request *r)
{
    static const char type[] = "DisruptionTarget";
    struct core_v1_pod_status *st = &((struct core_v1_pod *)r->obj)->status;
    if (r->removing || r->unchanged) {
        return STAGE_DONE;
    }
    struct core_v1_pod_condition *all = arena_grow_n(&r->arena, st->conditions, st->n_conditions, st->n_conditions + 1, sizeof(*all));
    size_t at = 0;
    if (!all) {
        return request_bad(r, "the object is too large");
    }
    while (at < st->n_conditions && !str_eq_c(all[at].type, type)) {
        at++;
    }
    bool is_so = at < st->n_conditions && str_eq_c(all[at].status, "True");
    struct api_time now = { .sec = r->kctx.now_sec, .set = true };
    all[at] = (struct core_v1_pod_condition){ .type = str_c(type),
                                              .status = STR("True"),
                                              .reason = STR("EvictionByEvictionAPI"),
                                              .message = STR("Eviction API: evicting"),
                                              .last_transition_time = is_so ? all[at].last_transition_time : now };
    st->conditions = all;
    st->n_conditions = MAX(st->n_conditions, at + 1);
    return STAGE_DONE;
}
