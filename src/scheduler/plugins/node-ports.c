/* NodePorts: two pods cannot have one host port of a node's address. */
#include "scheduler/plugins/plugins.h"

static enum sched_verdict pre_filter(struct cycle *c, void **state UNUSED,
                                     struct rejection *r UNUSED)
{
    return c->pod->n_ports ? SCHED_OK : SCHED_SKIP;
}

static bool conflict(const struct host_port *a, const struct host_port *b)
{
    bool any = str_eq(a->ip, STR("0.0.0.0")) || str_eq(b->ip, STR("0.0.0.0"));
    return a->port == b->port && str_eq(a->protocol, b->protocol) && (any || str_eq(a->ip, b->ip));
}

static bool is_taken(const struct pod_info *wants, const struct node_info *n)
{
    for (const struct list *l = n->pods.next; l != &n->pods; l = l->next) {
        const struct pod_info *p =
            CONTAINER_OF((struct list *)(uintptr_t)l, struct pod_info, on_node);
        for (size_t i = 0; !p->lifted && i < p->n_ports; i++) {
            for (size_t k = 0; k < wants->n_ports; k++) {
                if (conflict(&p->ports[i], &wants->ports[k])) {
                    return true;
                }
            }
        }
    }
    return false;
}

static enum sched_verdict filter(struct cycle *c, void *state UNUSED, const struct node_info *n,
                                 struct rejection *r)
{
    if (is_taken(c->pod, n)) {
        reject(r, STR("node(s) didn't have free ports for the requested pod ports"));
        return SCHED_UNSCHEDULABLE;
    }
    return SCHED_OK;
}

static bool hint(struct cache *cache UNUSED, const struct pod_info *p, const struct sched_change *change)
{
    return !change->node || !is_taken(p, change->node);
}

const struct sched_plugin plugin_node_ports = {
    .name = "NodePorts",
    .events = EVENT_NODE_ADD | EVENT_POD_DELETE,
    .hint = hint,
    .pre_filter = pre_filter,
    .filter = filter,
};
