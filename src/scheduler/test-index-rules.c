#include "scheduler/test-index-world.h"

#include "api/node-affinity.h"
#include "api/toleration.h"
#include "base/test.h"

/* ---- counting anew ---- */

static bool matches_plainly(struct world *w, const struct pod_term *t, const struct core_v1_pod *pod)
{
    bool in_ns = false;
    size_t n;
    for (size_t i = 0; i < t->n_ns; i++) {
        in_ns = in_ns || str_eq(t->ns[i], pod->metadata.namespace);
    }
    if (t->by_namespace_selector) {
        const struct api_str_pair *labels = world_labels_of_namespace(w, pod->metadata.namespace, &n);
        in_ns = in_ns || selector_matches(&t->namespaces, labels, n);
    }
    return in_ns && selector_matches(&t->selector, pod->metadata.labels, pod->metadata.n_labels);
}

/* Pods that the term means in the domain of a node, among the nodes that the spec selects. */
uint32_t count_plainly(struct world *w, const struct pod_term *t, bool living, const struct core_v1_pod_spec *spec, struct str key,
                              struct str value)
{
    uint32_t n = 0;
    for (size_t i = 0; i < N_PODS; i++) {
        const struct node_info *at = w->pods[i] ? w->pods[i]->node : NULL;
        const struct core_v1_node *node = at ? at->node : NULL;
        if (node && node_affinity_matches(spec, node) && str_eq(node_label(node, key), value) && node_label(node, key).ptr) {
            n += matches_plainly(w, t, w->pods[i]->pod) && !(living && w->pods[i]->pod->metadata.deletion_timestamp.set);
        }
    }
    return n;
}

/* ---- the rules, pod by pod ---- */

typedef struct core_v1_topology_spread_constraint constraint;

static const struct core_v1_node *node_of(const struct world *w, size_t i)
{
    return w->pods[i] && w->pods[i]->node ? w->pods[i]->node->node : NULL;
}

static bool same_domain(const struct core_v1_node *a, const struct core_v1_node *b, struct str key)
{
    struct str x = node_label(a, key), y = node_label(b, key);
    return x.ptr && y.ptr && str_eq(x, y);
}

static struct str label(const struct core_v1_pod *pod, struct str key)
{
    for (size_t i = 0; i < pod->metadata.n_labels; i++) {
        if (str_eq(pod->metadata.labels[i].key, key)) {
            return pod->metadata.labels[i].value;
        }
    }
    return STR_NULL;
}

static bool is_hard(const constraint *t)
{
    return str_eq(t->when_unsatisfiable, STR("DoNotSchedule"));
}

static bool constraint_counts(struct world *w, const constraint *t, const struct core_v1_pod *pod, const struct core_v1_pod *other)
{
    struct selector s;
    bool counts = selector_from_label_selector(&w->arena, t->label_selector, &s, NULL) && !other->metadata.deletion_timestamp.set &&
                  str_eq(pod->metadata.namespace, other->metadata.namespace) &&
                  selector_matches(&s, other->metadata.labels, other->metadata.n_labels);
    for (size_t i = 0; i < t->n_match_label_keys; i++) {
        counts = counts && str_eq(label(pod, t->match_label_keys[i]), label(other, t->match_label_keys[i]));
    }
    return counts;
}

static bool constraint_minds(const struct core_v1_pod_spec *spec, const constraint *t, const struct core_v1_node *node)
{
    bool minds = str_eq(t->node_affinity_policy, STR("Ignore")) || node_affinity_matches(spec, node);
    for (size_t i = 0; i < spec->n_topology_spread_constraints; i++) {
        const constraint *other = &spec->topology_spread_constraints[i];
        minds = minds && (!is_hard(other) || node_label(node, other->topology_key).ptr);
    }
    for (size_t i = 0; str_eq(t->node_taints_policy, STR("Honor")) && i < node->spec.n_taints; i++) {
        minds = minds && tolerations_match(spec->tolerations, spec->n_tolerations, &node->spec.taints[i]);
    }
    return minds;
}

/* Pods in the node's domain; the node stands for it. */
static int64_t domain_plainly(struct world *w, const constraint *t, const struct core_v1_pod *pod, const struct core_v1_node *node)
{
    int64_t n = 0;
    for (size_t i = 0; i < N_PODS; i++) {
        const struct core_v1_node *at = node_of(w, i);
        n += at && same_domain(at, node, t->topology_key) && constraint_minds(&pod->spec, t, at) &&
             constraint_counts(w, t, pod, w->pods[i]->pod);
    }
    return n;
}

bool spread_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node)
{
    for (size_t k = 0; k < pod->spec.n_topology_spread_constraints; k++) {
        const constraint *t = &pod->spec.topology_spread_constraints[k];
        if (!is_hard(t)) {
            continue;
        }
        int64_t least = INT64_MAX;
        for (size_t i = 0; i < N_NODES; i++) {
            if (w->nodes[i] && node_label(w->nodes[i], t->topology_key).ptr && constraint_minds(&pod->spec, t, w->nodes[i])) {
                least = MIN(least, domain_plainly(w, t, pod, w->nodes[i]));
            }
        }
        least = least == INT64_MAX ? 0 : least;
        struct selector s;
        CHECK(selector_from_label_selector(&w->arena, t->label_selector, &s, NULL));
        int64_t own = selector_matches(&s, pod->metadata.labels, pod->metadata.n_labels);
        if (!node_label(node, t->topology_key).ptr || domain_plainly(w, t, pod, node) + own - least > t->max_skew) {
            return false;
        }
    }
    return true;
}

