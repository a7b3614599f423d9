/* NodeUnschedulable: cordoned nodes take only pods that tolerate the taint
 * node.kubernetes.io/unschedulable. */
#include "api/toleration.h"
#include "scheduler/plugins/plugins.h"

static const struct core_v1_taint unschedulable = {
    .key = STR_INIT("node.kubernetes.io/unschedulable"), .effect = STR_INIT("NoSchedule")
};

static enum sched_verdict filter(struct cycle *c, void *state UNUSED, const struct node_info *n,
                                 struct rejection *r)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    if (n->node->spec.unschedulable &&
        !tolerations_match(spec->tolerations, spec->n_tolerations, &unschedulable)) {
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
