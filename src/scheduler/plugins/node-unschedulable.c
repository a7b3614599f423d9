/* NodeUnschedulable: cordoned nodes take only pods that tolerate the taint
 * node.kubernetes.io/unschedulable. */
#include "api/toleration.h"
#include "scheduler/plugins/plugins.h"

static const struct core_v1_taint unschedulable = {
    .key = STR_INIT("node.kubernetes.io/unschedulable"), .effect = STR_INIT("NoSchedule")
};

static enum sched_verdict pre_filter(struct cycle *c, void **state UNUSED, struct rejection *r UNUSED)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    return c->cache->n_unschedulable && !tolerations_match(spec->tolerations, spec->n_tolerations, &unschedulable) ? SCHED_OK
                                                                                                              : SCHED_SKIP;
}

static enum sched_verdict filter(struct cycle *c UNUSED, void *state UNUSED, const struct node_info *n,
                                 struct rejection *r)
{
    if (n->unschedulable) {
        reject(r, STR("node(s) were unschedulable"));
        return SCHED_UNRESOLVABLE;
    }
    return SCHED_OK;
}

static bool hint(struct cache *cache UNUSED, const struct pod_info *p UNUSED, const struct sched_change *change)
{
    return !change->node || !change->node->unschedulable;
}

const struct sched_plugin plugin_node_unschedulable = {
    .name = "NodeUnschedulable",
    .events = EVENT_NODE_ADD | EVENT_NODE_TAINT,
    .hint = hint,
    .pre_filter = pre_filter,
    .filter = filter,
};