static bool term_means(struct world *w, const struct core_v1_pod_affinity_term *t, const struct core_v1_pod *owner, const struct core_v1_pod *pod)
{
    struct pod_term term;
    return pod_term_make(&w->arena, t, owner->metadata.namespace, &term) && matches_plainly(w, &term, pod);
}

/* Does a required anti-affinity term of 'owner' at node 'a' mind 'pod' at node 'b'? */
static bool anti_minds(struct world *w, const struct core_v1_pod *owner, const struct core_v1_node *a, const struct core_v1_pod *pod,
                       const struct core_v1_node *b)
{
    const struct core_v1_pod_anti_affinity *anti = owner->spec.affinity ? owner->spec.affinity->pod_anti_affinity : NULL;
    for (size_t i = 0; anti && i < anti->n_required_during_scheduling_ignored_during_execution; i++) {
        const struct core_v1_pod_affinity_term *t = &anti->required_during_scheduling_ignored_during_execution[i];
        if (same_domain(a, b, t->topology_key) && term_means(w, t, owner, pod)) {
            return true;
        }
    }
    return false;
}

static bool all_mean(struct world *w, const struct core_v1_pod_affinity *a, const struct core_v1_pod *owner, const struct core_v1_pod *pod)
{
    bool all = true;
    for (size_t i = 0; i < a->n_required_during_scheduling_ignored_during_execution; i++) {
        all = all && term_means(w, &a->required_during_scheduling_ignored_during_execution[i], owner, pod);
    }
    return all;
}

bool affinity_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node)
{
    const struct core_v1_pod_affinity *a = pod->spec.affinity ? pod->spec.affinity->pod_affinity : NULL;
    bool found = true, anywhere = false;
    for (size_t k = 0; a && k < a->n_required_during_scheduling_ignored_during_execution; k++) {
        struct str key = a->required_during_scheduling_ignored_during_execution[k].topology_key;
        bool here = false;
        for (size_t i = 0; i < N_PODS; i++) {
            const struct core_v1_node *at = node_of(w, i);
            if (at && node_label(at, key).ptr && all_mean(w, a, pod, w->pods[i]->pod)) {
                anywhere = true;
                here = here || same_domain(at, node, key);
            }
        }
        if (!node_label(node, key).ptr) {
            return false;
        }
        found = found && here;
    }
    return found || (!anywhere && all_mean(w, a, pod, pod));
}

bool anti_affinity_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node)
{
    for (size_t i = 0; i < N_PODS; i++) {
        const struct core_v1_node *at = node_of(w, i);
        if (at && (anti_minds(w, pod, node, w->pods[i]->pod, at) || anti_minds(w, w->pods[i]->pod, at, pod, node))) {
            return false;
        }
    }
    return true;
}

/* What the preferences of 'owner' at node 'a' give 'pod' at node 'b'. */
static int64_t preferences(struct world *w, const struct core_v1_weighted_pod_affinity_term *t, size_t n, const struct core_v1_pod *owner,
                           const struct core_v1_node *a, const struct core_v1_pod *pod, const struct core_v1_node *b)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        bool counts = same_domain(a, b, t[i].pod_affinity_term.topology_key) && term_means(w, &t[i].pod_affinity_term, owner, pod);
        sum += counts ? t[i].weight : 0;
    }
    return sum;
}

static int64_t likes(struct world *w, const struct core_v1_pod *owner, const struct core_v1_node *a, const struct core_v1_pod *pod,
                     const struct core_v1_node *b)
{
    const struct core_v1_affinity *x = owner->spec.affinity;
    int64_t sum = 0;
    if (x && x->pod_affinity) {
        sum += preferences(w, x->pod_affinity->preferred_during_scheduling_ignored_during_execution,
                           x->pod_affinity->n_preferred_during_scheduling_ignored_during_execution, owner, a, pod, b);
    }
    if (x && x->pod_anti_affinity) {
        sum -= preferences(w, x->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
                           x->pod_anti_affinity->n_preferred_during_scheduling_ignored_during_execution, owner, a, pod, b);
    }
    return sum;
}

/* Preferences of either towards the other, and one for each required affinity term of a running pod (hardPodAffinityWeight). */
int64_t score_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node)
{
    int64_t sum = 0;
    for (size_t i = 0; i < N_PODS; i++) {
        const struct core_v1_node *at = node_of(w, i);
        const struct core_v1_pod *other = at ? w->pods[i]->pod : NULL;
        const struct core_v1_pod_affinity *a = at && other->spec.affinity ? other->spec.affinity->pod_affinity : NULL;
        sum += at ? likes(w, pod, node, other, at) + likes(w, other, at, pod, node) : 0;
        for (size_t k = 0; a && k < a->n_required_during_scheduling_ignored_during_execution; k++) {
            const struct core_v1_pod_affinity_term *t = &a->required_during_scheduling_ignored_during_execution[k];
            sum += same_domain(at, node, t->topology_key) && term_means(w, t, other, pod);
        }
    }
    return sum;
}
