/*
 * InterPodAffinity: required and preferred (anti-)affinity between pods, in both directions for
 * anti-affinity.
 *
 * Three counts by "topologyKey=value" are made once a cycle: pods that the incoming pod's required
 * affinity terms all want, pods that its anti-affinity terms forbid, and running pods whose own
 * anti-affinity forbids the incoming one. Where no pod of the cluster has such terms, that work is
 * not done.
 */
#include "scheduler/plugins/plugins.h"

#include <stdlib.h>

#include "api/selector.h"

/* A preferred term of a running pod counts this much for its required terms
 * (hardPodAffinityWeight). */
#define HARD_AFFINITY_WEIGHT 1

struct term {
    const struct core_v1_pod_affinity_term *t;
    struct selector selector, namespaces; /* 'namespaces' over the labels of namespaces */
    bool by_namespace_selector;
    struct str owner_ns; /* where the term's pod lives: its namespace when the term names none */
};

struct terms {
    struct term *items;
    size_t n;
};

struct counted {
    int64_t n;
};

struct affinity {
    struct terms required, anti;
    struct map wanted, forbidden, forbids; /* "key=value" -> struct counted */
    bool self_match_all;
    bool anything_wanted;
};

static bool has_ns(const struct core_v1_pod_affinity_term *t, struct str ns)
{
    for (size_t i = 0; i < t->n_namespaces; i++) {
        if (str_eq(t->namespaces[i], ns)) {
            return true;
        }
    }
    return false;
}

/* matchLabelKeys and mismatchLabelKeys (KEP-3633) are in the selector already: the apiserver merges
 * them at creation. */
static bool make_term(struct cycle *c, const struct core_v1_pod_affinity_term *t,
                      const struct core_v1_pod *owner, struct term *ret)
{
    *ret = (struct term){ .t = t, .owner_ns = owner->metadata.namespace };
    if (!selector_from_label_selector(c->arena, t->label_selector, &ret->selector, NULL)) {
        return false;
    }
    ret->by_namespace_selector = t->namespace_selector != NULL;
    return !ret->by_namespace_selector ||
           selector_from_label_selector(c->arena, t->namespace_selector, &ret->namespaces, NULL);
}

static bool term_matches(struct cycle *c, const struct term *t, const struct core_v1_pod *pod)
{
    struct str ns = pod->metadata.namespace;
    bool in_ns = has_ns(t->t, ns);
    if (!in_ns && !t->t->n_namespaces && !t->by_namespace_selector) {
        in_ns = str_eq(ns, t->owner_ns);
    }
    if (!in_ns && t->by_namespace_selector) {
        size_t n = 0;
        const struct api_str_pair *labels =
            c->namespace_labels ? c->namespace_labels(c->namespace_data, ns, &n) : NULL;
        in_ns = selector_matches(&t->namespaces, labels, n);
    }
    return in_ns && selector_matches(&t->selector, pod->metadata.labels, pod->metadata.n_labels);
}

static struct terms make_terms(struct cycle *c, const struct core_v1_pod *owner,
                               const struct core_v1_pod_affinity_term *items, size_t n)
{
    struct terms ts = { .items = arena_new_n(c->arena, struct term, n) };
    for (size_t i = 0; i < n; i++) {
        ts.n += make_term(c, &items[i], owner, &ts.items[ts.n]);
    }
    return ts;
}

static struct terms required_affinity(struct cycle *c, const struct core_v1_pod *pod)
{
    const struct core_v1_affinity *a = pod->spec.affinity;
    return a && a->pod_affinity
               ? make_terms(c, pod,
                            a->pod_affinity->required_during_scheduling_ignored_during_execution,
                            a->pod_affinity->n_required_during_scheduling_ignored_during_execution)
               : (struct terms){ 0 };
}

static struct terms required_anti_affinity(struct cycle *c, const struct core_v1_pod *pod)
{
    const struct core_v1_affinity *a = pod->spec.affinity;
    return a && a->pod_anti_affinity
               ? make_terms(
                     c, pod,
                     a->pod_anti_affinity->required_during_scheduling_ignored_during_execution,
                     a->pod_anti_affinity->n_required_during_scheduling_ignored_during_execution)
               : (struct terms){ 0 };
}

static struct str topology_pair(struct cycle *c, struct str key, const struct core_v1_node *node)
{
    struct str value = node_label(node, key);
    return value.ptr ? arena_printf(c->arena, "%.*s=%.*s", STR_ARG(key), STR_ARG(value)) : STR_NULL;
}

