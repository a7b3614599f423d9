/*
 * replicaset: keeps as many active pods as spec.replicas says ("ReplicaSet"). The same code keeps
 * ReplicationControllers, whose objects have the same shape with a map as selector.
 */
#include <stdlib.h>

#include "api/copy.h"
#include "api/equal.h"
#include "api/gen/apps_v1.h"
#include "base/clock.h"
#include "base/rand.h"
#include "controllers/controllers.h"
#include "controllers/owner.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"

/* Pods that one pass creates or deletes (burstReplicas). */
#define BURST 500

struct state {
    struct controller *controller;
    const struct api_resource *resource, *pods_resource;
    struct informer *sets;
    struct claimable pods;
};

/* What a ReplicaSet and a ReplicationController have in common. */
struct set {
    const void *obj;
    const struct meta_v1_object_meta *meta;
    int32_t replicas, min_ready_seconds;
    struct selector selector;
    const struct core_v1_pod_template_spec *template;
};

static bool set_of(struct state *s, struct arena *a, const void *obj, struct set *ret)
{
    ret->obj = obj;
    ret->meta = meta_of(s->resource->type, obj);
    if (s->resource->type == &apps_v1_replica_set_type) {
        const struct apps_v1_replica_set *rs = obj;
        ret->replicas = rs->spec.has_replicas ? rs->spec.replicas : 1;
        ret->min_ready_seconds = rs->spec.min_ready_seconds;
        ret->template = &rs->spec.template;
        return selector_from_label_selector(a, rs->spec.selector, &ret->selector, NULL);
    }
    const struct core_v1_replication_controller *rc = obj;
    ret->replicas = rc->spec.has_replicas ? rc->spec.replicas : 1;
    ret->min_ready_seconds = rc->spec.min_ready_seconds;
    ret->template = rc->spec.template;
    return ret->template &&
           selector_from_pairs(a, rc->spec.selector, rc->spec.n_selector, &ret->selector);
}

/* ---- events ---- */

static void on_pod(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct core_v1_pod *was = old, *pod = obj;
    if (!pod_counts_change(was, pod)) {
        return;
    }
    char kind[32];
    snprintf(kind, sizeof(kind), "%.*s", STR_ARG(s->resource->kind));
    if (was) {
        owner_enqueue(s->controller, kind, &was->metadata);
    }
    if (pod) {
        owner_enqueue(s->controller, kind, &pod->metadata);
    }
    if (pod && owner_is_wanted_anew(was ? &was->metadata : NULL, &pod->metadata)) {
        /* Somebody may adopt it: all sets of its namespace that select it. */
        const void *set;
        for (size_t pos = 0; (set = informer_next_in(s->sets, pod->metadata.namespace, &pos));) {
            struct arena a;
            struct set x;
            arena_init(&a, 1 << 20);
            if (set_of(s, &a, set, &x) && !selector_is_everything(&x.selector) &&
                selector_matches(&x.selector, pod->metadata.labels, pod->metadata.n_labels)) {
                controller_enqueue_obj(s->controller, s->resource->type, set);
            }
            arena_deinit(&a);
        }
    }
}

static void *setup(struct controller *c, struct informers *informers, const char *group,
                   const char *resource)
{
    static const char *const pod_fields[] = { POD_FACT_FIELDS,
                                              "metadata.labels",
                                              "metadata.ownerReferences",
                                              "metadata.creationTimestamp",
                                              "metadata.annotations",
                                              "spec.nodeName",
                                              "status.containerStatuses.restartCount",
                                              NULL };
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    s->sets = informer_of_keys(c, informers, group, resource, whole_objects);
    s->resource = informer_resource(s->sets);
    claimable_init(&s->pods, informer_of(informers, "", "pods", pod_fields, on_pod, s));
    s->pods_resource = informer_resource(s->pods.informer);
    return s;
}

static void *setup_replicaset(struct controller *c, struct informers *informers)
{
    return setup(c, informers, "apps", "replicasets");
}

static void *setup_replicationcontroller(struct controller *c, struct informers *informers)
{
    return setup(c, informers, "", "replicationcontrollers");
}

/* ---- creating ---- */

