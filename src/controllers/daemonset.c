/*
 * daemonset: one pod on every node that it may be on ("DaemonSet"). Each pod is bound to its node
 * by a required affinity on the node's name, so the scheduler places it and nothing else is waited
 * for; the taints that a node gets when it is not well are tolerated.
 */
#include <stdlib.h>

#include "api/copy.h"
#include "api/equal.h"
#include "api/node-affinity.h"
#include "api/toleration.h"
#include "base/rand.h"
#include "controllers/daemonset-private.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"

/* Pods that one pass creates. */
#define BURST 250
#define FAILURE_FIRST_S 1
#define FAILURE_MOST_S (15 * 60)
#define FAILURES_KEPT 1024
#define FIELD_NAME STR("metadata.name")

struct failure {
    int64_t until_s;
    int64_t pause_s;
};

/* ---- events ---- */

static void on_pod(void *data, const void *old, const void *obj)
{
    struct daemonset_state *s = data;
    const struct core_v1_pod *was = old, *pod = obj;
    if (was && pod && !pod_counts_change(was, pod) &&
        str_eq(was->spec.node_name, pod->spec.node_name)) {
        return;
    }
    if (was) {
        owner_enqueue(s->controller, "DaemonSet", &was->metadata);
    }
    if (pod) {
        owner_enqueue(s->controller, "DaemonSet", &pod->metadata);
    }
    if (pod && owner_is_wanted_anew(was ? &was->metadata : NULL, &pod->metadata)) {
        const void *ds; /* somebody may adopt it */
        for (size_t pos = 0; (ds = informer_next_in(s->sets, pod->metadata.namespace, &pos));) {
            controller_enqueue_obj(s->controller, &apps_v1_daemon_set_type, ds);
        }
    }
}

static void on_revision(void *data, const void *old, const void *obj)
{
    struct daemonset_state *s = data;
    const struct apps_v1_controller_revision *r = obj ? obj : old;
    owner_enqueue(s->controller, "DaemonSet", &r->metadata);
}

/* Of a node only labels and taints matter; heartbeats do not. */
static void on_node(void *data, const void *old, const void *obj)
{
    struct daemonset_state *s = data;
    const void *ds;
    if (old && obj) {
        const struct core_v1_node *a = old, *b = obj;
        if (api_equal_field(&meta_v1_object_meta_type, "labels", &a->metadata, &b->metadata) &&
            api_equal_field(&core_v1_node_spec_type, "taints", &a->spec, &b->spec)) {
            return;
        }
    }
    for (size_t pos = 0; (ds = informer_next(s->sets, &pos));) {
        controller_enqueue_obj(s->controller, &apps_v1_daemon_set_type, ds);
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const pod_fields[] = {
        POD_FACT_FIELDS,
        "metadata.labels",
        "metadata.ownerReferences",
        "metadata.creationTimestamp",
        "spec.nodeName",
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        NULL,
    };
    static const char *const node_fields[] = { "metadata.labels", "spec.taints", NULL };
    struct daemonset_state *s = state_new(sizeof(*s));
    s->controller = c;
    map_init(&s->failures);
    s->sets = informer_of_keys(c, informers, "apps", "daemonsets", whole_objects);
    claimable_init(&s->pods, informer_of(informers, "", "pods", pod_fields, on_pod, s));
    claimable_init(&s->revisions, informer_of(informers, "apps", "controllerrevisions",
                                              whole_objects, on_revision, s));
    controller_needs(c, s->revisions.informer);
    s->nodes = informer_of(informers, "", "nodes", node_fields, on_node, s);
    s->sets_resource = informer_resource(s->sets);
    s->pods_resource = informer_resource(s->pods.informer);
    s->revisions_resource = informer_resource(s->revisions.informer);
    return s;
}

static void teardown(void *state)
{
    struct daemonset_state *s = state;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&s->failures, &pos, &key, &value);) {
        free(value);
    }
    map_deinit(&s->failures);
    free(s);
}

/* ---- one pod ---- */

static struct str generation_of(const daemon_set_t *ds)
{
    return meta_annotation(&ds->metadata, GENERATION_ANNOTATION);
}

bool daemon_is_updated(const struct daemon_pass *p, const struct core_v1_pod *pod)
{
    struct str generation = generation_of(p->ds),
               have = meta_label(&pod->metadata, GENERATION_LABEL);
    return (generation.len && str_eq(have, generation)) ||
           (p->hash.len && str_eq(meta_label(&pod->metadata, REVISION_LABEL), p->hash));
}

bool daemon_is_available(struct daemon_pass *p, const struct core_v1_pod *pod)
{
    return pod_is_available(pod, p->ds->spec.min_ready_seconds, act_now(p->a), NULL);
}