static void count(struct cycle *c, struct map *m, struct str key, const struct core_v1_node *node,
                  int64_t by)
{
    struct str pair = topology_pair(c, key, node);
    if (!pair.ptr) {
        return;
    }
    struct counted *x = map_get(m, pair);
    if (!x) {
        x = arena_new(c->arena, struct counted);
        map_put(m, pair, x);
    }
    x->n += by;
}

static int64_t counted_at(struct cycle *c, const struct map *m, struct str key,
                          const struct core_v1_node *node)
{
    struct str pair = topology_pair(c, key, node);
    const struct counted *x = pair.ptr ? map_get(m, pair) : NULL;
    return x ? x->n : 0;
}

static bool all_match(struct cycle *c, const struct terms *ts, const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < ts->n; i++) {
        if (!term_matches(c, &ts->items[i], pod)) {
            return false;
        }
    }
    return ts->n > 0;
}

static void look_at_node(struct cycle *c, struct affinity *s, const struct node_info *n)
{
    bool own = s->required.n || s->anti.n;
    if (!own && !n->n_required_anti_affinity) {
        return;
    }
    for (const struct list *l = n->pods.next; l != &n->pods; l = l->next) {
        const struct pod_info *p =
            CONTAINER_OF((struct list *)(uintptr_t)l, struct pod_info, on_node);
        if (all_match(c, &s->required, p->pod)) {
            s->anything_wanted = true;
            for (size_t i = 0; i < s->required.n; i++) {
                count(c, &s->wanted, s->required.items[i].t->topology_key, n->node, 1);
            }
        }
        for (size_t i = 0; i < s->anti.n; i++) {
            if (term_matches(c, &s->anti.items[i], p->pod)) {
                count(c, &s->forbidden, s->anti.items[i].t->topology_key, n->node, 1);
            }
        }
        if (p->has_required_anti_affinity) {
            struct terms theirs = required_anti_affinity(c, p->pod);
            for (size_t i = 0; i < theirs.n; i++) {
                if (term_matches(c, &theirs.items[i], c->pod->pod)) {
                    count(c, &s->forbids, theirs.items[i].t->topology_key, n->node, 1);
                }
            }
        }
    }
}

static enum sched_verdict pre_filter(struct cycle *c, void **state, struct rejection *r UNUSED)
{
    struct affinity *s = arena_new(c->arena, struct affinity);
    s->required = required_affinity(c, c->pod->pod);
    s->anti = required_anti_affinity(c, c->pod->pod);
    if (!s->required.n && !s->anti.n && !c->cache->n_anti_affinity_pods) {
        return SCHED_SKIP;
    }
    map_init(&s->wanted);
    map_init(&s->forbidden);
    map_init(&s->forbids);
    s->self_match_all = all_match(c, &s->required, c->pod->pod);
    for (size_t k = 0; k < c->cache->n_nodes; k++) {
        look_at_node(c, s, c->cache->nodes[k]);
    }
    *state = s;
    return SCHED_OK;
}

/* Do all required terms find a wanted pod in the node's topology? */
static bool affinity_satisfied(struct cycle *c, const struct affinity *s, const struct node_info *n)
{
    for (size_t i = 0; i < s->required.n; i++) {
        struct str key = s->required.items[i].t->topology_key;
        if (!node_label(n->node, key).ptr) {
            return false;
        }
        if (counted_at(c, &s->wanted, key, n->node) == 0) {
            /* The first pod of a group that wants itself may go anywhere that has the labels. */
            if (s->anything_wanted || !s->self_match_all) {
                return false;
            }
        }
    }
    return true;
}

static bool any_pair(const struct map *m, const struct core_v1_node *node)
{
    struct str pair, key, value;
    for (size_t pos = 0; map_next(m, &pos, &pair, NULL);) {
        str_cut(pair, '=', &key, &value);
        struct str here = node_label(node, key);
        if (here.ptr && str_eq(here, value)) {
            return true;
        }
    }
    return false;
}

static enum sched_verdict filter(struct cycle *c, void *state, const struct node_info *n,
                                 struct rejection *r)
{
    const struct affinity *s = state;
    if (!affinity_satisfied(c, s, n)) {
        reject(r, STR("node(s) didn't match pod affinity rules"));
        return SCHED_UNRESOLVABLE;
    }
    for (size_t i = 0; i < s->anti.n; i++) {
        if (counted_at(c, &s->forbidden, s->anti.items[i].t->topology_key, n->node) > 0) {
            reject(r, STR("node(s) didn't match pod anti-affinity rules"));
            return SCHED_UNSCHEDULABLE;
        }
    }
    if (s->forbids.n && any_pair(&s->forbids, n->node)) {
        reject(r, STR("node(s) didn't satisfy existing pods anti-affinity rules"));
        return SCHED_UNSCHEDULABLE;
    }
    return SCHED_OK;
}

/* ---- score ---- */

