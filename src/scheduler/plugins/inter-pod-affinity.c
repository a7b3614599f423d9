/*
 * InterPodAffinity: required and preferred (anti-)affinity between pods, in both directions for
 * anti-affinity.
 *
 * The cache's index has the counts: of the pods that a term of the incoming pod means (podsets), and of the pods that carry a term
 * which means the incoming one (holdings). A cycle gathers the views that concern its pod; a node then costs a look-up in each.
 */
#include "scheduler/plugins/plugins.h"

#include <stdlib.h>

/* A preferred term of a running pod counts this much for its required terms
 * (hardPodAffinityWeight). */
#define HARD_AFFINITY_WEIGHT 1

/* Pods by domain that speak for a node (or against it), each by this much. */
struct opinion {
    const struct view *view;
    int64_t weight;
};

struct opinions {
    struct arena *arena;
    struct opinion *items;
    size_t n, capacity;
};

static void add_opinion(struct opinions *o, const struct view *view, int64_t weight)
{
    if (o->n == o->capacity) {
        size_t capacity = o->capacity ? o->capacity * 2 : 4;
        o->items = arena_grow_n(o->arena, o->items, o->n, capacity, sizeof(*o->items));
        if (!o->items) {
            abort();
        }
        o->capacity = capacity;
    }
    o->items[o->n++] = (struct opinion){ .view = view, .weight = weight };
}

static uint32_t count_at(const struct view *v, const struct node_info *n)
{
    uint32_t at = partition_at(v->partition, n->slot);
    return at ? counts_get(&v->by_domain, at - 1) : 0;
}

static const struct view *view_of(struct cycle *c, struct podset *s, struct str topology_key)
{
    struct areas *a = &c->cache->index.areas;
    return census_view(a, &s->census, areas_partition(a, topology_key, NULL));
}

/* ---- filter ---- */

struct affinity {
    struct opinions wanted;    /* pods that all required affinity terms want, by the topology of each term */
    struct opinions forbidden; /* pods that a required anti-affinity term forbids */
    struct opinions forbids;   /* pods whose own anti-affinity forbids the incoming one */
    bool anything_wanted;
    bool self_match_all;
};

static void gather_wanted(struct cycle *c, struct affinity *s, const struct core_v1_pod_affinity_term *t, size_t n)
{
    const struct core_v1_pod *pod = c->pod->pod;
    struct index *index = &c->cache->index;
    struct pod_term *terms = arena_new_n(c->arena, struct pod_term, n);
    size_t n_terms = 0;
    s->self_match_all = true;
    for (size_t i = 0; i < n; i++) {
        if (pod_term_make(c->arena, &t[i], pod->metadata.namespace, &terms[n_terms])) {
            s->self_match_all = s->self_match_all && pod_term_matches(index, &terms[n_terms], pod);
            n_terms++;
        }
    }
    if (!n_terms) {
        return;
    }
    struct podset *set = index_podset(index, terms, n_terms, false);
    for (size_t i = 0; i < n; i++) {
        add_opinion(&s->wanted, view_of(c, set, t[i].topology_key), 1);
        s->anything_wanted = s->anything_wanted || s->wanted.items[i].view->by_domain.n > 0;
    }
}

static void gather_forbidden(struct cycle *c, struct affinity *s, const struct core_v1_pod_affinity_term *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pod_term term;
        if (pod_term_make(c->arena, &t[i], c->pod->pod->metadata.namespace, &term)) {
            add_opinion(&s->forbidden, view_of(c, index_podset(&c->cache->index, &term, 1, false), t[i].topology_key), 1);
        }
    }
}

static void on_forbids(void *arg, const struct holding *h)
{
    struct affinity *s = arg;
    if (h->kind == HOLDS_ANTI_AFFINITY) {
        add_opinion(&s->forbids, h->view, 1);
    }
}

