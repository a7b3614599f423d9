/* Nodes with the pods on them. An engine: no calls, no clock. */
#ifndef SCHEDULER_CACHE_H
#define SCHEDULER_CACHE_H

#include "base/map.h"
#include "scheduler/node-info.h"

struct cache {
    struct map by_name;       /* node name -> struct node_info */
    struct node_info **nodes; /* those that exist, in no order */
    size_t n_nodes, capacity;
    size_t next_start; /* where the next cycle begins to filter */
    size_t n_affinity_pods,
        n_anti_affinity_pods; /* on all nodes: 0 lets the plugins skip their work */
    uint64_t generation;      /* moves with every change */
};

void cache_init(struct cache *c);
void cache_deinit(struct cache *c);
/* Adds or changes a node. Borrows 'node' until the next call for it or cache_remove_node(). */
struct node_info *cache_put_node(struct cache *c, const struct core_v1_node *node);
/* The node is gone; pods on it stay counted until they go too. */
void cache_remove_node(struct cache *c, struct str name);
/* Puts the pod on a node (which need not exist yet). It is on none. */
void cache_add_pod(struct cache *c, struct pod_info *p, struct str node_name);
void cache_remove_pod(struct cache *c, struct pod_info *p);
/* Keeps what the pod asks for free on a node, against pods of no higher priority, until the pod is on a node or gone. An absent
 * name takes it back. */
void cache_promise(struct cache *c, struct pod_info *p, struct str node_name);
struct node_info *cache_node(const struct cache *c, struct str name);

#endif
