/* A cluster of a few nodes and pods given as JSON, for tests of the engines. */
#ifndef SCHEDULER_TEST_FIXTURE_H
#define SCHEDULER_TEST_FIXTURE_H

#include "scheduler/cycle.h"

struct fixture {
    struct arena arena;
    struct cache cache;
    struct pod_info *pods[64];
    size_t n_pods;
    const struct sched_profile *profile; /* NULL: the default */
};

void fixture_init(struct fixture *f);
void fixture_deinit(struct fixture *f);
/* '{"metadata":{"name":"n1"},"status":{"allocatable":{…}}}' */
void fixture_node(struct fixture *f, const char *json);
/* A pod; with spec.nodeName it is put on that node. */
struct pod_info *fixture_pod(struct fixture *f, const char *json);
/* One cycle for the pod. */
void fixture_schedule(struct fixture *f, struct pod_info *p, struct cycle_result *ret);

#endif