static void create_pod(struct state *s, struct actions *a, const struct set *x,
                       const struct meta_v1_owner_reference *owner)
{
    struct arena *arena = act_arena(a);
    char suffix[6];
    struct core_v1_pod *pod = arena_new(arena, struct core_v1_pod);
    if (!pod) {
        abort();
    }
    pod->spec = x->template->spec; /* borrowed: it is encoded at once */
    const struct meta_v1_object_meta *m = &x->template->metadata;
    /* The name is chosen here and not by the server, so that the event can say it; both have the
     * same form. */
    rand_suffix(suffix, 5);
    pod->metadata.generate_name =
        arena_printf(arena, "%.*s-", STR_ARG(str_sub(x->meta->name, 0, 57)));
    pod->metadata.name =
        arena_printf(arena, "%.*s%s", STR_ARG(pod->metadata.generate_name), suffix);
    pod->metadata.labels = m->labels;
    pod->metadata.n_labels = m->n_labels;
    pod->metadata.annotations = m->annotations;
    pod->metadata.n_annotations = m->n_annotations;
    pod->metadata.finalizers = m->finalizers;
    pod->metadata.n_finalizers = m->n_finalizers;
    pod->metadata.owner_references = arena_new(arena, struct meta_v1_owner_reference);
    pod->metadata.owner_references[0] = *owner;
    pod->metadata.n_owner_references = 1;
    act_create(a, s->pods_resource, x->meta->namespace, pod);
    act_event_after(a, s->resource, x->obj, "Normal", "SuccessfulCreate", "Created pod: %.*s",
                    STR_ARG(pod->metadata.name));
    act_event_on_failure(a, s->resource, x->obj, "Warning", "FailedCreate", "Error creating");
}

/* ---- deleting: which first ---- */

struct rank {
    const struct core_v1_pod *pod;
    int64_t cost;     /* controller.kubernetes.io/pod-deletion-cost */
    size_t same_node; /* active pods of the set on its node */
    int32_t restarts;
    int64_t ready_since;
};

static int phase_order(const struct core_v1_pod *p)
{
    return str_eq(p->status.phase, STR("Running"))   ? 2
           : str_eq(p->status.phase, STR("Unknown")) ? 1
                                                     : 0;
}

/* Those that go first come first ("ReplicaSet: scaling down"). */
static int by_expendable(const void *va, const void *vb)
{
    const struct rank *a = va, *b = vb;
    if (!a->pod->spec.node_name.len != !b->pod->spec.node_name.len) {
        return a->pod->spec.node_name.len ? 1 : -1;
    }
    if (phase_order(a->pod) != phase_order(b->pod)) {
        return phase_order(a->pod) - phase_order(b->pod);
    }
    if (pod_is_ready(a->pod) != pod_is_ready(b->pod)) {
        return pod_is_ready(a->pod) ? 1 : -1;
    }
    if (a->cost != b->cost) {
        return a->cost < b->cost ? -1 : 1;
    }
    if (a->same_node != b->same_node) {
        return a->same_node > b->same_node ? -1 : 1;
    }
    if (a->ready_since != b->ready_since) {
        return a->ready_since > b->ready_since ? -1 : 1;
    }
    if (a->restarts != b->restarts) {
        return a->restarts > b->restarts ? -1 : 1;
    }
    int64_t at_a = a->pod->metadata.creation_timestamp.sec,
            at_b = b->pod->metadata.creation_timestamp.sec;
    return at_a > at_b ? -1 : at_a < at_b;
}

static int by_node(const void *va, const void *vb)
{
    const struct rank *a = va, *b = vb;
    return str_cmp(a->pod->spec.node_name, b->pod->spec.node_name);
}

/* Sets 'same_node' of each that is bound. */
static void count_neighbours(struct rank *ranks, size_t n)
{
    qsort(ranks, n, sizeof(ranks[0]), by_node);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && by_node(&ranks[i], &ranks[end]) == 0;) {
            end++;
        }
        for (size_t k = i; k < end && ranks[i].pod->spec.node_name.len; k++) {
            ranks[k].same_node = end - i;
        }
    }
}

static void delete_pods(struct state *s, struct actions *a, const struct set *x,
                        const struct core_v1_pod **active, size_t n_active, size_t n)
{
    struct rank *ranks = arena_new_n(act_arena(a), struct rank, n_active);
    if (!ranks) {
        abort();
    }
    for (size_t i = 0; i < n_active; i++) {
        const struct core_v1_pod *p = active[i];
        ranks[i].pod = p;
        if (!str_to_i64(
                meta_annotation(&p->metadata, STR("controller.kubernetes.io/pod-deletion-cost")),
                &ranks[i].cost)) {
            ranks[i].cost = 0;
        }
        for (size_t k = 0; k < p->status.n_container_statuses; k++) {
            ranks[i].restarts =
                MAX(ranks[i].restarts, p->status.container_statuses[k].restart_count);
        }
        const struct core_v1_pod_condition *ready = pod_condition(p, STR("Ready"));
        ranks[i].ready_since = ready ? ready->last_transition_time.sec : 0;
    }
    count_neighbours(ranks, n_active);
    qsort(ranks, n_active, sizeof(ranks[0]), by_expendable);
    for (size_t i = 0; i < n; i++) {
        const struct core_v1_pod *p = ranks[i].pod;
        act_delete(a, s->pods_resource, p->metadata.namespace, p->metadata.name, p->metadata.uid,
                   NULL);
        act_event_after(a, s->resource, x->obj, "Normal", "SuccessfulDelete", "Deleted pod: %.*s",
                        STR_ARG(p->metadata.name));
        act_event_on_failure(a, s->resource, x->obj, "Warning", "FailedDelete", "Error deleting");
    }
}

