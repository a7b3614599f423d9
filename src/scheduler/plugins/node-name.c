/* NodeName: a pod that names its node goes there only. (The queue holds pods without a node; the
 * name then is the nomination of a custom binder, checked all the same.) */
#include "scheduler/plugins/plugins.h"

static enum sched_verdict pre_filter(struct cycle *c, void **state UNUSED, struct rejection *r UNUSED)
{
    return c->pod->pod->spec.node_name.len ? SCHED_OK : SCHED_SKIP;
}

static enum sched_verdict filter(struct cycle *c, void *state UNUSED, const struct node_info *n,
                                 struct rejection *r)
{
    struct str wanted = c->pod->pod->spec.node_name;
    if (wanted.len && !str_eq(wanted, n->name)) {
        reject(r, STR("node(s) didn't match the requested node name"));
        return SCHED_UNRESOLVABLE;
    }
    return SCHED_OK;
}

const struct sched_plugin plugin_node_name = {
    .name = "NodeName",
    .events = EVENT_NODE_ADD,
    .pre_filter = pre_filter,
    .filter = filter,
};
