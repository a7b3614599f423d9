/*
 * DefaultPreemption: when no node fits, which node would fit if pods of lower priority were gone?
 *
 * On each node where removing pods could help, all pods of lower priority are taken away; if the
 * pod then fits, as many as possible are put back, most important first. The node with the least
 * harm wins: lowest highest priority of victims, then the smallest sum of priorities, then the
 * fewest victims ("Pod Priority and Preemption"). The cache is changed while looking and is the
 * same again afterwards.
 */
#include <stdlib.h>

#include "scheduler/cycle.h"

/* Nodes with victims that are compared: a tenth of the cluster, at least 100, as minCandidateNodes of
 * the original. */
#define CANDIDATES_LEAST 100

struct candidate {
    struct node_info *node;
    struct pod_info **victims;
    size_t n;
    int32_t highest;
    int64_t sum;
};

static bool fits(struct cycle *c, struct node_info *n)
{
    struct rejection r = { .n = 0 };
    size_t plugin;
    bool ok =
        framework_pre_filter(c, &r, &plugin) && framework_filter(c, n, &r, &plugin) == SCHED_OK;
    framework_done(c);
    return ok;
}

/* More important first: higher priority, then older. */
static int by_importance(const void *a, const void *b)
{
    const struct pod_info *x = *(struct pod_info *const *)a, *y = *(struct pod_info *const *)b;
    if (x->priority != y->priority) {
        return x->priority > y->priority ? -1 : 1;
    }
    int64_t at_x = x->pod->status.start_time.sec, at_y = y->pod->status.start_time.sec;
    return at_x < at_y ? -1 : at_x > at_y;
}

static bool is_terminating_lower(const struct cycle *c, const struct node_info *n)
{
    for (const struct list *l = n->pods.next; l != &n->pods; l = l->next) {
        const struct pod_info *p =
            CONTAINER_OF((struct list *)(uintptr_t)l, struct pod_info, on_node);
        if (p->pod->metadata.deletion_timestamp.set && p->priority < c->pod->priority) {
            return true;
        }
    }
    return false;
}

/* The victims on one node, or false. */
static bool try_node(struct cycle *c, struct node_info *n, struct candidate *ret)
{
    struct pod_info **lower = arena_new_n(c->arena, struct pod_info *, n->n_pods + 1);
    bool *assumed = arena_new_n(c->arena, bool, n->n_pods + 1);
    size_t n_lower = 0;
    if (!lower || !assumed) {
        return false;
    }
    LIST_FOREACH(&n->pods, struct pod_info, on_node, p) {
        if (p->priority < c->pod->priority) {
            lower[n_lower++] = p;
        }
    }
    if (!n_lower) {
        return false;
    }
    qsort(lower, n_lower, sizeof(lower[0]), by_importance);
    struct str name = n->name;
    for (size_t i = 0; i < n_lower; i++) {
        assumed[i] = lower[i]->assumed;
        cache_remove_pod(c->cache, lower[i]);
    }
    *ret = (struct candidate){ .node = n,
                               .victims = arena_new_n(c->arena, struct pod_info *, n_lower),
                               .highest = INT32_MIN };
    bool ok = ret->victims && fits(c, n);
    for (size_t i = 0; i < n_lower; i++) {
        cache_add_pod(c->cache, lower[i], name);
        lower[i]->assumed = assumed[i];
        if (ok && !fits(c, n)) {
            cache_remove_pod(c->cache, lower[i]);
            ret->victims[ret->n++] = lower[i];
            ret->highest = MAX(ret->highest, lower[i]->priority);
            ret->sum += (int64_t)lower[i]->priority + INT32_MAX + 1;
        }
    }
    for (size_t i = 0; i < ret->n; i++) {
        cache_add_pod(c->cache, ret->victims[i], name);
    }
    return ok && ret->n > 0;
}

static bool better(const struct candidate *a, const struct candidate *b)
{
    if (a->highest != b->highest) {
        return a->highest < b->highest;
    }
    return a->sum != b->sum ? a->sum < b->sum : a->n < b->n;
}

void preemption_run(struct cycle *c, const uint8_t *verdicts, struct cycle_result *ret)
{
    size_t n_nodes = c->cache->n_nodes, looked = 0,
           most = MAX(n_nodes / 10, (size_t)CANDIDATES_LEAST);
    struct tally tally = { .n = 0 };
    struct candidate best = { .node = NULL };
    if (str_eq(c->pod->pod->spec.preemption_policy, STR("Never"))) {
        ret->message =
            arena_printf(c->arena, "%.*s preemption: not eligible due to preemptionPolicy=Never.",
                         STR_ARG(ret->message));
        return;
    }
    /* A pod that was promised a node waits there for its victims to end. */
    struct node_info *promised =
        c->pod->nominated.len ? cache_node(c->cache, c->pod->nominated) : NULL;
    if (promised && is_terminating_lower(c, promised)) {
        ret->message = arena_printf(
            c->arena,
            "%.*s preemption: not eligible due to a terminating pod on the nominated node.",
            STR_ARG(ret->message));
        return;
    }
    for (size_t k = 0; k < n_nodes && looked < most; k++) {
        size_t i = (c->cache->next_start + k) % n_nodes; /* not always the same ones */
        struct candidate found;
        if (verdicts[i] != SCHED_UNSCHEDULABLE) {
            tally_add(&tally, STR("Preemption is not helpful for scheduling"), 1);
            continue;
        }
        if (!try_node(c, c->cache->nodes[i], &found)) {
            tally_add(&tally, STR("No preemption victims found for incoming pod"), 1);
            continue;
        }
        looked++;
        if (!best.node || better(&found, &best)) {
            best = found;
        }
    }
    if (best.node) {
        ret->nominated = best.node;
        ret->victims = best.victims;
        ret->n_victims = best.n;
        return;
    }
    ret->message = arena_printf(c->arena, "%.*s preemption: %.*s", STR_ARG(ret->message),
                                STR_ARG(tally_message(c->arena, &tally, n_nodes)));
}
