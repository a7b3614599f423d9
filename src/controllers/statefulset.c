/*
 * statefulset: pods with an identity that lasts ("StatefulSet"). Here: which pods a set has, and its status. One pass takes the
 * step that statefulset-steps.c decides; what it wrote brings the next.
 */
#include <stdlib.h>

#include "api/equal.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"
#include "controllers/statefulset-private.h"

/* ---- events ---- */

/* "namespace/set" of the set whose name the pod bears. */
static bool set_key(const struct meta_v1_object_meta *m, char *key, size_t size)
{
    ptrdiff_t dash = str_rfind_char(m->name, '-');
    int32_t ordinal;
    struct str set = str_sub(m->name, 0, dash > 0 ? (size_t)dash : 0);
    if (dash <= 0 || !statefulset_ordinal(set, m->name, &ordinal)) {
        return false;
    }
    snprintf(key, size, "%.*s/%.*s", STR_ARG(m->namespace), STR_ARG(set));
    return true;
}

static void on_pod(void *data, const void *old, const void *obj)
{
    struct statefulset_state *s = data;
    const struct core_v1_pod *before = old, *now = obj;
    if (!pod_counts_change(before, now)) {
        return;
    }
    if (before) {
        owner_enqueue(s->controller, "StatefulSet", &before->metadata);
    }
    if (now) {
        owner_enqueue(s->controller, "StatefulSet", &now->metadata);
        char key[600];
        if (!meta_controller_of(&now->metadata) && set_key(&now->metadata, key, sizeof(key))) {
            controller_enqueue(s->controller, str_c(key)); /* that set, if there is one, may adopt it */
        }
    }
}

static void on_revision(void *data, const void *old, const void *obj)
{
    const struct statefulset_state *s = data;
    const struct apps_v1_controller_revision *r = obj ? obj : old;
    owner_enqueue(s->controller, "StatefulSet", &r->metadata);
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const pod_fields[] = { POD_FACT_FIELDS, "metadata.labels", "metadata.ownerReferences", NULL };
    struct statefulset_state *s = state_new(sizeof(*s));
    s->controller = c;
    s->sets = informer_of_keys(c, informers, "apps", "statefulsets", whole_objects);
    s->claims = informer_of(informers, "", "persistentvolumeclaims", whole_objects, NULL, NULL);
    claimable_init(&s->pods, informer_of(informers, "", "pods", pod_fields, on_pod, s));
    claimable_init(&s->revisions, informer_of(informers, "apps", "controllerrevisions", whole_objects, on_revision, s));
    controller_needs(c, s->revisions.informer);
    s->sets_resource = informer_resource(s->sets);
    s->pods_resource = informer_resource(s->pods.informer);
    s->claims_resource = informer_resource(s->claims);
    s->revisions_resource = informer_resource(s->revisions.informer);
    return s;
}

/* ---- which pods ---- */

static int highest_first(const void *va, const void *vb)
{
    const struct stateful_pod *a = va, *b = vb;
    return a->ordinal > b->ordinal ? -1 : a->ordinal < b->ordinal;
}

static void put_pod(struct stateful_pass *p, const struct core_v1_pod *pod, int32_t ordinal)
{
    p->pods[p->n_pods++] = pod;
    if (ordinal >= p->start && ordinal - p->start < p->replicas) {
        if (ordinal - p->start < p->n_wanted) {
            p->wanted[ordinal - p->start].pod = pod;
        }
    } else {
        p->surplus[p->n_surplus++] = (struct stateful_pod){ .ordinal = ordinal, .pod = pod };
    }
}

/* Owned pods that have lost the set's name or labels are released. */
static void collect(struct stateful_pass *p, const struct selector *selector)
{
    struct arena *arena = act_arena(p->a);
    bool deleting = p->set->metadata.deletion_timestamp.set;
    const struct core_v1_pod *pod;
    size_t n = 0;
    int32_t ordinal;
    for (size_t pos = 0; claimable_next(&p->s->pods, p->set->metadata.uid, &pos);) {
        n++;
    }
    p->n_wanted = (int32_t)MIN(MIN((int64_t)p->replicas, (int64_t)n + STATEFULSET_BURST), (int64_t)INT32_MAX - p->start);
    p->wanted = arena_new_n(arena, struct stateful_pod, (size_t)p->n_wanted);
    p->surplus = arena_new_n(arena, struct stateful_pod, n);
    p->pods = arena_new_n(arena, const struct core_v1_pod *, n);
    if (!p->wanted || !p->surplus || !p->pods) {
        abort();
    }
    for (int32_t i = 0; i < p->n_wanted; i++) {
        p->wanted[i].ordinal = p->start + i;
    }
    for (size_t pos = 0; (pod = claimable_next(&p->s->pods, p->set->metadata.uid, &pos));) {
        const struct meta_v1_object_meta *m = &pod->metadata;
        if (selector_matches(selector, m->labels, m->n_labels) && statefulset_ordinal(p->set->metadata.name, m->name, &ordinal)) {
            put_pod(p, pod, ordinal);
        } else if (!deleting && !m->deletion_timestamp.set) {
            owner_release(p->a, p->s->pods_resource, m, p->set->metadata.uid);
        }
    }
    qsort(p->surplus, p->n_surplus, sizeof(*p->surplus), highest_first);
}

