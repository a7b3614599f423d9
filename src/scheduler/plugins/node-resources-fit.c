/* NodeResourcesFit: what the pod asks for must be free; scores the node with the most left
 * (LeastAllocated over cpu and memory), or in a profile that says so the fullest (MostAllocated). */
#include "scheduler/plugins/plugins.h"

/* What is used once the pods are there that this node was cleared for. */
static const struct resources *with_promised(const struct cycle *c, const struct node_info *n,
                                             struct resources *sum)
{
    resources_add(sum, &n->requested, 1);
    for (const struct list *l = n->promised.next; l != &n->promised; l = l->next) {
        const struct pod_info *p =
            CONTAINER_OF((struct list *)(uintptr_t)l, struct pod_info, on_promised);
        if (p != c->pod && p->priority >= c->pod->priority) {
            resources_add(sum, &p->requests, 1);
        }
    }
    return sum;
}

/* Says why the pod does not fit, if it does not. 'used' is what others have of the node. */
static enum sched_verdict compare(struct cycle *c, const struct node_info *n, const struct resources *used, struct rejection *r)
{
    const struct resources *want = &c->pod->requests, *have = &n->allocatable;
    bool too_large = false; /* would not fit on an empty node either */
    size_t before = r->n;
    if (used->pods + 1 > have->pods) {
        reject(r, STR("Too many pods"));
        too_large = too_large || have->pods < 1;
    }
    if (want->milli_cpu && want->milli_cpu > have->milli_cpu - used->milli_cpu) {
        reject(r, STR("Insufficient cpu"));
        too_large = too_large || want->milli_cpu > have->milli_cpu;
    }
    if (want->memory && want->memory > have->memory - used->memory) {
        reject(r, STR("Insufficient memory"));
        too_large = too_large || want->memory > have->memory;
    }
    if (want->ephemeral && want->ephemeral > have->ephemeral - used->ephemeral) {
        reject(r, STR("Insufficient ephemeral-storage"));
        too_large = too_large || want->ephemeral > have->ephemeral;
    }
    for (uint32_t i = 0; i < want->n_extended; i++) {
        const struct extended_resource *x = &want->extended[i];
        int64_t there = resources_extended(have, x->name),
                taken = resources_extended(used, x->name);
        if (x->value && x->value > there - taken) {
            reject(r, arena_printf(c->arena, "Insufficient %.*s", STR_ARG(*x->name)));
            too_large = too_large || x->value > there;
        }
    }
    if (want->overflow) {
        reject(r, STR("the pod asks for too many kinds of resources"));
        too_large = true;
    }
    if (r->n == before) {
        return SCHED_OK;
    }
    return too_large ? SCHED_UNRESOLVABLE : SCHED_UNSCHEDULABLE;
}

static enum sched_verdict filter_promised(struct cycle *c, const struct node_info *n, struct rejection *r)
{
    CLEANUP(resources_deinit) struct resources promised = { 0 };
    return compare(c, n, with_promised(c, n, &promised), r);
}

static enum sched_verdict filter(struct cycle *c, void *state UNUSED, const struct node_info *n,
                                 struct rejection *r)
{
    return list_empty(&n->promised) ? compare(c, n, &n->requested, r) : filter_promised(c, n, r);
}

static int64_t most_allocated(int64_t used, int64_t capacity)
{
    return capacity <= 0 || used > capacity ? 0 : used * SCHED_SCORE_MAX / capacity;
}

static int64_t least_allocated(int64_t used, int64_t capacity)
{
    return capacity <= 0 || used > capacity ? 0 : (capacity - used) * SCHED_SCORE_MAX / capacity;
}

static int64_t score(struct cycle *c, void *state UNUSED, const struct node_info *n)
{
    const struct sched_profile *p = cycle_profile(c);
    int64_t (*const part)(int64_t used, int64_t capacity) =
        p->fit == SCHED_MOST_ALLOCATED ? most_allocated : least_allocated;
    bool both = !p->cpu_weight && !p->memory_weight;
    int64_t cpu = both ? 1 : p->cpu_weight, memory = both ? 1 : p->memory_weight;
    int64_t sum = 0, weights = 0;
    if (n->allocatable.milli_cpu > 0) {
        sum += cpu * part(n->non_zero.milli_cpu + c->pod->non_zero.milli_cpu,
                          n->allocatable.milli_cpu);
        weights += cpu;
    }
    if (n->allocatable.memory > 0) {
        sum += memory * part(n->non_zero.memory + c->pod->non_zero.memory, n->allocatable.memory);
        weights += memory;
    }
    return weights ? sum / weights : 0;
}

/* Does it fit on the node where something happened? Nothing changed on the others. */
static bool hint(struct cache *cache, const struct pod_info *p, const struct sched_change *change)
{
    struct arena arena;
    struct rejection r = { .n = 0 };
    struct cycle c = { .cache = cache, .pod = (struct pod_info *)(uintptr_t)p, .arena = &arena };
    if (!change->node) {
        return true;
    }
    arena_init(&arena, ARENA_NO_BUDGET);
    bool fits = filter(&c, NULL, change->node, &r) == SCHED_OK;
    arena_deinit(&arena);
    return fits;
}

const struct sched_plugin plugin_node_resources_fit = {
    .name = "NodeResourcesFit",
    .events = EVENT_NODE_ADD | EVENT_NODE_ALLOCATABLE | EVENT_POD_DELETE | EVENT_POD_UPDATE,
    .weight = 1,
    .hint = hint,
    .filter = filter,
    .score = score,
};