struct liking {
    struct map points; /* "key=value" -> struct counted */
};

/* Preferred terms of 'a' towards 'b', counted at the node where the other of the two is. */
static void like(struct cycle *c, struct liking *s, const struct core_v1_pod *owner,
                 const struct core_v1_pod *other,
                 const struct core_v1_weighted_pod_affinity_term *items, size_t n, int64_t sign,
                 const struct core_v1_node *node)
{
    for (size_t i = 0; i < n; i++) {
        struct term t;
        if (make_term(c, &items[i].pod_affinity_term, owner, &t) && term_matches(c, &t, other)) {
            count(c, &s->points, t.t->topology_key, node, sign * items[i].weight);
        }
    }
}

static void like_by(struct cycle *c, struct liking *s, const struct core_v1_pod *owner,
                    const struct core_v1_pod *other, const struct core_v1_node *node)
{
    const struct core_v1_affinity *a = owner->spec.affinity;
    if (a && a->pod_affinity) {
        like(c, s, owner, other,
             a->pod_affinity->preferred_during_scheduling_ignored_during_execution,
             a->pod_affinity->n_preferred_during_scheduling_ignored_during_execution, 1, node);
    }
    if (a && a->pod_anti_affinity) {
        like(c, s, owner, other,
             a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
             a->pod_anti_affinity->n_preferred_during_scheduling_ignored_during_execution, -1,
             node);
    }
}

static enum sched_verdict pre_score(struct cycle *c, void **state,
                                    struct node_info *const *nodes UNUSED, size_t n_nodes UNUSED)
{
    const struct pod_info *in = c->pod;
    bool own = in->has_affinity || in->has_anti_affinity;
    if (!own && !c->cache->n_affinity_pods) {
        return SCHED_SKIP;
    }
    const struct sched_profile *profile = cycle_profile(c);
    int64_t hard = profile->has_hard_affinity_weight ? profile->hard_affinity_weight : HARD_AFFINITY_WEIGHT;
    struct liking *s = arena_new(c->arena, struct liking);
    map_init(&s->points);
    for (size_t k = 0; k < c->cache->n_nodes; k++) {
        const struct node_info *n = c->cache->nodes[k];
        if (!own && !n->n_affinity) {
            continue;
        }
        for (const struct list *l = n->pods.next; l != &n->pods; l = l->next) {
            const struct pod_info *p =
                CONTAINER_OF((struct list *)(uintptr_t)l, struct pod_info, on_node);
            if (own) {
                like_by(c, s, in->pod, p->pod, n->node);
            }
            if (p->has_affinity || p->has_anti_affinity) {
                if (own || !cycle_profile(c)->ignore_preferred_of_existing) {
                    like_by(c, s, p->pod, in->pod, n->node);
                }
                struct terms required = required_affinity(c, p->pod);
                for (size_t i = 0; i < required.n; i++) {
                    if (term_matches(c, &required.items[i], in->pod)) {
                        count(c, &s->points, required.items[i].t->topology_key, n->node,
                              hard);
                    }
                }
            }
        }
    }
    *state = s;
    return SCHED_OK;
}

static int64_t score(struct cycle *c UNUSED, void *state, const struct node_info *n)
{
    const struct liking *s = state;
    struct str pair, key, value;
    void *x;
    int64_t sum = 0;
    for (size_t pos = 0; map_next(&s->points, &pos, &pair, &x);) {
        str_cut(pair, '=', &key, &value);
        struct str here = node_label(n->node, key);
        if (here.ptr && str_eq(here, value)) {
            sum += ((const struct counted *)x)->n;
        }
    }
    return sum;
}

static void normalize(struct cycle *c UNUSED, void *state UNUSED,
                      struct node_info *const *nodes UNUSED, int64_t *scores, size_t n)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        least = MIN(least, scores[i]);
        most = MAX(most, scores[i]);
    }
    for (size_t i = 0; i < n; i++) {
        scores[i] = most > least ? SCHED_SCORE_MAX * (scores[i] - least) / (most - least) : 0;
    }
}

static void done(struct cycle *c UNUSED, void *filter_state, void *score_state)
{
    struct affinity *f = filter_state;
    struct liking *s = score_state;
    if (f) {
        map_deinit(&f->wanted);
        map_deinit(&f->forbidden);
        map_deinit(&f->forbids);
    }
    if (s) {
        map_deinit(&s->points);
    }
}

const struct sched_plugin plugin_inter_pod_affinity = {
    .name = "InterPodAffinity",
    .events = EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_POD_ADD | EVENT_POD_UPDATE |
              EVENT_POD_DELETE | EVENT_NAMESPACE,
    .weight = 2,
    .pre_filter = pre_filter,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
    .done = done,
};