/* ---- status ---- */

struct counts {
    int32_t replicas, fully_labeled, ready, available, terminating;
};

static bool has_all_labels(const struct core_v1_pod *p, const struct meta_v1_object_meta *template)
{
    for (size_t i = 0; i < template->n_labels; i++) {
        struct str v = meta_label(&p->metadata, template->labels[i].key);
        if (!v.ptr || !str_eq(v, template->labels[i].value)) {
            return false;
        }
    }
    return true;
}

static void write_status(struct state *s, struct actions *a, const struct set *x,
                         const struct counts *n)
{
    struct arena *arena = act_arena(a);
    void *copy = arena_alloc(arena, s->resource->type->size);
    if (!copy || !api_copy_into(arena, s->resource->type, x->obj, copy, false)) {
        abort();
    }
    if (s->resource->type == &apps_v1_replica_set_type) {
        struct apps_v1_replica_set *rs = copy;
        rs->status.replicas = n->replicas;
        rs->status.fully_labeled_replicas = n->fully_labeled;
        rs->status.ready_replicas = n->ready;
        rs->status.available_replicas = n->available;
        rs->status.terminating_replicas = n->terminating;
        rs->status.has_terminating_replicas = true;
        rs->status.observed_generation = x->meta->generation;
    } else {
        struct core_v1_replication_controller *rc = copy;
        rc->status.replicas = n->replicas;
        rc->status.fully_labeled_replicas = n->fully_labeled;
        rc->status.ready_replicas = n->ready;
        rc->status.available_replicas = n->available;
        rc->status.observed_generation = x->meta->generation;
    }
    if (!api_equal_field(s->resource->type, "status", x->obj, copy)) {
        act_update_sub(a, s->resource, "status", copy);
    }
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    struct set x;
    str_cut(key, '/', &ns, &name);
    const void *obj = informer_get(s->sets, ns, name);
    if (!obj || !set_of(s, act_arena(a), obj, &x) || selector_is_everything(&x.selector)) {
        return;
    }
    struct meta_v1_owner_reference owner = owner_reference(act_arena(a), s->resource, x.meta);
    struct owned pods = owner_claim(a, &s->pods, &owner, ns, &x.selector,
                                    x.meta->deletion_timestamp.set);
    if (pods.adopts) {
        return; /* the next pass counts them */
    }
    const struct core_v1_pod **active =
        arena_new_n(act_arena(a), const struct core_v1_pod *, pods.n + 1);
    struct counts n = { 0 };
    int64_t next_s = 0;
    for (size_t i = 0; i < pods.n; i++) {
        const struct core_v1_pod *p = pods.items[i];
        int64_t in_s = 0;
        n.terminating += pod_is_terminating(p);
        if (!pod_is_active(p)) {
            continue;
        }
        active[n.replicas++] = p;
        n.fully_labeled += has_all_labels(p, &x.template->metadata);
        n.ready += pod_is_ready(p);
        n.available += pod_is_available(p, x.min_ready_seconds, act_now(a), &in_s);
        next_s = in_s && (!next_s || in_s < next_s) ? in_s : next_s;
    }
    if (!x.meta->deletion_timestamp.set) {
        int64_t missing = (int64_t)x.replicas - n.replicas;
        for (int64_t i = 0; i < MIN(missing, (int64_t)BURST); i++) {
            create_pod(s, a, &x, &owner);
        }
        if (missing < 0) {
            delete_pods(s, a, &x, active, (size_t)n.replicas,
                        (size_t)MIN(-missing, (int64_t)BURST));
        }
    }
    /* The status tells what is there now; the pods that this pass makes bring the next pass. */
    write_status(s, a, &x, &n);
    if (next_s) {
        act_requeue_after(a, (uint64_t)next_s * 1000);
    }
}

const struct controller_ops controller_replicaset = {
    .name = "replicaset",
    .service_account = "replicaset-controller",
    .setup = setup_replicaset,
    .reconcile = reconcile,
    .teardown = free,
};

const struct controller_ops controller_replicationcontroller = {
    .name = "replicationcontroller",
    .service_account = "replication-controller",
    .setup = setup_replicationcontroller,
    .reconcile = reconcile,
    .teardown = free,
};