static void add_toleration(struct core_v1_pod_spec *spec, const char *key, const char *effect)
{
    struct core_v1_toleration t = { .key = str_c(key),
                                    .operator= STR("Exists"),
                                    .effect = str_c(effect) };
    for (size_t i = 0; i < spec->n_tolerations; i++) {
        if (str_eq(spec->tolerations[i].key, t.key) &&
            str_eq(spec->tolerations[i].effect, t.effect)) {
            spec->tolerations[i] = t;
            return;
        }
    }
    spec->tolerations[spec->n_tolerations++] = t;
}

static void add_tolerations(struct arena *a, struct core_v1_pod_spec *spec)
{
    enum { MORE = 7 };
    struct core_v1_toleration *all =
        arena_new_n(a, struct core_v1_toleration, spec->n_tolerations + MORE);
    if (!all) {
        abort();
    }
    if (spec->n_tolerations) {
        memcpy(all, spec->tolerations, spec->n_tolerations * sizeof(*all));
    }
    spec->tolerations = all;
    add_toleration(spec, "node.kubernetes.io/not-ready", "NoExecute");
    add_toleration(spec, "node.kubernetes.io/unreachable", "NoExecute");
    add_toleration(spec, "node.kubernetes.io/disk-pressure", "NoSchedule");
    add_toleration(spec, "node.kubernetes.io/memory-pressure", "NoSchedule");
    add_toleration(spec, "node.kubernetes.io/pid-pressure", "NoSchedule");
    add_toleration(spec, "node.kubernetes.io/unschedulable", "NoSchedule");
    if (spec->host_network) {
        add_toleration(spec, "node.kubernetes.io/network-unavailable", "NoSchedule");
    }
}

/* The pod must be on this node. The terms of the template have chosen the node already; what else
 * they say of nodes is dropped. */
static void bind_to(struct arena *a, struct core_v1_pod_spec *spec, struct str node)
{
    struct core_v1_affinity *affinity = arena_new(a, struct core_v1_affinity);
    struct core_v1_node_affinity *na = arena_new(a, struct core_v1_node_affinity);
    struct core_v1_node_selector *selector = arena_new(a, struct core_v1_node_selector);
    struct core_v1_node_selector_term *term = arena_new(a, struct core_v1_node_selector_term);
    struct core_v1_node_selector_requirement *field =
        arena_new(a, struct core_v1_node_selector_requirement);
    struct str *name = arena_new(a, struct str);
    if (!affinity || !na || !selector || !term || !field || !name) {
        abort();
    }
    if (spec->affinity) {
        *affinity = *spec->affinity;
    }
    if (affinity->node_affinity) {
        *na = *affinity->node_affinity;
    }
    *name = node;
    *field = (struct core_v1_node_selector_requirement){
        .key = FIELD_NAME, .operator= STR("In"), .values = name, .n_values = 1
    };
    *term = (struct core_v1_node_selector_term){ .match_fields = field, .n_match_fields = 1 };
    *selector =
        (struct core_v1_node_selector){ .node_selector_terms = term, .n_node_selector_terms = 1 };
    na->required_during_scheduling_ignored_during_execution = selector;
    affinity->node_affinity = na;
    spec->affinity = affinity;
}

static void set_label(struct meta_v1_object_meta *m, struct str key, struct str value)
{
    size_t at = 0;
    while (at < m->n_labels && str_cmp(m->labels[at].key, key) < 0) {
        at++;
    }
    if (at == m->n_labels || !str_eq(m->labels[at].key, key)) {
        memmove(&m->labels[at + 1], &m->labels[at], (m->n_labels - at) * sizeof(*m->labels));
        m->n_labels++;
    }
    m->labels[at] = (struct api_str_pair){ key, value };
}

