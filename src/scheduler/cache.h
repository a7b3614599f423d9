/* Nodes with the pods on them. An engine: no calls, no clock. */
#ifndef SCHEDULER_CACHE_H
#define SCHEDULER_CACHE_H

#include "base/map.h"
#include "scheduler/budgets.h"
#include "scheduler/index.h"
#include "scheduler/node-info.h"

/* Nodes with equal taints share one: a cycle asks once whether its pod tolerates them. */
struct taint_set {
    struct str text; /* owned */
    uint32_t number; /* in cache.taint_sets */
    size_t n_nodes;
};

struct volume_view;

struct cache {
    struct map by_name;       /* node name -> struct node_info */
    struct node_info **nodes; /* those that exist, in no order */
    size_t n_nodes, capacity;
    struct node_info **slots; /* by node_info.slot; NULL: the slot is free */
    size_t n_slots, slots_capacity;
    uint32_t *free_slots; /* 'slots_capacity' of room */
    size_t n_free_slots;
    size_t next_start;      /* where the next cycle begins to filter */
    size_t next_preemption; /* and where the next search for victims begins: where the last one ended */
    size_t n_unschedulable, n_taints_hard, n_taints_soft; /* nodes: 0 lets the plugins skip their work */
    struct map taints_by_text;
    struct taint_set **taint_sets; /* as many as there are, in no order */
    size_t n_taint_sets, taint_sets_capacity;
    const struct volume_view *volumes; /* claims and volumes (scheduler/volumes.h); NULL: nobody knows of any */
    struct budgets budgets; /* who looks for victims spares what they guard */
    struct index index; /* counts of pods by what plugins ask */
    struct priority_count { /* pods on nodes by priority, lowest first: who could be preempted at all */
        int32_t priority;
        size_t n;
    } *priorities;
    size_t n_priorities, priorities_capacity;
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
/* For filters, a pod on a node is as if it were not there until it is settled again: for looking what would be. Between the two nothing
 * else happens to it, and no node is scored. 'indexed': the counts of the index too; false where nobody will ask for them. */
void cache_lift_pod(struct cache *c, struct pod_info *p, bool indexed);
void cache_settle_pod(struct cache *c, struct pod_info *p, bool indexed);
/* Keeps what the pod asks for free on a node, against pods of no higher priority, until the pod is on a node or gone. An absent
 * name takes it back. */
void cache_promise(struct cache *c, struct pod_info *p, struct str node_name);
/* Is a pod of lower priority on any node? */
bool cache_has_lower(const struct cache *c, int32_t priority);
struct node_info *cache_node(const struct cache *c, struct str name);

#endif
