/* NodeAffinity: spec.nodeSelector and node affinity, required and preferred. */
#include "scheduler/plugins/plugins.h"

/* A term that names its nodes (metadata.name In …, as DaemonSets write it): adds those that there are. False: it does not. */
static bool named(struct cycle *c, const struct core_v1_node_selector_term *t, struct node_info **ret, size_t *n)
{
    for (size_t i = 0; i < t->n_match_fields; i++) {
        const struct core_v1_node_selector_requirement *r = &t->match_fields[i];
        if (!str_eq(r->key, STR("metadata.name")) || !str_eq(r->operator, STR("In"))) {
            continue;
        }
        for (size_t k = 0; k < r->n_values; k++) {
            struct node_info *node = cache_node(c->cache, r->values[k]);
            bool there = node && node->node;
            for (size_t j = 0; there && j < *n; j++) {
                there = ret[j] != node;
            }
            if (there) {
                ret[(*n)++] = node;
            }
        }
        return true;
    }
    return false;
}

static size_t n_names(const struct core_v1_node_selector *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_node_selector_terms; i++) {
        for (size_t k = 0; k < s->node_selector_terms[i].n_match_fields; k++) {
            n += s->node_selector_terms[i].match_fields[k].n_values;
        }
    }
    return n;
}

/* More names than this are not worth a list: each is compared with each. */
#define NAMES_MOST 64

static void narrow(struct cycle *c, const struct core_v1_node_selector *s)
{
    size_t most = n_names(s), n = 0;
    if (!most || most > NAMES_MOST) {
        return;
    }
    struct node_info **nodes = arena_new_n(c->arena, struct node_info *, most);
    for (size_t i = 0; nodes && i < s->n_node_selector_terms; i++) {
        if (!named(c, &s->node_selector_terms[i], nodes, &n)) {
            return;
        }
    }
    if (nodes) {
        cycle_narrow(c, nodes, n);
    }
}

static enum sched_verdict pre_filter(struct cycle *c, void **state, struct rejection *r UNUSED)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    const struct core_v1_node_affinity *a = spec->affinity ? spec->affinity->node_affinity : NULL;
    const struct core_v1_node_selector *required = a ? a->required_during_scheduling_ignored_during_execution : NULL;
    if (!spec->n_node_selector && !required) {
        return SCHED_SKIP;
    }
    if (required) {
        narrow(c, required);
    }
    /* Which nodes these are is remembered from pod to pod, but where there are so few that looking is less. */
    *state = c->only ? NULL : areas_selection(&c->cache->index.areas, spec, NULL, 0);
    return SCHED_OK;
}

static enum sched_verdict filter(struct cycle *c, void *state, const struct node_info *n,
                                 struct rejection *r)
{
    if (state ? selection_has(state, n->slot) : node_affinity_matches(&c->pod->pod->spec, n->node)) {
        return SCHED_OK;
    }
    reject(r, STR("node(s) didn't match Pod's node affinity/selector"));
    return SCHED_UNRESOLVABLE;
}

static enum sched_verdict pre_score(struct cycle *c, void **state UNUSED,
                                    struct node_info *const *nodes UNUSED, size_t n_nodes UNUSED)
{
    const struct core_v1_affinity *a = c->pod->pod->spec.affinity;
    bool any = a && a->node_affinity &&
               a->node_affinity->n_preferred_during_scheduling_ignored_during_execution;
    return any ? SCHED_OK : SCHED_SKIP;
}

static int64_t score(struct cycle *c, void *state UNUSED, const struct node_info *n)
{
    const struct core_v1_node_affinity *a = c->pod->pod->spec.affinity->node_affinity;
    int64_t sum = 0;
    for (size_t i = 0; i < a->n_preferred_during_scheduling_ignored_during_execution; i++) {
        const struct core_v1_preferred_scheduling_term *t =
            &a->preferred_during_scheduling_ignored_during_execution[i];
        if (node_selector_term_matches(&t->preference, n->node)) {
            sum += t->weight;
        }
    }
    return sum;
}

static void normalize(struct cycle *c UNUSED, void *state UNUSED,
                      struct node_info *const *nodes UNUSED, int64_t *scores, size_t n)
{
    normalize_default(scores, n, false);
}

static bool hint(struct cache *cache UNUSED, const struct pod_info *p, const struct sched_change *change)
{
    return !change->node || !change->node->node || node_affinity_matches(&p->pod->spec, change->node->node);
}

const struct sched_plugin plugin_node_affinity = {
    .name = "NodeAffinity",
    .events = EVENT_NODE_ADD | EVENT_NODE_LABEL,
    .weight = 2,
    .hint = hint,
    .pre_filter = pre_filter,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
};