void daemon_create_pod(struct daemon_pass *p, struct str node)
{
    struct arena *arena = act_arena(p->a);
    const struct meta_v1_object_meta *m = &p->ds->spec.template.metadata;
    struct core_v1_pod *pod = arena_new(arena, struct core_v1_pod);
    struct api_str_pair *labels = arena_new_n(arena, struct api_str_pair, m->n_labels + 2);
    char suffix[6];
    if (!pod || !labels ||
        !api_copy_into(arena, &core_v1_pod_spec_type, &p->ds->spec.template.spec, &pod->spec,
                       false)) {
        abort();
    }
    rand_suffix(suffix, 5); /* chosen here, so that the event can say it */
    pod->metadata.generate_name =
        arena_printf(arena, "%.*s-", STR_ARG(str_sub(p->ds->metadata.name, 0, 57)));
    pod->metadata.name =
        arena_printf(arena, "%.*s%s", STR_ARG(pod->metadata.generate_name), suffix);
    if (m->n_labels) {
        memcpy(labels, m->labels, m->n_labels * sizeof(*labels));
    }
    pod->metadata.labels = labels;
    pod->metadata.n_labels = m->n_labels;
    set_label(&pod->metadata, REVISION_LABEL, p->hash);
    if (generation_of(p->ds).len) {
        set_label(&pod->metadata, GENERATION_LABEL, generation_of(p->ds));
    }
    pod->metadata.annotations = m->annotations;
    pod->metadata.n_annotations = m->n_annotations;
    pod->metadata.finalizers = m->finalizers;
    pod->metadata.n_finalizers = m->n_finalizers;
    pod->metadata.owner_references = &p->owner;
    pod->metadata.n_owner_references = 1;
    bind_to(arena, &pod->spec, node);
    add_tolerations(arena, &pod->spec);
    act_create(p->a, p->s->pods_resource, p->ds->metadata.namespace, pod);
    act_event_after(p->a, p->s->sets_resource, p->ds, "Normal", "SuccessfulCreate",
                    "Created pod: %.*s", STR_ARG(pod->metadata.name));
    act_event_on_failure(p->a, p->s->sets_resource, p->ds, "Warning", "FailedCreate",
                         "Error creating");
    p->acted = true;
}

void daemon_delete_pod(struct daemon_pass *p, const struct core_v1_pod *pod)
{
    if (pod->metadata.deletion_timestamp.set) {
        return;
    }
    act_delete(p->a, p->s->pods_resource, pod->metadata.namespace, pod->metadata.name,
               pod->metadata.uid, NULL);
    act_event_after(p->a, p->s->sets_resource, p->ds, "Normal", "SuccessfulDelete",
                    "Deleted pod: %.*s", STR_ARG(pod->metadata.name));
    act_event_on_failure(p->a, p->s->sets_resource, p->ds, "Warning", "FailedDelete",
                         "Error deleting");
    p->acted = true;
}

/* ---- which node has which pods ---- */

/* Where the pod is, or must be once it is scheduled. */
static struct str node_of(const struct core_v1_pod *pod)
{
    const struct core_v1_affinity *f = pod->spec.affinity;
    const struct core_v1_node_selector *sel =
        f && f->node_affinity
            ? f->node_affinity->required_during_scheduling_ignored_during_execution
            : NULL;
    if (pod->spec.node_name.len) {
        return pod->spec.node_name;
    }
    for (size_t i = 0; sel && i < sel->n_node_selector_terms; i++) {
        const struct core_v1_node_selector_term *t = &sel->node_selector_terms[i];
        for (size_t k = 0; k < t->n_match_fields; k++) {
            if (str_eq(t->match_fields[k].key, FIELD_NAME) &&
                str_eq_c(t->match_fields[k].operator, "In") && t->match_fields[k].n_values == 1) {
                return t->match_fields[k].values[0];
            }
        }
    }
    return STR_NULL;
}

static bool has_untolerated(const struct core_v1_pod_spec *spec, const struct core_v1_node *node,
                            bool no_execute_alone)
{
    for (size_t i = 0; i < node->spec.n_taints; i++) {
        const struct core_v1_taint *t = &node->spec.taints[i];
        bool counts = str_eq_c(t->effect, "NoExecute") ||
                      (!no_execute_alone && str_eq_c(t->effect, "NoSchedule"));
        if (counts && !tolerations_match(spec->tolerations, spec->n_tolerations, t)) {
            return true;
        }
    }
    return false;
}

static void judge(struct arena *a, const daemon_set_t *ds, struct daemon_node *n)
{
    struct core_v1_pod_spec spec = ds->spec.template.spec;
    if (!n->node || (spec.node_name.len && !str_eq(spec.node_name, n->name)) ||
        !node_affinity_matches(&spec, n->node)) {
        return;
    }
    add_tolerations(a, &spec);
    n->should_run = !has_untolerated(&spec, n->node, false);
    n->may_go_on = n->should_run || !has_untolerated(&spec, n->node, true);
}

static int by_age(const void *va, const void *vb)
{
    const struct core_v1_pod *a = *(const struct core_v1_pod *const *)va,
                             *b = *(const struct core_v1_pod *const *)vb;
    if (!a->spec.node_name.len != !b->spec.node_name.len) {
        return a->spec.node_name.len ? -1
                                     : 1; /* a scheduled one is worth more than one that waits */
    }
    int64_t x = a->metadata.creation_timestamp.sec, y = b->metadata.creation_timestamp.sec;
    return x != y ? (x < y ? -1 : 1) : str_cmp(a->metadata.name, b->metadata.name);
}

