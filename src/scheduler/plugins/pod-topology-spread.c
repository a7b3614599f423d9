/*
 * PodTopologySpread: spec.topologySpreadConstraints, and where a pod has none, kube-scheduler's
 * defaults (hostname maxSkew 3, zone maxSkew 5, ScheduleAnyway) over the pods of the same
 * controller.
 */
#include "scheduler/plugins/plugins.h"

#include <math.h>
#include <stdlib.h>

#include "api/selector.h"

#define HOSTNAME STR("kubernetes.io/hostname")
#define ZONE STR("topology.kubernetes.io/zone")

/* Pods by domain, for one constraint of one pod. */
struct spread_counts {
    const struct counts *by_domain; /* kept by the cache's index, or */
    const uint32_t *own;            /* counted for this pod: plus one, by number; 0: the domain does not count */
    uint32_t n_domains;             /* that do */
};

struct constraint {
    struct str key;
    int32_t max_skew, min_domains;
    bool honor_affinity, honor_taints, self_match;
    bool by_controller; /* a default: counts pods of the same controller rather than by selector */
    struct selector selector;
    struct census *census; /* the pods that count; NULL: there are none */
    const struct topology *topology; /* NULL: no node has the label */
    struct partition *partition;     /* held; NULL: of a soft one by hostname, where every node is a domain of its own */
    struct spread_counts counts;
    int64_t least; /* of the hard ones: pods in the domain that has fewest */
    double weight; /* of the soft ones */
};

struct spread {
    struct constraint *constraints;
    size_t n;
    struct str *keys; /* of all constraints of this kind: a node without one of them does not count */
    size_t n_keys;
};

/* The selector of a constraint with matchLabelKeys added (KEP-3243). */
static bool make_selector(struct cycle *c, const struct core_v1_topology_spread_constraint *t,
                          struct selector *ret)
{
    const struct core_v1_pod *pod = c->pod->pod;
    if (!selector_from_label_selector(c->arena, t->label_selector, ret, NULL)) {
        return false;
    }
    for (size_t i = 0; i < t->n_match_label_keys && !ret->nothing; i++) {
        for (size_t k = 0; k < pod->metadata.n_labels; k++) {
            if (str_eq(pod->metadata.labels[k].key, t->match_label_keys[i])) {
                struct selector_req *reqs =
                    arena_grow_n(c->arena, ret->reqs, ret->n, ret->n + 1, sizeof(*reqs));
                struct str *value = arena_new(c->arena, struct str);
                if (!reqs || !value) {
                    return false;
                }
                *value = pod->metadata.labels[k].value;
                reqs[ret->n] = (struct selector_req){ .key = pod->metadata.labels[k].key,
                                                      .op = SELECTOR_IN,
                                                      .values = value,
                                                      .n_values = 1 };
                ret->reqs = reqs;
                ret->n++;
            }
        }
    }
    return true;
}

/* The constraints of one kind of the pod, in the arena. */
static struct spread *constraints_of(struct cycle *c, struct str when)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    struct spread *s = arena_new(c->arena, struct spread);
    s->constraints =
        arena_new_n(c->arena, struct constraint, spec->n_topology_spread_constraints + 2);
    s->keys = arena_new_n(c->arena, struct str, spec->n_topology_spread_constraints);
    for (size_t i = 0; i < spec->n_topology_spread_constraints; i++) {
        const struct core_v1_topology_spread_constraint *t = &spec->topology_spread_constraints[i];
        struct constraint *x = &s->constraints[s->n];
        if (!str_eq(t->when_unsatisfiable, when) || !make_selector(c, t, &x->selector)) {
            continue;
        }
        x->key = t->topology_key;
        x->max_skew = t->max_skew;
        x->min_domains = t->has_min_domains ? t->min_domains : 1;
        x->honor_affinity = !str_eq(t->node_affinity_policy, STR("Ignore"));
        x->honor_taints = str_eq(t->node_taints_policy, STR("Honor"));
        x->self_match = selector_matches(&x->selector, c->pod->pod->metadata.labels,
                                         c->pod->pod->metadata.n_labels);
        s->keys[s->n_keys++] = x->key;
        s->n++;
    }
    if (!spec->n_topology_spread_constraints && str_eq(when, STR("ScheduleAnyway")) &&
        c->pod->controller.len) {
        s->constraints[s->n++] = (struct constraint){ .key = HOSTNAME,
                                                      .max_skew = 3,
                                                      .min_domains = 1,
                                                      .honor_affinity = true,
                                                      .self_match = true,
                                                      .by_controller = true };
        s->constraints[s->n++] = (struct constraint){ .key = ZONE,
                                                      .max_skew = 5,
                                                      .min_domains = 1,
                                                      .honor_affinity = true,
                                                      .self_match = true,
                                                      .by_controller = true };
    }
    return s->n ? s : NULL;
}

