/*
 * Which pod is next. An engine: time is an argument.
 *
 * Active pods are ordered by priority, then by when they came in. A pod whose cycle failed waits:
 * in back-off when something changed during its cycle or an event may help it, in the unschedulable
 * set otherwise, from where an event that a rejecting plugin waits for and takes for helpful, or five
 * minutes, bring it back (KEP-4247 queueing hints). When no pod is active, those in back-off need not
 * wait for its end (KEP-5142), but for those that met an error.
 */
#ifndef SCHEDULER_QUEUE_H
#define SCHEDULER_QUEUE_H

#include "scheduler/node-info.h"

/* What can make a pod schedulable that was not. A set. */
enum sched_event {
    EVENT_NODE_ADD = 1 << 0,
    EVENT_NODE_ALLOCATABLE = 1 << 1,
    EVENT_NODE_LABEL = 1 << 2,
    EVENT_NODE_TAINT = 1 << 3, /* spec.unschedulable too */
    EVENT_NODE_DELETE = 1 << 4,
    EVENT_POD_ADD = 1 << 5,    /* a pod got a node */
    EVENT_POD_UPDATE = 1 << 6, /* labels, or less requested */
    EVENT_POD_DELETE = 1 << 7,
    EVENT_NAMESPACE = 1 << 8,
    EVENT_VOLUME = 1 << 9, /* claims, volumes, classes */
    EVENT_ANY = (1 << 10) - 1,
};

/* Something that happened, for plugins to judge. */
struct sched_change {
    unsigned events;              /* one of enum sched_event, or several of one node */
    const struct node_info *node; /* it happened to, or on; NULL: not known */
    const struct core_v1_pod *pod; /* it happened to; NULL: to none, or not known */
    const struct core_v1_persistent_volume_claim *claim; /* likewise */
};

enum queue_place { QUEUE_NOWHERE, QUEUE_ACTIVE, QUEUE_BACKOFF, QUEUE_UNSCHEDULABLE, QUEUE_GATED };

/* Unschedulable pods that the same events may help, the one that waits longest first. */
struct unschedulable {
    unsigned events;
    struct list pods;
};
/* Distinct sets of events are unions of the few that plugins have; the first set is all events, and takes what is past the bound. */
#define UNSCHEDULABLE_SETS 32

struct sched_queue {
    struct heap active, backoff, errors;
    struct unschedulable unschedulable[UNSCHEDULABLE_SETS];
    size_t n_sets;
    struct list gated;
    size_t n_unschedulable, n_gated;
    uint64_t event_seq; /* counts events, so that one during a cycle is not lost */
    uint64_t initial_backoff_ms, max_backoff_ms;
    /* events[i]: which events may help a pod that plugin i rejected. */
    unsigned events[64];
    /* Does the change help the pod? NULL: every one of its events does. */
    bool (*hint)(void *data, const struct pod_info *p, const struct sched_change *change);
    void *hint_data;
};

void sched_queue_init(struct sched_queue *q);
void sched_queue_deinit(struct sched_queue *q);
/* A pod came in. One with scheduling gates waits until they are gone. */
void sched_queue_add(struct sched_queue *q, struct pod_info *p, uint64_t now_ms);
/* The pod's spec or labels changed while it waits: it is tried again. */
void sched_queue_update(struct sched_queue *q, struct pod_info *p, uint64_t now_ms);
/* The pod is gone or got a node. */
void sched_queue_remove(struct sched_queue *q, struct pod_info *p);
/* The next pod, or NULL. It is in its cycle until one of the two below, or sched_queue_remove(). */
struct pod_info *sched_queue_pop(struct sched_queue *q, uint64_t now_ms);
/* Its cycle or its binding failed; 'rejected_by' has a bit for each plugin that said no (0: an
 * error, tried again after back-off). */
void sched_queue_failed(struct sched_queue *q, struct pod_info *p, uint64_t rejected_by,
                        uint64_t now_ms);
/* It is bound. */
void sched_queue_bound(struct sched_queue *q, struct pod_info *p);
/* Something happened. */
void sched_queue_event(struct sched_queue *q, const struct sched_change *change, uint64_t now_ms);
/* Milliseconds until a pod may be popped: 0 now; UINT64_MAX: nothing waits for time. */
uint64_t sched_queue_wait_ms(const struct sched_queue *q, uint64_t now_ms);
size_t sched_queue_len(const struct sched_queue *q, enum queue_place place);

#endif