static struct daemon_node *find_node(struct daemon_pass *p, struct map *by_name, struct str name)
{
    struct daemon_node *n = map_get(by_name, name);
    if (!n) {
        n = &p->nodes[p->n_nodes++];
        n->name = name;
        map_put(by_name, name, n);
    }
    return n;
}

static void collect(struct daemon_pass *p)
{
    struct arena *arena = act_arena(p->a);
    const struct core_v1_node *node;
    struct map by_name;
    map_init(&by_name);
    p->nodes = arena_new_n(arena, struct daemon_node, informer_count(p->s->nodes) + p->n_pods + 1);
    if (!p->nodes) {
        abort();
    }
    for (size_t pos = 0; (node = informer_next(p->s->nodes, &pos));) {
        struct daemon_node *n = find_node(p, &by_name, node->metadata.name);
        n->node = node;
        judge(arena, p->ds, n);
    }
    for (size_t i = 0; i < p->n_pods; i++) {
        struct str name = node_of(p->pods[i]);
        struct daemon_node *n = name.len ? find_node(p, &by_name, name) : NULL;
        if (!n) {
            continue; /* it says nothing of a node: not of our making */
        }
        if (n->n == n->capacity) {
            n->pods = arena_grow_n(arena, n->pods, n->n, 2 * n->capacity + 2, sizeof(*n->pods));
            n->capacity = 2 * n->capacity + 2;
            if (!n->pods) {
                abort();
            }
        }
        n->pods[n->n++] = p->pods[i];
    }
    for (size_t i = 0; i < p->n_nodes; i++) {
        if (p->nodes[i].n > 1) {
            qsort(p->nodes[i].pods, p->nodes[i].n, sizeof(*p->nodes[i].pods), by_age);
        }
    }
    map_deinit(&by_name);
}

/* ---- what each node needs ---- */

/* Failures of long ago are forgotten once there are many. */
static void sweep_failures(struct daemonset_state *s, int64_t now)
{
    struct str key;
    void *value;
    for (size_t pos = 0;
         s->failures.n > FAILURES_KEPT && map_next(&s->failures, &pos, &key, &value);) {
        const struct failure *f = value;
        if (now - f->until_s > 2 * FAILURE_MOST_S) {
            free(map_remove(&s->failures, key));
        }
    }
}

/* A failed pod is replaced, but not at once again and again. True: now. */
static bool may_replace(struct daemon_pass *p, const struct daemon_node *n)
{
    char key[400];
    snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(p->ds->metadata.uid), STR_ARG(n->name));
    struct failure *f;
    int64_t now = act_now(p->a);
    sweep_failures(p->s, now);
    f = map_get(&p->s->failures, str_c(key));
    if (f && now < f->until_s) {
        act_requeue_after(p->a, (uint64_t)(f->until_s - now) * 1000);
        return false;
    }
    if (!f) {
        f = calloc(1, sizeof(*f));
        if (!f) {
            abort();
        }
        map_put(&p->s->failures, str_c(key), f);
    }
    bool long_ago = f->until_s && now - f->until_s > 2 * FAILURE_MOST_S;
    f->pause_s =
        f->pause_s && !long_ago ? MIN(2 * f->pause_s, (int64_t)FAILURE_MOST_S) : FAILURE_FIRST_S;
    f->until_s = now + f->pause_s;
    return true;
}

/* Ended pods go; of the others one stays, or, while it surges, one of each template. */
static void manage_running(struct daemon_pass *p, struct daemon_node *n, bool surges)
{
    const struct core_v1_pod *newest = NULL,
                             *oldest = NULL; /* of the present template, of an older */
    for (size_t i = 0; i < n->n; i++) {
        const struct core_v1_pod *pod = n->pods[i];
        bool failed = str_eq_c(pod->status.phase, "Failed"),
             succeeded = str_eq_c(pod->status.phase, "Succeeded");
        if (pod->metadata.deletion_timestamp.set) {
            continue;
        }
        if (succeeded || (failed && may_replace(p, n))) {
            daemon_delete_pod(p, pod);
            act_event(
                p->a, p->s->sets_resource, p->ds, failed ? "Warning" : "Normal",
                failed ? "FailedDaemonPod" : "SucceededDaemonPod",
                failed ? "Found failed daemon pod %.*s/%.*s on node %.*s, will try to kill it"
                       : "Found succeeded daemon pod %.*s/%.*s on node %.*s, will try to delete it",
                STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name), STR_ARG(n->name));
        } else if (!failed) {
            const struct core_v1_pod **slot =
                surges && !daemon_is_updated(p, pod) ? &oldest : &newest;
            if (*slot) {
                daemon_delete_pod(p, pod);
            } else {
                *slot = pod;
            }
        }
    }
    if (newest && oldest && (!pod_is_ready(oldest) || daemon_is_available(p, newest))) {
        daemon_delete_pod(p, oldest);
    }
}