static struct census *census_of(struct cycle *c, const struct constraint *x)
{
    struct index *index = &c->cache->index;
    if (x->by_controller) {
        struct family *f = index_family(index, c->pod);
        return f ? &f->census : NULL;
    }
    struct str ns = c->pod->pod->metadata.namespace;
    struct pod_term term = { .selector = x->selector, .ns = &ns, .n_ns = 1 };
    return &index_podset(index, &term, 1, true)->census;
}

static bool has_keys(const struct spread *s, const struct core_v1_node *node)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        if (!node_label(node, s->keys[i]).ptr) {
            return false;
        }
    }
    return true;
}

static bool eligible(const struct cycle *c, const struct spread *s, const struct constraint *x, const struct node_info *n)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    return has_keys(s, n->node) && (!x->honor_affinity || node_affinity_matches(spec, n->node)) &&
           (!x->honor_taints || !n->taints_hard || !untolerated_taint(spec, n->node, false));
}

/* Counts for this pod alone, node by node. */
static void count_own(struct cycle *c, const struct spread *s, struct constraint *x)
{
    bool few = c->only && x->honor_affinity; /* affinity names them: no other is eligible */
    size_t n_nodes = few ? c->n_only : c->cache->n_nodes;
    struct node_info **nodes = few ? c->only : c->cache->nodes;
    uint32_t *own = arena_new_n(c->arena, uint32_t, x->topology->n_numbers);
    if (!own) {
        abort();
    }
    for (size_t i = 0; i < n_nodes; i++) {
        uint32_t at = topology_at(x->topology, nodes[i]->slot);
        if (at && eligible(c, s, x, nodes[i])) {
            x->counts.n_domains += own[at - 1] == 0;
            own[at - 1] += (own[at - 1] == 0) + (x->census ? counts_get(&x->census->by_node, nodes[i]->slot) : 0);
        }
    }
    x->counts.own = own;
}

/*
 * The pods of a constraint by domain. The index keeps them where what makes a node eligible is the pod's node selector or affinity,
 * the labels of the constraints, or nothing; taints, and affinity to nodes by name, differ from pod to pod.
 */
static void count(struct cycle *c, const struct spread *s, struct constraint *x)
{
    static const struct counts none;
    static const struct core_v1_pod_spec anywhere;
    struct areas *areas = &c->cache->index.areas;
    struct selection *selection = NULL;
    bool own = (x->honor_taints && c->cache->n_taints_hard) || (x->honor_affinity && c->only);
    if (!own) {
        /* One key needs no mention: a node without it is in no domain. */
        selection = areas_selection(areas, x->honor_affinity ? &c->pod->pod->spec : &anywhere, s->keys, s->n_keys > 1 ? s->n_keys : 0);
    }
    x->partition = areas_partition(areas, x->key, selection);
    x->topology = x->partition->topology;
    x->counts.n_domains = 0;
    if (own) {
        count_own(c, s, x);
        return;
    }
    x->counts.n_domains = x->partition->n_domains;
    x->counts.by_domain = &none;
    if (x->census) {
        x->partition->refs++; /* the view's */
        x->counts.by_domain = &census_view(areas, x->census, x->partition)->by_domain;
    }
}