static enum sched_verdict pre_filter(struct cycle *c, void **state, struct rejection *r UNUSED)
{
    const struct core_v1_affinity *a = c->pod->pod->spec.affinity;
    struct affinity *s = arena_new(c->arena, struct affinity);
    s->wanted.arena = s->forbidden.arena = s->forbids.arena = c->arena;
    if (a && a->pod_affinity) {
        gather_wanted(c, s, a->pod_affinity->required_during_scheduling_ignored_during_execution,
                      a->pod_affinity->n_required_during_scheduling_ignored_during_execution);
    }
    if (a && a->pod_anti_affinity) {
        gather_forbidden(c, s, a->pod_anti_affinity->required_during_scheduling_ignored_during_execution,
                         a->pod_anti_affinity->n_required_during_scheduling_ignored_during_execution);
    }
    if (c->cache->index.n_holdings[HOLDS_ANTI_AFFINITY]) {
        index_holdings(&c->cache->index, c->pod, on_forbids, s);
    }
    *state = s;
    return s->wanted.n || s->forbidden.n || s->forbids.n ? SCHED_OK : SCHED_SKIP;
}

/* Do all required terms find a wanted pod in the node's topology? */
static bool affinity_satisfied(const struct affinity *s, const struct node_info *n)
{
    for (size_t i = 0; i < s->wanted.n; i++) {
        const struct view *v = s->wanted.items[i].view;
        if (!partition_at(v->partition, n->slot)) {
            return false;
        }
        /* The first pod of a group that wants itself may go anywhere that has the labels. */
        if (!count_at(v, n) && (s->anything_wanted || !s->self_match_all)) {
            return false;
        }
    }
    return true;
}

static bool any_at(const struct opinions *o, const struct node_info *n)
{
    for (size_t i = 0; i < o->n; i++) {
        if (count_at(o->items[i].view, n)) {
            return true;
        }
    }
    return false;
}

static enum sched_verdict filter(struct cycle *c UNUSED, void *state, const struct node_info *n,
                                 struct rejection *r)
{
    const struct affinity *s = state;
    if (!affinity_satisfied(s, n)) {
        reject(r, STR("node(s) didn't match pod affinity rules"));
        return SCHED_UNRESOLVABLE;
    }
    if (any_at(&s->forbidden, n)) {
        reject(r, STR("node(s) didn't match pod anti-affinity rules"));
        return SCHED_UNSCHEDULABLE;
    }
    if (any_at(&s->forbids, n)) {
        reject(r, STR("node(s) didn't satisfy existing pods anti-affinity rules"));
        return SCHED_UNSCHEDULABLE;
    }
    return SCHED_OK;
}

/* ---- score ---- */

struct liking {
    struct opinions opinions;
    int64_t hard; /* what a required term of a running pod counts */
    bool preferences_of_others;
};

/* Preferred terms of the incoming pod. */
static void like(struct cycle *c, struct liking *s, const struct core_v1_weighted_pod_affinity_term *items, size_t n, int64_t sign)
{
    for (size_t i = 0; i < n; i++) {
        struct pod_term term;
        if (pod_term_make(c->arena, &items[i].pod_affinity_term, c->pod->pod->metadata.namespace, &term)) {
            add_opinion(&s->opinions,
                        view_of(c, index_podset(&c->cache->index, &term, 1, false), items[i].pod_affinity_term.topology_key),
                        sign * items[i].weight);
        }
    }
}

/* Terms of running pods that mean the incoming one. */
static void on_liked(void *arg, const struct holding *h)
{
    struct liking *s = arg;
    switch (h->kind) {
    case HOLDS_AFFINITY: add_opinion(&s->opinions, h->view, s->hard); break;
    case HOLDS_PREFERENCE:
        if (s->preferences_of_others) {
            add_opinion(&s->opinions, h->view, h->weight);
        }
        break;
    case HOLDS_ANTI_PREFERENCE:
        if (s->preferences_of_others) {
            add_opinion(&s->opinions, h->view, -h->weight);
        }
        break;
    case HOLDS_ANTI_AFFINITY: break;
    }
}