static void manage(struct daemon_pass *p)
{
    size_t created = 0;
    int32_t desired = 0;
    for (size_t i = 0; i < p->n_nodes; i++) {
        desired += p->nodes[i].should_run;
    }
    bool surges = daemonset_max_surge(p->ds, desired) > 0;
    for (size_t i = 0; i < p->n_nodes; i++) {
        struct daemon_node *n = &p->nodes[i];
        if (n->should_run && n->n == 0) {
            if (created++ < BURST) {
                daemon_create_pod(p, n->name);
            }
        } else if (n->may_go_on) {
            manage_running(p, n, surges);
        } else {
            for (size_t k = 0; k < n->n; k++) {
                /* Bound to a node that is gone: the pod garbage collector's. */
                if (n->node || !n->pods[k]->spec.node_name.len) {
                    daemon_delete_pod(p, n->pods[k]);
                }
            }
        }
    }
}

/* ---- status ---- */

static void write_status(struct daemon_pass *p)
{
    daemon_set_t changed = *p->ds;
    struct apps_v1_daemon_set_status *st = &changed.status;
    int64_t next_s = 0;
    st->desired_number_scheduled = st->current_number_scheduled = st->number_misscheduled = 0;
    st->number_ready = st->number_available = st->updated_number_scheduled = 0;
    for (size_t i = 0; i < p->n_nodes; i++) {
        const struct daemon_node *n = &p->nodes[i];
        int64_t in_s = 0;
        if (!n->node) {
            continue;
        }
        st->desired_number_scheduled += n->should_run;
        if (!n->should_run) {
            st->number_misscheduled += n->n > 0;
            continue;
        }
        if (n->n == 0) {
            continue;
        }
        st->current_number_scheduled++;
        st->number_ready += pod_is_ready(n->pods[0]);
        st->number_available +=
            pod_is_available(n->pods[0], p->ds->spec.min_ready_seconds, act_now(p->a), &in_s);
        st->updated_number_scheduled += daemon_is_updated(p, n->pods[0]);
        next_s = in_s && (!next_s || in_s < next_s) ? in_s : next_s;
    }
    st->number_unavailable = st->desired_number_scheduled - st->number_available;
    st->observed_generation = p->ds->metadata.generation;
    if (!api_equal_field(&apps_v1_daemon_set_type, "status", p->ds, &changed)) {
        act_update_sub(p->a, p->s->sets_resource, "status", &changed);
    }
    if (next_s) {
        act_requeue_after(p->a, (uint64_t)next_s * 1000);
    }
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct daemonset_state *s = state;
    struct str ns, name;
    struct selector selector;
    str_cut(key, '/', &ns, &name);
    const daemon_set_t *ds = informer_get(s->sets, ns, name);
    if (!ds || ds->metadata.deletion_timestamp.set ||
        !selector_from_label_selector(act_arena(a), ds->spec.selector, &selector, NULL)) {
        return;
    }
    if (selector_is_everything(&selector)) {
        act_event(a, s->sets_resource, ds, "Warning", "SelectingAll",
                  "This daemon set is selecting all pods. A non-empty selector is required.");
        return;
    }
    struct daemon_pass p = { .s = s,
                             .a = a,
                             .ds = ds,
                             .owner =
                                 owner_reference(act_arena(a), s->sets_resource, &ds->metadata) };
    struct owned pods = owner_claim(a, &s->pods, &p.owner, ns, &selector, false);
    if (pods.adopts) {
        return; /* the next pass counts them */
    }
    p.n_pods = pods.n;
    p.pods = arena_new_n(act_arena(a), const struct core_v1_pod *, pods.n + 1);
    if (!p.pods) {
        abort();
    }
    for (size_t i = 0; i < pods.n; i++) {
        p.pods[i] = pods.items[i];
    }
    if (!daemonset_find_revision(&p)) {
        return; /* it is made, and brings the next pass */
    }
    collect(&p);
    manage(&p);
    if (!p.acted) {
        daemonset_roll(&p);
    }
    daemonset_clean_history(&p);
    write_status(&p);
}

const struct controller_ops controller_daemonset = {
    .name = "daemonset-controller",
    .service_account = "daemon-set-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
    .concurrency = 2,
};