/* Pods without a controller that bear the set's name and labels become its own. True: some do, and the pods are looked at again
 * with them. */
static bool adopt(struct stateful_pass *p, const struct selector *selector)
{
    const struct core_v1_pod *pod;
    bool any = false;
    int32_t ordinal;
    if (p->set->metadata.deletion_timestamp.set) {
        return false;
    }
    for (size_t pos = 0; (pod = informer_index_next(p->s->pods.orphans, p->set->metadata.namespace, &pos));) {
        const struct meta_v1_object_meta *m = &pod->metadata;
        if (!m->deletion_timestamp.set && statefulset_ordinal(p->set->metadata.name, m->name, &ordinal) &&
            selector_matches(selector, m->labels, m->n_labels)) {
            owner_adopt(p->a, p->s->pods_resource, &pod->metadata, &p->owner);
            any = true;
        }
    }
    return any;
}

/* ---- status ---- */

static void count(struct stateful_pass *p)
{
    struct apps_v1_stateful_set_status *st = &p->status;
    int64_t next_s = 0;
    *st = p->set->status;
    st->observed_generation = p->set->metadata.generation;
    st->update_revision = p->update_revision;
    st->current_revision = p->current_revision;
    st->replicas = st->ready_replicas = st->available_replicas = st->current_replicas = st->updated_replicas = 0;
    for (size_t i = 0; i < p->n_pods; i++) {
        const struct core_v1_pod *pod = p->pods[i];
        struct str revision = meta_label(&pod->metadata, REVISION_LABEL);
        bool running = str_eq_c(pod->status.phase, "Running");
        int64_t in_s = 0;
        st->replicas++;
        st->ready_replicas += running && pod_is_ready(pod);
        st->available_replicas += running && pod_is_available(pod, p->set->spec.min_ready_seconds, act_now(p->a), &in_s);
        if (!pod->metadata.deletion_timestamp.set) {
            st->current_replicas += str_eq(revision, p->current_revision);
            st->updated_replicas += str_eq(revision, p->update_revision);
        }
        next_s = in_s && (!next_s || in_s < next_s) ? in_s : next_s;
    }
    if (next_s) {
        act_requeue_after(p->a, (uint64_t)next_s * 1000);
    }
}

/* A roll is over when every pod is of the new revision, and well. */
static void finish_roll(struct stateful_pass *p)
{
    struct apps_v1_stateful_set_status *st = &p->status;
    if (!str_eq_c(p->set->spec.update_strategy.type, "OnDelete") && st->updated_replicas == p->replicas &&
        st->ready_replicas == p->replicas && st->replicas == p->replicas) {
        st->current_replicas = st->updated_replicas;
        st->current_revision = st->update_revision;
    }
}

static void write_status(struct stateful_pass *p)
{
    stateful_set_t changed = *p->set;
    changed.status = p->status;
    if (!api_equal_field(&apps_v1_stateful_set_type, "status", p->set, &changed)) {
        act_update_sub(p->a, p->s->sets_resource, "status", &changed);
    }
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct statefulset_state *s = state;
    struct str ns, name;
    struct selector selector;
    str_cut(key, '/', &ns, &name);
    const stateful_set_t *set = informer_get(s->sets, ns, name);
    if (!set || !selector_from_label_selector(act_arena(a), set->spec.selector, &selector, NULL) ||
        selector_is_everything(&selector)) {
        return;
    }
    struct stateful_pass p = {
        .s = s,
        .a = a,
        .set = set,
        .owner = owner_reference(act_arena(a), s->sets_resource, &set->metadata),
        .ordered = !str_eq_c(set->spec.pod_management_policy, "Parallel"),
        .start = set->spec.ordinals ? MAX(set->spec.ordinals->start, 0) : 0,
        .replicas = set->spec.has_replicas ? MAX(set->spec.replicas, 0) : 1,
    };
    collect(&p, &selector);
    if (adopt(&p, &selector) || !statefulset_find_revisions(&p)) {
        return; /* what was written brings the next pass */
    }
    count(&p);
    statefulset_step(&p);
    finish_roll(&p);
    write_status(&p);
    statefulset_clean_history(&p);
}

const struct controller_ops controller_statefulset = {
    .name = "statefulset-controller",
    .service_account = "statefulset-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
    .concurrency_flag = &controllers_config.statefulset_syncs,
};