static enum sched_verdict pre_score(struct cycle *c, void **state,
                                    struct node_info *const *nodes UNUSED, size_t n_nodes UNUSED)
{
    const struct core_v1_affinity *a = c->pod->pod->spec.affinity;
    const struct sched_profile *profile = cycle_profile(c);
    const struct index *index = &c->cache->index;
    bool own = a && (a->pod_affinity || a->pod_anti_affinity);
    struct liking *s = arena_new(c->arena, struct liking);
    s->opinions.arena = c->arena;
    s->hard = profile->has_hard_affinity_weight ? profile->hard_affinity_weight : HARD_AFFINITY_WEIGHT;
    s->preferences_of_others = own || !profile->ignore_preferred_of_existing;
    if (own && a->pod_affinity) {
        like(c, s, a->pod_affinity->preferred_during_scheduling_ignored_during_execution,
             a->pod_affinity->n_preferred_during_scheduling_ignored_during_execution, 1);
    }
    if (own && a->pod_anti_affinity) {
        like(c, s, a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
             a->pod_anti_affinity->n_preferred_during_scheduling_ignored_during_execution, -1);
    }
    if (index->n_holdings[HOLDS_AFFINITY] || index->n_holdings[HOLDS_PREFERENCE] || index->n_holdings[HOLDS_ANTI_PREFERENCE]) {
        index_holdings(&c->cache->index, c->pod, on_liked, s);
    }
    *state = s;
    return s->opinions.n ? SCHED_OK : SCHED_SKIP; /* without opinions every node gets the same */
}

static int64_t score(struct cycle *c UNUSED, void *state, const struct node_info *n)
{
    const struct liking *s = state;
    int64_t sum = 0;
    for (size_t i = 0; i < s->opinions.n; i++) {
        sum += s->opinions.items[i].weight * count_at(s->opinions.items[i].view, n);
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

static bool any_means(const struct index *x, struct arena *a, const struct core_v1_pod_affinity_term *t, size_t n, const struct core_v1_pod *owner,
                      const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < n; i++) {
        struct pod_term term;
        if (pod_term_make(a, &t[i], owner->metadata.namespace, &term) && pod_term_matches(x, &term, pod)) {
            return true;
        }
    }
    return false;
}

static bool anti_affinity_means(const struct index *x, struct arena *a, const struct core_v1_pod *owner, const struct core_v1_pod *pod)
{
    const struct core_v1_pod_anti_affinity *anti = owner->spec.affinity ? owner->spec.affinity->pod_anti_affinity : NULL;
    return anti && any_means(x, a, anti->required_during_scheduling_ignored_during_execution,
                             anti->n_required_during_scheduling_ignored_during_execution, owner, pod);
}

/* A pod that came or went matters when a term of either means the other. */
static bool hint(struct cache *cache, const struct pod_info *p, const struct sched_change *change)
{
    if (!(change->events & (EVENT_POD_ADD | EVENT_POD_DELETE)) || !change->pod) {
        return true;
    }
    const struct core_v1_pod_affinity *affinity = p->pod->spec.affinity ? p->pod->spec.affinity->pod_affinity : NULL;
    struct arena arena;
    arena_init(&arena, ARENA_NO_BUDGET);
    bool helps = affinity && any_means(&cache->index, &arena, affinity->required_during_scheduling_ignored_during_execution,
                                       affinity->n_required_during_scheduling_ignored_during_execution, p->pod, change->pod);
    if (!helps && change->events & EVENT_POD_DELETE) {
        helps = anti_affinity_means(&cache->index, &arena, p->pod, change->pod) ||
                anti_affinity_means(&cache->index, &arena, change->pod, p->pod);
    }
    arena_deinit(&arena);
    return helps;
}

const struct sched_plugin plugin_inter_pod_affinity = {
    .name = "InterPodAffinity",
    .events = EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_POD_ADD | EVENT_POD_UPDATE |
              EVENT_POD_DELETE | EVENT_NAMESPACE,
    .weight = 2,
    .indexed = true,
    .hint = hint,
    .pre_filter = pre_filter,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
};
