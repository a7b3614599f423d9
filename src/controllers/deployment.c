/*
 * deployment: one ReplicaSet per template, moved from old to new step by step ("Deployments"). A
 * pass: sort the sets, bring a changed spec.replicas to them, or take one step of the strategy,
 * then write the status.
 */
#include <stdlib.h>

#include "api/int-or-string.h"
#include "controllers/controllers.h"
#include "controllers/deployment-private.h"
#include "controllers/owner.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"

struct state {
    struct controller *controller;
    const struct api_resource *deployments_resource, *replicasets_resource;
    struct informer *deployments;
    struct claimable replicasets;
    struct informer_index *pods_by_owner;
};

static void on_set(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct apps_v1_replica_set *a = old, *b = obj;
    if (a) {
        owner_enqueue(s->controller, "Deployment", &a->metadata);
    }
    if (b) {
        owner_enqueue(s->controller, "Deployment", &b->metadata);
    }
    if (b && owner_is_wanted_anew(a ? &a->metadata : NULL, &b->metadata)) {
        /* A Deployment of its namespace may adopt it. */
        const void *d;
        for (size_t pos = 0; (d = informer_next_in(s->deployments, b->metadata.namespace, &pos));) {
            controller_enqueue_obj(s->controller, &apps_v1_deployment_type, d);
        }
    }
}

/* A pod of an old set is gone: a Recreate may go on. */
static void on_pod(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct core_v1_pod *p = old;
    const struct meta_v1_owner_reference *o = p && !obj ? meta_controller_of(&p->metadata) : NULL;
    if (o && str_eq(o->kind, STR("ReplicaSet"))) {
        const struct apps_v1_replica_set *rs =
            informer_get(s->replicasets.informer, p->metadata.namespace, o->name);
        if (rs) {
            owner_enqueue(s->controller, "Deployment", &rs->metadata);
        }
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const pod_fields[] = { POD_FACT_FIELDS, "metadata.ownerReferences", NULL };
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    s->deployments = informer_of_keys(c, informers, "apps", "deployments", whole_objects);
    claimable_init(&s->replicasets,
                   informer_of(informers, "apps", "replicasets", whole_objects, on_set, s));
    controller_needs(c, s->replicasets.informer);
    s->pods_by_owner =
        informer_index(informer_of(informers, "", "pods", pod_fields, on_pod, s), "controller",
                       informer_by_controller_uid);
    s->deployments_resource = informer_resource(s->deployments);
    s->replicasets_resource = informer_resource(s->replicasets.informer);
    return s;
}

static bool is_recreate(const struct apps_v1_deployment *d)
{
    return str_eq(d->spec.strategy.type, STR("Recreate"));
}

/* maxSurge rounds up, maxUnavailable down; both zero would never move, so then one may be
 * unavailable. */
static void resolve_limits(struct rollout *r)
{
    const struct apps_v1_rolling_update_deployment *u = r->d->spec.strategy.rolling_update;
    static const struct api_int_or_string quarter = { .kind = API_IOS_STRING,
                                                      .s = STR_INIT("25%") };
    if (is_recreate(r->d)) {
        return;
    }
    const struct api_int_or_string *surge =
        u && u->max_surge.kind != API_IOS_UNSET ? &u->max_surge : &quarter;
    const struct api_int_or_string *unavailable =
        u && u->max_unavailable.kind != API_IOS_UNSET ? &u->max_unavailable : &quarter;
    if (!ios_scaled(surge, r->replicas, true, &r->max_surge, NULL)) {
        r->max_surge = 0;
    }
    if (!ios_scaled(unavailable, r->replicas, false, &r->max_unavailable, NULL)) {
        r->max_unavailable = 0;
    }
    if (r->max_surge == 0 && r->max_unavailable == 0) {
        r->max_unavailable = 1;
    }
    r->max_unavailable = MIN(r->max_unavailable, r->replicas);
}

static bool old_pods_run(const struct state *s, const struct rollout *r)
{
    for (size_t i = 0; i < r->n_old; i++) {
        const struct core_v1_pod *p;
        for (size_t pos = 0;
             (p = informer_index_next(s->pods_by_owner, r->old[i]->metadata.uid, &pos));) {
            if (!str_eq(p->status.phase, STR("Succeeded")) &&
                !str_eq(p->status.phase, STR("Failed"))) {
                return true;
            }
        }
    }
    return false;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    struct selector selector;
    str_cut(key, '/', &ns, &name);
    const struct apps_v1_deployment *d = informer_get(s->deployments, ns, name);
    if (!d || !selector_from_label_selector(act_arena(a), d->spec.selector, &selector, NULL)) {
        return;
    }
    if (selector_is_everything(&selector)) {
        act_event(a, s->deployments_resource, d, "Warning", "SelectingAll",
                  "This deployment is selecting all pods. A non-empty selector is required.");
        return;
    }
    struct meta_v1_owner_reference owner =
        owner_reference(act_arena(a), s->deployments_resource, &d->metadata);
    struct owned sets = owner_claim(a, &s->replicasets, &owner, ns, &selector,
                                    d->metadata.deletion_timestamp.set);
    if (sets.adopts) {
        return; /* the next pass counts them: one may have the template already */
    }
    struct rollout r = {
        .a = a,
        .deployments = s->deployments_resource,
        .replicasets = s->replicasets_resource,
        .d = d,
        .replicas = d->spec.has_replicas ? d->spec.replicas : 1,
        .collisions = d->status.collision_count,
        .collided = d->status.has_collision_count,
    };
    resolve_limits(&r);
    rollout_sort_sets(&r, sets.items, sets.n);
    r.pods_left = is_recreate(d) && old_pods_run(s, &r);
    if (!d->metadata.deletion_timestamp.set) {
        if (d->spec.paused || rollout_is_scaling(&r)) {
            if (r.new_set) {
                rollout_ensure_new_set(&r);
            }
            rollout_scale_in_proportion(&r);
        } else {
            rollout_step(&r);
        }
        if (!r.wrote) {
            rollout_clean_up(&r);
        }
    }
    rollout_write_status(&r);
}

const struct controller_ops controller_deployment = {
    .name = "deployment",
    .service_account = "deployment-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