static uint32_t count_at(const struct constraint *x, uint32_t number)
{
    const struct spread_counts *n = &x->counts;
    return n->by_domain ? counts_get(n->by_domain, number) : n->own[number] ? n->own[number] - 1 : 0;
}

static int64_t least_count(const struct constraint *x)
{
    const struct spread_counts *n = &x->counts;
    uint32_t least = UINT32_MAX, number, there;
    if (!n->n_domains || n->n_domains < (uint32_t)x->min_domains || (n->by_domain && n->by_domain->n < n->n_domains)) {
        return 0; /* of these domains one at least has none */
    }
    for (uint32_t pos = 0; n->by_domain && counts_next(n->by_domain, &pos, &number, &there);) {
        least = MIN(least, there);
    }
    for (uint32_t i = 0; n->own && i < x->topology->n_numbers; i++) {
        least = n->own[i] ? MIN(least, n->own[i] - 1) : least;
    }
    return least;
}

static void let_go(struct cycle *c, struct spread *s)
{
    for (size_t i = 0; s && i < s->n; i++) {
        if (s->constraints[i].partition) {
            areas_partition_unref(&c->cache->index.areas, s->constraints[i].partition);
        }
    }
}

static void done(struct cycle *c, void *filter_state, void *score_state)
{
    let_go(c, filter_state);
    let_go(c, score_state);
}

/* ---- filter ---- */

static enum sched_verdict pre_filter(struct cycle *c, void **state, struct rejection *r UNUSED)
{
    struct spread *s = constraints_of(c, STR("DoNotSchedule"));
    if (!s) {
        return SCHED_SKIP;
    }
    for (size_t i = 0; i < s->n; i++) {
        struct constraint *x = &s->constraints[i];
        x->census = census_of(c, x);
        count(c, s, x);
        x->least = least_count(x);
    }
    *state = s;
    return SCHED_OK;
}

static enum sched_verdict filter(struct cycle *c UNUSED, void *state, const struct node_info *n,
                                 struct rejection *r)
{
    const struct spread *s = state;
    for (size_t i = 0; i < s->n; i++) {
        const struct constraint *x = &s->constraints[i];
        uint32_t at = topology_at(x->topology, n->slot);
        if (!at) {
            reject(r, STR("node(s) didn't match pod topology spread constraints (missing required "
                          "label)"));
            return SCHED_UNRESOLVABLE;
        }
        if ((int64_t)count_at(x, at - 1) + x->self_match - x->least > x->max_skew) {
            reject(r, STR("node(s) didn't match pod topology spread constraints"));
            return SCHED_UNSCHEDULABLE;
        }
    }
    return SCHED_OK;
}

/* ---- score ---- */

/* Nodes without one of the labels of the pod's own constraints are ignored: they get 0 in the end. */
#define IGNORED INT64_MIN

static bool ignored(const struct spread *s, const struct node_info *n)
{
    for (size_t i = 0; s->n_keys && i < s->n; i++) {
        if (!s->constraints[i].topology || !topology_at(s->constraints[i].topology, n->slot)) {
            return true;
        }
    }
    return false;
}

/* How much a pod in a domain weighs: more where there are more domains among the nodes that fit. */
static double weight_of(struct cycle *c, const struct spread *s, const struct constraint *x, struct node_info *const *nodes, size_t n_nodes)
{
    size_t domains = 0;
    bool *seen = x->partition ? arena_new_n(c->arena, bool, x->topology->n_numbers) : NULL;
    for (size_t k = 0; k < n_nodes; k++) {
        if (ignored(s, nodes[k])) {
            continue;
        }
        uint32_t at = seen ? topology_at(x->topology, nodes[k]->slot) : 0;
        if (!x->partition) {
            domains++;
        } else if (at && !seen[at - 1]) {
            seen[at - 1] = true;
            domains++;
        }
    }
    return log((double)domains + 2);
}

