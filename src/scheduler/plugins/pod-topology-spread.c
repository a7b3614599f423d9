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

struct constraint {
    struct str key;
    int32_t max_skew, min_domains;
    bool honor_affinity, honor_taints, self_match;
    bool by_controller; /* a default: counts pods of the same controller rather than by selector */
    struct selector selector;
    struct map counts; /* topology value -> struct domain */
};

struct domain {
    int64_t n;
};

struct spread {
    struct constraint *constraints;
    size_t n;
};

static bool counts_pod(const struct cycle *c, const struct constraint *x, const struct pod_info *p)
{
    if (x->by_controller && (p->controller_hash != c->pod->controller_hash ||
                             !str_eq(p->controller, c->pod->controller))) {
        return false;
    }
    const struct core_v1_pod *pod = p->pod;
    if (pod->metadata.deletion_timestamp.set ||
        !str_eq(pod->metadata.namespace, c->pod->pod->metadata.namespace)) {
        return false;
    }
    if (x->by_controller) {
        return true;
    }
    return selector_matches(&x->selector, pod->metadata.labels, pod->metadata.n_labels);
}

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

static bool eligible(const struct cycle *c, const struct constraint *x, const struct node_info *n)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    return (!x->honor_affinity || node_affinity_matches(spec, n->node)) &&
           (!x->honor_taints || !untolerated_taint(spec, n->node, false));
}

/* The constraints of one kind of the pod, in the arena. */
static struct spread *constraints_of(struct cycle *c, struct str when)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    struct spread *s = arena_new(c->arena, struct spread);
    s->constraints =
        arena_new_n(c->arena, struct constraint, spec->n_topology_spread_constraints + 2);
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

static int64_t matching_pods(const struct cycle *c, const struct constraint *x,
                             const struct node_info *n)
{
    int64_t count = 0;
    for (const struct list *l = n->pods.next; l != &n->pods; l = l->next) {
        const struct pod_info *p =
            CONTAINER_OF((struct list *)(uintptr_t)l, struct pod_info, on_node);
        count += counts_pod(c, x, p);
    }
    return count;
}

/* Adds a node's pods to its domain. */
static void count_node(struct cycle *c, struct constraint *x, const struct node_info *n)
{
    struct str value = node_label(n->node, x->key);
    if (!value.ptr || !eligible(c, x, n)) {
        return;
    }
    struct domain *d = map_get(&x->counts, value);
    if (!d) {
        d = arena_new(c->arena, struct domain);
        map_put(&x->counts, value, d);
    }
    d->n += matching_pods(c, x, n);
}

static int64_t least_count(const struct constraint *x)
{
    int64_t least = INT64_MAX;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&x->counts, &pos, &key, &value);) {
        least = MIN(least, ((struct domain *)value)->n);
    }
    return x->counts.n < (size_t)x->min_domains || least == INT64_MAX ? 0 : least;
}

/* ---- filter ---- */

struct hard {
    struct spread *spread;
    int64_t *least;
};

static enum sched_verdict pre_filter(struct cycle *c, void **state, struct rejection *r UNUSED)
{
    struct spread *s = constraints_of(c, STR("DoNotSchedule"));
    if (!s) {
        return SCHED_SKIP;
    }
    struct hard *h = arena_new(c->arena, struct hard);
    h->spread = s;
    h->least = arena_new_n(c->arena, int64_t, s->n);
    for (size_t i = 0; i < s->n; i++) {
        map_init(&s->constraints[i].counts);
        for (size_t k = 0; k < c->cache->n_nodes; k++) {
            count_node(c, &s->constraints[i], c->cache->nodes[k]);
        }
        h->least[i] = least_count(&s->constraints[i]);
    }
    *state = h;
    return SCHED_OK;
}

