/* TaintToleration: NoSchedule and NoExecute taints filter, PreferNoSchedule taints score. */
#include "api/toleration.h"
#include "scheduler/plugins/plugins.h"

const struct core_v1_taint *untolerated_taint(const struct core_v1_pod_spec *spec,
                                              const struct core_v1_node *node,
                                              bool prefer_no_schedule)
{
    for (size_t i = 0; i < node->spec.n_taints; i++) {
        const struct core_v1_taint *t = &node->spec.taints[i];
        if (str_eq(t->effect, STR("PreferNoSchedule")) == prefer_no_schedule &&
            !tolerations_match(spec->tolerations, spec->n_tolerations, t)) {
            return t;
        }
    }
    return NULL;
}

static enum sched_verdict pre_filter(struct cycle *c, void **state UNUSED, struct rejection *r UNUSED)
{
    return c->cache->n_taints_hard ? SCHED_OK : SCHED_SKIP;
}

static enum sched_verdict filter(struct cycle *c, void *state UNUSED, const struct node_info *n,
                                 struct rejection *r)
{
    const struct core_v1_taint *t = n->taints_hard ? untolerated_taint(&c->pod->pod->spec, n->node, false) : NULL;
    if (!t) {
        return SCHED_OK;
    }
    reject(r, arena_printf(c->arena, "node(s) had untolerated taint {%.*s: %.*s}", STR_ARG(t->key),
                           STR_ARG(t->value)));
    return SCHED_UNRESOLVABLE;
}

static int64_t score(struct cycle *c, void *state UNUSED, const struct node_info *n)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    int64_t count = 0;
    for (size_t i = 0; n->taints_soft && i < n->node->spec.n_taints; i++) {
        const struct core_v1_taint *t = &n->node->spec.taints[i];
        if (str_eq(t->effect, STR("PreferNoSchedule")) &&
            !tolerations_match(spec->tolerations, spec->n_tolerations, t)) {
            count++;
        }
    }
    return count;
}

static void normalize(struct cycle *c UNUSED, void *state UNUSED,
                      struct node_info *const *nodes UNUSED, int64_t *scores, size_t n)
{
    normalize_default(scores, n, true);
}

const struct sched_plugin plugin_taint_toleration = {
    .name = "TaintToleration",
    .events = EVENT_NODE_ADD | EVENT_NODE_TAINT,
    .weight = 3,
    .pre_filter = pre_filter,
    .filter = filter,
    .score = score,
    .normalize = normalize,
};
