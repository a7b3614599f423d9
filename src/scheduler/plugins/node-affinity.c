/* NodeAffinity: spec.nodeSelector and node affinity, required and preferred. */
#include "scheduler/plugins/plugins.h"

static enum sched_verdict pre_filter(struct cycle *c, void **state UNUSED,
                                     struct rejection *r UNUSED)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    bool any = spec->n_node_selector || (spec->affinity && spec->affinity->node_affinity);
    return any ? SCHED_OK : SCHED_SKIP;
}

static enum sched_verdict filter(struct cycle *c, void *state UNUSED, const struct node_info *n,
                                 struct rejection *r)
{
    if (node_affinity_matches(&c->pod->pod->spec, n->node)) {
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

const struct sched_plugin plugin_node_affinity = {
    .name = "NodeAffinity",
    .events = EVENT_NODE_ADD | EVENT_NODE_LABEL,
    .weight = 2,
    .pre_filter = pre_filter,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
};
