/*
 * disruption: the status of PodDisruptionBudgets ("Specifying a Disruption Budget"): how many of
 * the pods that a budget selects are healthy, how many must be, and so how many may be evicted now.
 * The apiserver charges each eviction to status.disruptedPods; such a pod does not count as healthy
 * until it is gone, or two minutes went by and it is still there.
 */
#include <stdlib.h>

#include "api/equal.h"
#include "api/gen/apps_v1.h"
#include "api/gen/policy_v1.h"
#include "api/int-or-string.h"
#include "client/label-index.h"
#include "controllers/controllers.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"

/* So long an evicted pod has to be deleted. */
#define DELETION_S 120

typedef struct policy_v1_pod_disruption_budget budget_t;

struct state {
    struct controller *controller;
    const struct api_resource *budgets_resource;
    struct informer *budgets, *pods, *sets, *controllers, *stateful, *deployments;
    struct informer_index *pods_by_label;
};

static bool selects(const budget_t *b, const struct core_v1_pod *pod)
{
    struct arena a;
    struct selector selector;
    arena_init(&a, 1 << 20);
    bool yes = selector_from_label_selector(&a, b->spec.selector, &selector, NULL) &&
               selector_matches(&selector, pod->metadata.labels, pod->metadata.n_labels);
    arena_deinit(&a);
    return yes;
}

