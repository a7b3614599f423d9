/* One pod's decision: filter, score, choose; and why not. */
#ifndef SCHEDULER_CYCLE_H
#define SCHEDULER_CYCLE_H

#include "scheduler/framework.h"

struct cycle_result {
    struct node_info *node; /* NULL: none fits */
    uint64_t rejected_by;   /* a bit per plugin that said no */
    struct str message; /* "0/3 nodes are available: 1 Insufficient cpu, …." in the arena; absent
                           when one fits */
    size_t n_feasible, n_evaluated;
    /* Preemption, when no node fits: the node to clear and the pods that must go, in the arena. */
    struct node_info *nominated;
    struct pod_info **victims;
    size_t n_victims;
    bool no_victims; /* it was looked for, and no node can be cleared */
};

struct cycle_options {
    unsigned percentage_of_nodes; /* 0: as kube-scheduler: 50 - nodes/125, at least 5; at least 100
                                     nodes in any case */
    bool no_preemption;
};

/* Decides. 'c' has cache, pod and arena set; everything in the result lives in the arena. */
void cycle_run(struct cycle *c, const struct cycle_options *o, struct cycle_result *ret);

/* Counts of reasons, written as upstream does: sorted by their text. */
struct tally {
    struct {
        struct str reason;
        size_t n;
    } items[64];
    size_t n;
    struct rejection last; /* of the node that is filtered */
};
void tally_add(struct tally *t, struct str reason, size_t n);
/* "0/N nodes are available: 1 a, 2 b." */
struct str tally_message(struct arena *a, const struct tally *t, size_t n_nodes);

/* Looks for a node that fits once pods of lower priority are gone. Sets nominated and victims, and
 * adds " preemption: …" to the message when there is none. 'verdicts' has one entry per node of the
 * cache. */
void preemption_run(struct cycle *c, const uint8_t *verdicts, struct cycle_result *ret);

#endif
