/*
 * The component: pods and nodes come in by informers; bindings, conditions, nominations and events
 * go out.
 */
#ifndef SCHEDULER_SCHEDULER_H
#define SCHEDULER_SCHEDULER_H

#include "component/component.h"
#include "scheduler/cycle.h"

struct scheduler;

struct scheduler_config {
    const struct sched_profile *profiles; /* by spec.schedulerName of the pods that are ours; at least one; they live on */
    size_t n_profiles;
    struct cycle_options cycle;
    uint64_t initial_backoff_ms, max_backoff_ms; /* of pods that did not fit; 0: as upstream */
    unsigned max_binding; /* bindings under way together; 0: 256 */
};

/* Asks for the informers it needs; work begins once they are synced (scheduler_synced()). */
struct scheduler *scheduler_new(struct component *c, const struct scheduler_config *config);
struct scheduler *scheduler_free(struct scheduler *s);
void scheduler_synced(struct scheduler *s);

#endif
