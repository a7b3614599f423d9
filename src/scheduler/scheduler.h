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
    struct str name; /* spec.schedulerName of the pods that are ours */
    struct cycle_options cycle;
    unsigned max_binding; /* bindings under way together; 0: 256 */
};

/* Asks for the informers it needs; work begins once they are synced (scheduler_synced()). */
struct scheduler *scheduler_new(struct component *c, const struct scheduler_config *config);
struct scheduler *scheduler_free(struct scheduler *s);
void scheduler_synced(struct scheduler *s);

#endif