static void on_pod(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct core_v1_pod *was = old, *pod = obj;
    const budget_t *b;
    struct str ns = pod ? pod->metadata.namespace : was->metadata.namespace;
    if (!pod_counts_change(was, pod)) {
        return;
    }
    for (size_t pos = 0; (b = informer_next_in(s->budgets, ns, &pos));) {
        if ((was && selects(b, was)) || (pod && selects(b, pod))) {
            controller_enqueue_obj(s->controller, &policy_v1_pod_disruption_budget_type, b);
        }
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const pod_fields[] = { POD_FACT_FIELDS, "metadata.labels",
                                              "metadata.ownerReferences", NULL };
    static const char *const scale_fields[] = { "spec.replicas", "metadata.ownerReferences", NULL };
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    s->budgets = informer_of_keys(c, informers, "policy", "poddisruptionbudgets", whole_objects);
    s->budgets_resource = informer_resource(s->budgets);
    s->pods = informer_of(informers, "", "pods", pod_fields, on_pod, s);
    s->pods_by_label = label_index(s->pods);
    s->sets = informer_of(informers, "apps", "replicasets", scale_fields, NULL, NULL);
    s->controllers =
        informer_of(informers, "", "replicationcontrollers", scale_fields, NULL, NULL);
    s->stateful = informer_of(informers, "apps", "statefulsets", scale_fields, NULL, NULL);
    s->deployments = informer_of(informers, "apps", "deployments", scale_fields, NULL, NULL);
    return s;
}

/* ---- how many there should be ---- */

struct scale {
    struct str uid;
    int32_t replicas;
};

static int32_t or_one(bool has, int32_t n)
{
    return has ? n : 1;
}

static bool of_deployment(struct state *s, struct str ns, const struct meta_v1_owner_reference *o,
                          struct scale *ret)
{
    const struct apps_v1_deployment *d = informer_get(s->deployments, ns, o->name);
    if (!d || !str_eq(d->metadata.uid, o->uid)) {
        return false;
    }
    *ret = (struct scale){ d->metadata.uid, or_one(d->spec.has_replicas, d->spec.replicas) };
    return true;
}

/* What the pod's controller should have. A ReplicaSet of a Deployment stands for the Deployment. */
static bool scale_of(struct state *s, struct str ns, const struct meta_v1_owner_reference *o,
                     struct scale *ret)
{
    if (str_eq_c(o->kind, "ReplicaSet")) {
        const struct apps_v1_replica_set *rs = informer_get(s->sets, ns, o->name);
        if (!rs || !str_eq(rs->metadata.uid, o->uid)) {
            return false;
        }
        const struct meta_v1_owner_reference *above = meta_controller_of(&rs->metadata);
        if (above && str_eq_c(above->kind, "Deployment")) {
            return of_deployment(s, ns, above, ret);
        }
        *ret = (struct scale){ rs->metadata.uid, or_one(rs->spec.has_replicas, rs->spec.replicas) };
        return true;
    }
    if (str_eq_c(o->kind, "StatefulSet")) {
        const struct apps_v1_stateful_set *ss = informer_get(s->stateful, ns, o->name);
        if (!ss || !str_eq(ss->metadata.uid, o->uid)) {
            return false;
        }
        *ret = (struct scale){ ss->metadata.uid, or_one(ss->spec.has_replicas, ss->spec.replicas) };
        return true;
    }
    if (str_eq_c(o->kind, "ReplicationController")) {
        const struct core_v1_replication_controller *rc = informer_get(s->controllers, ns, o->name);
        if (!rc || !str_eq(rc->metadata.uid, o->uid)) {
            return false;
        }
        *ret = (struct scale){ rc->metadata.uid, or_one(rc->spec.has_replicas, rc->spec.replicas) };
        return true;
    }
    return str_eq_c(o->kind, "Deployment") && of_deployment(s, ns, o, ret);
}

struct pass {
    struct state *s;
    struct actions *a;
    const budget_t *budget;
    const struct core_v1_pod **pods;
    size_t n_pods;
    struct str why; /* the count cannot be had */
};

static bool expected_scale(struct pass *p, int32_t *ret)
{
    struct scale *seen = arena_new_n(act_arena(p->a), struct scale, p->n_pods + 1), one;
    size_t n = 0;
    int64_t total = 0;
    if (!seen) {
        abort();
    }
    for (size_t i = 0; i < p->n_pods; i++) {
        const struct core_v1_pod *pod = p->pods[i];
        const struct meta_v1_owner_reference *o = meta_controller_of(&pod->metadata);
        bool counted = false;
        if (!o) {
            continue; /* nobody says how many of those there should be */
        }
        if (!scale_of(p->s, pod->metadata.namespace, o, &one)) {
            p->why = arena_printf(act_arena(p->a), "found no controllers for pod \"%.*s\"",
                                  STR_ARG(pod->metadata.name));
            return false;
        }
        for (size_t k = 0; k < n; k++) {
            counted = counted || str_eq(seen[k].uid, one.uid);
        }
        if (!counted) {
            seen[n++] = one;
            total += one.replicas;
        }
    }
    *ret = (int32_t)MIN(total, (int64_t)INT32_MAX);
    return true;
}

static bool count_expected(struct pass *p, int32_t *ret_expected, int32_t *ret_desired)
{
    const struct policy_v1_pod_disruption_budget_spec *spec = &p->budget->spec;
    int32_t n = 0;
    if (spec->max_unavailable.kind != API_IOS_UNSET) {
        if (!expected_scale(p, ret_expected) ||
            !ios_scaled(&spec->max_unavailable, *ret_expected, true, &n, NULL)) {
            return false;
        }
        *ret_desired = MAX(*ret_expected - n, 0);
        return true;
    }
    if (spec->min_available.kind == API_IOS_STRING) {
        return expected_scale(p, ret_expected) &&
               ios_scaled(&spec->min_available, *ret_expected, true, ret_desired, NULL);
    }
    *ret_expected = (int32_t)p->n_pods;
    *ret_desired = spec->min_available.kind == API_IOS_INT ? spec->min_available.i : 0;
    return true;
}

/* ---- how many there are ---- */

/* Evictions that are still under way; '*ret_again_s' until the next is given up. */
static void keep_disrupted(struct pass *p, struct policy_v1_pod_disruption_budget_status *st,
                           int64_t *ret_again_s)
{
    const struct policy_v1_pod_disruption_budget_status *old = &p->budget->status;
    struct api_time_entry *kept =
        arena_new_n(act_arena(p->a), struct api_time_entry, old->n_disrupted_pods + 1);
    size_t n = 0;
    if (!kept) {
        abort();
    }
    for (size_t i = 0; i < old->n_disrupted_pods; i++) {
        for (size_t k = 0; k < p->n_pods; k++) {
            const struct core_v1_pod *pod = p->pods[k];
            int64_t left = old->disrupted_pods[i].value.sec + DELETION_S - act_now(p->a);
            if (!str_eq(pod->metadata.name, old->disrupted_pods[i].key) ||
                pod->metadata.deletion_timestamp.set) {
                continue;
            }
            if (left > 0) {
                kept[n++] = old->disrupted_pods[i];
                *ret_again_s = *ret_again_s ? MIN(*ret_again_s, left) : left;
            } else {
                act_event(
                    p->a, api_resource_find(STR(""), STR("v1"), STR("pods")), pod, "Warning",
                    "NotDeleted", "Pod was expected by PDB %.*s/%.*s to be deleted but it wasn't",
                    STR_ARG(p->budget->metadata.namespace), STR_ARG(p->budget->metadata.name));
            }
        }
    }
    st->disrupted_pods = n ? kept : NULL;
    st->n_disrupted_pods = n;
}

static int32_t count_healthy(const struct pass *p,
                             const struct policy_v1_pod_disruption_budget_status *st)
{
    int32_t n = 0;
    for (size_t i = 0; i < p->n_pods; i++) {
        bool evicted = p->pods[i]->metadata.deletion_timestamp.set;
        for (size_t k = 0; k < st->n_disrupted_pods; k++) {
            evicted = evicted || str_eq(st->disrupted_pods[k].key, p->pods[i]->metadata.name);
        }
        n += !evicted && pod_is_ready(p->pods[i]);
    }
    return n;
}

/* ---- status ---- */

static void set_condition(struct pass *p, struct policy_v1_pod_disruption_budget_status *st,
                          const char *status, const char *reason, struct str message)
{
    struct meta_v1_condition *all =
        arena_new_n(act_arena(p->a), struct meta_v1_condition, st->n_conditions + 1);
    struct meta_v1_condition c = { .type = STR("DisruptionAllowed"),
                                   .status = str_c(status),
                                   .reason = str_c(reason),
                                   .message = message.ptr ? message : STR_EMPTY,
                                   .observed_generation = p->budget->metadata.generation,
                                   .last_transition_time = { .sec = act_now(p->a), .set = true } };
    size_t at = st->n_conditions;
    if (!all) {
        abort();
    }
    for (size_t i = 0; i < st->n_conditions; i++) {
        all[i] = st->conditions[i];
        at = str_eq(all[i].type, c.type) ? i : at;
    }
    if (at < st->n_conditions && str_eq(all[at].status, c.status)) {
        c.last_transition_time = all[at].last_transition_time;
    }
    all[at] = c;
    st->conditions = all;
    st->n_conditions = MAX(st->n_conditions, at + 1);
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    struct selector selector;
    const struct core_v1_pod *pod;
    str_cut(key, '/', &ns, &name);
    const budget_t *b = informer_get(s->budgets, ns, name);
    if (!b || b->metadata.deletion_timestamp.set ||
        !selector_from_label_selector(act_arena(a), b->spec.selector, &selector, NULL)) {
        return;
    }
    struct pass p = { .s = s, .a = a, .budget = b };
    struct label_walk w;
    size_t capacity = 0;
    label_walk_begin(&w, s->pods, s->pods_by_label, ns, &selector);
    while ((pod = label_walk_next(&w))) {
        if (p.n_pods == capacity) {
            capacity = 2 * capacity + 16;
            p.pods = arena_grow_n(act_arena(a), p.pods, p.n_pods, capacity, sizeof(*p.pods));
            if (!p.pods) {
                abort();
            }
        }
        p.pods[p.n_pods++] = pod;
    }
    budget_t changed = *b;
    struct policy_v1_pod_disruption_budget_status *st = &changed.status;
    int64_t again_s = 0;
    if (count_expected(&p, &st->expected_pods, &st->desired_healthy)) {
        keep_disrupted(&p, st, &again_s);
        st->current_healthy = count_healthy(&p, st);
        st->disruptions_allowed =
            st->expected_pods > 0 ? MAX(st->current_healthy - st->desired_healthy, 0) : 0;
        set_condition(&p, st, st->disruptions_allowed > 0 ? "True" : "False",
                      st->disruptions_allowed > 0 ? "SufficientPods" : "InsufficientPods",
                      STR_EMPTY);
    } else { /* what cannot be counted may not be disrupted */
        st->disruptions_allowed = 0;
        set_condition(&p, st, "False", "SyncFailed", p.why);
        again_s = 10;
    }
    st->observed_generation = b->metadata.generation;
    if (!api_equal_field(&policy_v1_pod_disruption_budget_type, "status", b, &changed)) {
        act_update_sub(a, s->budgets_resource, "status", &changed);
    }
    if (again_s) {
        act_requeue_after(a, (uint64_t)again_s * 1000);
    }
}

const struct controller_ops controller_disruption = {
    .name = "disruption-controller",
    .service_account = "disruption-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
