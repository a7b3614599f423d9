/* NodeUnschedulable: cordoned nodes take only pods that tolerate the taint
 * node.kubernetes.io/unschedulable. */
#include "scheduler/plugins/plugins.h"

static bool tolerates(const struct core_v1_pod_spec *spec)
{
    static const struct core_v1_taint taint = { .key = STR_INIT("node.kubernetes.io/unschedulable"),
                                                .effect = STR_INIT("NoSchedule") };
    for (size_t i = 0; i < spec->n_tolerations; i++) {
        if (toleration_matches(&spec->tolerations[i], &taint)) {
            return true;
        }
    }
    return false;
}

static enum sched_verdict filter(struct cycle *c, void *state UNUSED, const struct node_info *n,
                                 struct rejection *r)
{
    if (n->node->spec.unschedulable && !tolerates(&c->pod->pod->spec)) {
        reject(r, STR("node(s) were unschedulable"));
        return SCHED_UNRESOLVABLE;
    }
    return SCHED_OK;
}

const struct sched_plugin plugin_node_unschedulable = {
    .name = "NodeUnschedulable",
    .events = EVENT_NODE_ADD | EVENT_NODE_TAINT,
    .filter = filter,
};
