/*
 * What a cycle needs of a node, and of the pods on it, computed when they change and not when they
 * are looked at. pod_info and node_info hold informer objects (informer_ref) or, in tests, objects
 * of the caller.
 */
#ifndef SCHEDULER_NODE_INFO_H
#define SCHEDULER_NODE_INFO_H

#include "api/gen/core_v1.h"
#include "base/heap.h"
#include "base/list.h"
#include "scheduler/resources.h"

struct family;
struct holding;
struct node_info;
struct taint_set;

/* A host port in use. */
struct host_port {
    struct str ip, protocol; /* borrowed of the pod */
    int32_t port;
};

struct pod_info {
    /* What looking for victims touches of every pod on a node stands together. */
    struct list on_node; /* in node_info.pods */
    int32_t priority;
    bool assumed; /* the binding is not confirmed by the watch */
    bool lifted;  /* for the moment as if it were not there: see cache_lift_pod() */
    int64_t started_s; /* status.startTime */
    struct resources requests;

    const struct core_v1_pod *pod; /* what the watch said last */
    struct resources non_zero;
    struct host_port *ports;
    size_t n_ports;
    struct str controller; /* uid of the owner that is its controller, or absent; borrowed of the pod */

    /* In the cache. */
    struct node_info *node; /* assumed or bound; NULL: none */
    struct family *family;  /* index.h: while on a node */
    struct holding **holds;
    uint32_t n_holds;
    struct list on_promised;    /* in node_info.promised */
    struct node_info *promised; /* that preemption cleared for it, until it is on a node; or NULL */

    /* In the queue: see queue.h. */
    struct heap_node queued;
    struct list unschedulable;
    unsigned where; /* enum queue_place */
    unsigned attempts;
    uint64_t added_ms;      /* when it first came in */
    uint64_t attempted_ms;  /* when the last cycle ended */
    uint64_t rejected_by;   /* plugins (bits) that said no in the last cycle */
    bool in_cycle;          /* popped, not done: binding is under way */
    uint64_t moved_seq;     /* of the last event while it was in its cycle */
    struct str nominated;   /* node that preemption cleared for it; owned */
    struct str told_reason; /* last condition message that was written, so that it is not written
                               again; owned */
};

struct node_info {
    const struct core_v1_node *node; /* NULL: pods name a node that is not there (yet) */
    bool unschedulable;              /* what filters ask of every node */
    bool taints_hard, taints_soft;   /* has a taint that keeps pods away; one that is PreferNoSchedule */
    struct taint_set *taints;        /* cache.h */
    uint32_t slot;                   /* a small number of its own, while it is known */
    struct resources allocatable, requested, non_zero;
    struct list pods;     /* of lowest priority first */
    struct list promised; /* pods that preemption cleared room for here: others of no higher
                             priority do not get it */
    size_t n_pods;
    size_t index;    /* in cache.nodes */
    struct str name; /* owned */
};

/* Takes a reference of the pod by 'ref' (may be NULL for tests). */
struct pod_info *pod_info_new(const struct core_v1_pod *pod);
/* Frees what was computed; not the pod. It is in no node and no queue. */
struct pod_info *pod_info_free(struct pod_info *p);
/* The pod changed: computes anew. It is on no node at that moment, unless the two are pods_alike(). */
void pod_info_set(struct pod_info *p, const struct core_v1_pod *pod);

/* What the scheduler decides by is the same, but for the node: spec, labels, owners, and whether it is being deleted. */
bool pods_alike(const struct core_v1_pod *a, const struct core_v1_pod *b);
/* "namespace/name" compared without building it. */
bool pod_info_is(const struct pod_info *p, struct str ns, struct str name);
struct str node_label(const struct core_v1_node *n, struct str key);

#endif