static enum sched_verdict filter(struct cycle *c UNUSED, void *state, const struct node_info *n,
                                 struct rejection *r)
{
    const struct hard *h = state;
    for (size_t i = 0; i < h->spread->n; i++) {
        const struct constraint *x = &h->spread->constraints[i];
        struct str value = node_label(n->node, x->key);
        if (!value.ptr) {
            reject(r, STR("node(s) didn't match pod topology spread constraints (missing required "
                          "label)"));
            return SCHED_UNRESOLVABLE;
        }
        const struct domain *d = map_get(&x->counts, value);
        int64_t count = d ? d->n : 0;
        if (count + x->self_match - h->least[i] > x->max_skew) {
            reject(r, STR("node(s) didn't match pod topology spread constraints"));
            return SCHED_UNSCHEDULABLE;
        }
    }
    return SCHED_OK;
}

static void free_counts(struct spread *s)
{
    for (size_t i = 0; s && i < s->n; i++) {
        map_deinit(&s->constraints[i].counts);
    }
}

static void done(struct cycle *c UNUSED, void *filter_state, void *score_state)
{
    free_counts(filter_state ? ((struct hard *)filter_state)->spread : NULL);
    free_counts(score_state);
}

/* ---- score ---- */

static enum sched_verdict pre_score(struct cycle *c, void **state, struct node_info *const *nodes,
                                    size_t n_nodes)
{
    struct spread *s = constraints_of(c, STR("ScheduleAnyway"));
    if (!s || n_nodes < 2) {
        return SCHED_SKIP;
    }
    for (size_t i = 0; i < s->n; i++) {
        struct constraint *x = &s->constraints[i];
        map_init(&x->counts);
        if (str_eq(x->key, HOSTNAME)) {
            continue; /* counted when a node is scored: every node is a domain of its own */
        }
        /* Domains are those of the nodes that fit; pods of all nodes count in them. */
        for (size_t k = 0; k < n_nodes; k++) {
            struct str value = node_label(nodes[k]->node, x->key);
            if (value.ptr && !map_get(&x->counts, value)) {
                map_put(&x->counts, value, arena_new(c->arena, struct domain));
            }
        }
        for (size_t k = 0; x->counts.n && k < c->cache->n_nodes; k++) {
            const struct node_info *n = c->cache->nodes[k];
            int64_t matching = matching_pods(c, x, n);
            struct str value = matching ? node_label(n->node, x->key) : STR_NULL;
            struct domain *d = value.ptr ? map_get(&x->counts, value) : NULL;
            if (d && eligible(c, x, n)) {
                d->n += matching;
            }
        }
    }
    *state = s;
    return SCHED_OK;
}

static int64_t score(struct cycle *c, void *state, const struct node_info *n)
{
    const struct spread *s = state;
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct constraint *x = &s->constraints[i];
        struct str value = node_label(n->node, x->key);
        if (!value.ptr) {
            continue;
        }
        bool host = str_eq(x->key, HOSTNAME);
        const struct domain *d = host ? NULL : map_get(&x->counts, value);
        double count = (double)(host ? matching_pods(c, x, n) : d ? d->n : 0);
        double domains = (double)(host ? c->cache->n_nodes : x->counts.n);
        sum += count * log(domains + 2) + (double)(x->max_skew - 1);
    }
    return (int64_t)llround(sum);
}

static void normalize(struct cycle *c UNUSED, void *state UNUSED,
                      struct node_info *const *nodes UNUSED, int64_t *scores, size_t n)
{
    int64_t least = INT64_MAX, most = 0;
    for (size_t i = 0; i < n; i++) {
        least = MIN(least, scores[i]);
        most = MAX(most, scores[i]);
    }
    for (size_t i = 0; i < n; i++) {
        scores[i] = most ? SCHED_SCORE_MAX * (most + least - scores[i]) / most : SCHED_SCORE_MAX;
    }
}

const struct sched_plugin plugin_pod_topology_spread = {
    .name = "PodTopologySpread",
    .events =
        EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_POD_ADD | EVENT_POD_UPDATE | EVENT_POD_DELETE,
    .weight = 2,
    .pre_filter = pre_filter,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
    .done = done,
};
