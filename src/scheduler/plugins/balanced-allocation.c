/* NodeResourcesBalancedAllocation: prefers nodes whose cpu and memory would be used to the same
 * degree. */
#include "scheduler/plugins/plugins.h"

static double fraction(int64_t used, int64_t capacity)
{
    return used >= capacity ? 1.0 : (double)used / (double)capacity;
}

static enum sched_verdict pre_score(struct cycle *c, void **state UNUSED,
                                    struct node_info *const *nodes UNUSED, size_t n_nodes UNUSED)
{
    /* A pod that asks for nothing (best effort) does not shift the balance. */
    return c->pod->requests.milli_cpu || c->pod->requests.memory ? SCHED_OK : SCHED_SKIP;
}

static int64_t score(struct cycle *c, void *state UNUSED, const struct node_info *n)
{
    if (n->allocatable.milli_cpu <= 0 || n->allocatable.memory <= 0) {
        return 0;
    }
    double cpu =
        fraction(n->requested.milli_cpu + c->pod->requests.milli_cpu, n->allocatable.milli_cpu);
    double memory = fraction(n->requested.memory + c->pod->requests.memory, n->allocatable.memory);
    /* The standard deviation of two values is half their distance. */
    double deviation = (cpu > memory ? cpu - memory : memory - cpu) / 2;
    return (int64_t)((1 - deviation) * SCHED_SCORE_MAX);
}

const struct sched_plugin plugin_balanced_allocation = {
    .name = "NodeResourcesBalancedAllocation",
    .weight = 1,
    .pre_score = pre_score,
    .score = score,
};