static enum sched_verdict pre_score(struct cycle *c, void **state, struct node_info *const *nodes,
                                    size_t n_nodes)
{
    struct spread *s = n_nodes < 2 ? NULL : constraints_of(c, STR("ScheduleAnyway"));
    if (!s) {
        return SCHED_SKIP;
    }
    for (size_t i = 0; i < s->n; i++) {
        struct constraint *x = &s->constraints[i];
        x->census = census_of(c, x);
        if (str_eq(x->key, HOSTNAME)) {
            x->topology = areas_topology(&c->cache->index.areas, x->key);
        } else {
            count(c, s, x);
        }
    }
    for (size_t i = 0; i < s->n; i++) {
        s->constraints[i].weight = weight_of(c, s, &s->constraints[i], nodes, n_nodes);
    }
    *state = s;
    return SCHED_OK;
}

static int64_t score(struct cycle *c UNUSED, void *state, const struct node_info *n)
{
    const struct spread *s = state;
    double sum = 0;
    if (ignored(s, n)) {
        return IGNORED;
    }
    for (size_t i = 0; i < s->n; i++) {
        const struct constraint *x = &s->constraints[i];
        uint32_t at = x->topology ? topology_at(x->topology, n->slot) : 0;
        if (!at) {
            continue;
        }
        uint32_t there = x->partition ? count_at(x, at - 1) : x->census ? counts_get(&x->census->by_node, n->slot) : 0;
        sum += there * x->weight + (double)(x->max_skew - 1);
    }
    return (int64_t)llround(sum);
}

static void normalize(struct cycle *c UNUSED, void *state UNUSED,
                      struct node_info *const *nodes UNUSED, int64_t *scores, size_t n)
{
    int64_t least = INT64_MAX, most = 0;
    for (size_t i = 0; i < n; i++) {
        if (scores[i] != IGNORED) {
            least = MIN(least, scores[i]);
            most = MAX(most, scores[i]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        scores[i] = scores[i] == IGNORED ? 0
                    : most               ? SCHED_SCORE_MAX * (most + least - scores[i]) / most
                                         : SCHED_SCORE_MAX;
    }
}

/* A pod that came or went matters when a constraint counts it; a node when it has the labels. */
static bool hint(struct cache *cache, const struct pod_info *p, const struct sched_change *change)
{
    if (!(change->events & (EVENT_POD_ADD | EVENT_POD_DELETE)) || !change->pod) {
        return true;
    }
    const struct core_v1_pod *pod = change->pod;
    if (!str_eq(pod->metadata.namespace, p->pod->metadata.namespace)) {
        return false;
    }
    struct arena arena;
    struct cycle c = { .cache = cache, .pod = (struct pod_info *)(uintptr_t)p, .arena = &arena };
    bool counts = false;
    arena_init(&arena, ARENA_NO_BUDGET);
    const struct spread *s = constraints_of(&c, STR("DoNotSchedule"));
    for (size_t i = 0; s && i < s->n; i++) {
        counts = counts || selector_matches(&s->constraints[i].selector, pod->metadata.labels, pod->metadata.n_labels);
    }
    arena_deinit(&arena);
    return counts;
}

const struct sched_plugin plugin_pod_topology_spread = {
    .name = "PodTopologySpread",
    /* A node that goes, or whose taints some pods do not tolerate, may have been the domain with the fewest pods. */
    .events = EVENT_NODE_ADD | EVENT_NODE_DELETE | EVENT_NODE_LABEL | EVENT_NODE_TAINT | EVENT_POD_ADD | EVENT_POD_UPDATE |
              EVENT_POD_DELETE,
    .weight = 2,
    .indexed = true,
    .hint = hint,
    .pre_filter = pre_filter,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
    .done = done,
};
