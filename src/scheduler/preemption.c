/*
 * DefaultPreemption: when no node fits, which node would fit if pods of lower priority were gone?
 *
 * On each node where removing pods could help, all pods of lower priority are taken away; if the
 * pod then fits, as many as possible are put back: those first that a PodDisruptionBudget guards,
 * and of these and the others the most important first. The node with the least harm wins: fewest
 * victims against a budget, lowest highest priority of victims, then the smallest sum of priorities,
 * then the fewest victims ("Pod Priority and Preemption"). Budgets are counted down on each node by
 * itself, over all its pods of lower priority, the most important first. Pods are lifted in the cache while looking, and
 * settled again afterwards.
 */
#include <stdlib.h>

#include "scheduler/cycle.h"

/* Nodes with victims that are compared: a tenth of the cluster, at least 100, as minCandidateNodes of
 * the original. */
#define CANDIDATES_LEAST 100

struct candidate {
    struct node_info *node;
    struct pod_info **victims;
    size_t n, guarded; /* 'guarded': those that a budget does not allow to go */
    int32_t highest;
    int64_t sum;
};

/* The filters' view of one node after pods were lifted or settled. What pre_filter computed holds still, unless a plugin asked the
 * index, whose counts have changed. 'scratch' is this function's: a search asks thousands of times. */
static bool fits(struct cycle *c, struct node_info *n, struct arena *scratch)
{
    struct rejection r = { .n = 0 };
    size_t plugin;
    struct arena *arena = c->arena;
    bool ok = true;
    if (c->indexed) {
        framework_done(c);
    }
    arena_clear(scratch);
    c->arena = scratch;
    if (c->indexed) {
        ok = framework_pre_filter(c, &r, &plugin);
        c->indexed = true; /* the counts change with every pod, whether they matter right now or not */
    }
    ok = ok && framework_filter(c, n, &r, &plugin) == SCHED_OK;
    c->arena = arena;
    return ok;
}

/* More important: higher priority, then older. */
static bool is_more_important(const struct pod_info *x, const struct pod_info *y)
{
    return x->priority != y->priority ? x->priority > y->priority : x->started_s < y->started_s;
}

/* The most important first. They come nearly so, turned around. */
static void sort_by_importance(struct pod_info **pods, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct pod_info *p = pods[i];
        size_t k = i;
        for (; k && is_more_important(p, pods[k - 1]); k--) {
            pods[k] = pods[k - 1];
        }
        pods[k] = p;
    }
}

static struct pod_info *pod_at(const struct list *l)
{
    return CONTAINER_OF((struct list *)(uintptr_t)l, struct pod_info, on_node);
}

static bool is_terminating_lower(const struct cycle *c, const struct node_info *n)
{
    for (const struct list *l = n->pods.next; l != &n->pods && pod_at(l)->priority < c->pod->priority; l = l->next) {
        if (pod_at(l)->pod->metadata.deletion_timestamp.set) {
            return true;
        }
    }
    return false;
}

/* Room that one search needs: for the pods of any node, and for a filter's own. */
struct search {
    struct pod_info **lower; /* of the node that is looked at: pods of lower priority, the most important first */
    bool *guarded;           /* of those: a budget does not allow that it goes */
    struct arena scratch;
};

static void find_guarded(struct cycle *c, struct search *s, size_t n_lower)
{
    struct budgets *b = &c->cache->budgets;
    budgets_begin(b);
    for (size_t i = 0; i < n_lower; i++) {
        s->guarded[i] = b->n > 0 && budgets_take(b, s->lower[i]->pod);
    }
}

/* Puts back those that are guarded, or the others, while the pod still fits; the rest are victims. */
static void put_back(struct cycle *c, struct node_info *n, struct search *s, size_t n_lower, bool guarded, bool indexed,
                     struct candidate *ret)
{
    for (size_t i = 0; i < n_lower; i++) {
        struct pod_info *p = s->lower[i];
        if (s->guarded[i] != guarded) {
            continue;
        }
        cache_settle_pod(c->cache, p, indexed);
        if (!fits(c, n, &s->scratch)) {
            cache_lift_pod(c->cache, p, indexed);
            ret->highest = MAX(ret->highest, p->priority);
            ret->sum += (int64_t)p->priority + INT32_MAX + 1;
            ret->guarded += guarded;
            ret->n++;
        }
    }
}

/* The victims on one node, or false. */
static bool try_node(struct cycle *c, struct node_info *n, struct search *s, struct candidate *ret)
{
    struct pod_info **lower = s->lower;
    size_t n_lower = 0;
    /* Lowest priority first: what could go stands together. */
    const struct list *end = n->pods.next;
    while (end != &n->pods && pod_at(end)->priority < c->pod->priority) {
        end = end->next;
    }
    if (end == n->pods.next) {
        return false;
    }
    for (const struct list *l = end->prev; l != &n->pods; l = l->prev) {
        lower[n_lower++] = pod_at(l);
    }
    sort_by_importance(lower, n_lower);
    bool indexed = c->indexed;
    for (size_t i = 0; i < n_lower; i++) {
        cache_lift_pod(c->cache, lower[i], indexed);
    }
    *ret = (struct candidate){ .node = n, .highest = INT32_MIN };
    if (!fits(c, n, &s->scratch)) {
        for (size_t i = 0; i < n_lower; i++) {
            cache_settle_pod(c->cache, lower[i], indexed);
        }
        return false;
    }
    find_guarded(c, s, n_lower);
    put_back(c, n, s, n_lower, true, indexed, ret);
    put_back(c, n, s, n_lower, false, indexed, ret);
    /* What is still lifted are the victims. */
    ret->victims = arena_new_n(c->arena, struct pod_info *, ret->n);
    size_t kept = 0;
    for (size_t i = 0; i < n_lower; i++) {
        if (lower[i]->lifted) {
            cache_settle_pod(c->cache, lower[i], indexed);
            if (ret->victims) {
                ret->victims[kept++] = lower[i];
            }
        }
    }
    return kept > 0;
}

static bool better(const struct candidate *a, const struct candidate *b)
{
    if (a->guarded != b->guarded) {
        return a->guarded < b->guarded;
    }
    if (a->highest != b->highest) {
        return a->highest < b->highest;
    }
    return a->sum != b->sum ? a->sum < b->sum : a->n < b->n;
}

void preemption_run(struct cycle *c, const uint8_t *verdicts, struct cycle_result *ret)
{
    size_t n_nodes = c->cache->n_nodes, looked = 0, most_pods = 0, not_helpful = 0, no_victims = 0, plugin,
           most = MAX(n_nodes / 10, (size_t)CANDIDATES_LEAST);
    struct tally tally = { .n = 0 };
    struct rejection r = { .n = 0 };
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
    for (size_t i = 0; i < n_nodes; i++) {
        most_pods = MAX(most_pods, c->cache->nodes[i]->n_pods);
    }
    struct search s = { .lower = arena_new_n(c->arena, struct pod_info *, most_pods),
                        .guarded = arena_new_n(c->arena, bool, most_pods) };
    arena_init(&s.scratch, c->arena->budget);
    bool any_lower = cache_has_lower(c->cache, c->pod->priority);
    bool helpful = s.lower && s.guarded && framework_pre_filter(c, &r, &plugin);
    size_t start = c->cache->next_preemption % n_nodes, k = 0;
    for (; k < n_nodes && looked < most; k++) {
        size_t i = start + k < n_nodes ? start + k : start + k - n_nodes;
        struct candidate found;
        if (!helpful || verdicts[i] != SCHED_UNSCHEDULABLE) {
            not_helpful++;
            continue;
        }
        if (!any_lower || !try_node(c, c->cache->nodes[i], &s, &found)) {
            no_victims++;
            continue;
        }
        looked++;
        if (!best.node || better(&found, &best)) {
            best = found;
        }
        if (best.n == 1 && !best.guarded && best.highest == c->cache->priorities[0].priority) {
            k++;
            break; /* one pod of the lowest priority there is: no node is better */
        }
    }
    c->cache->next_preemption = start + k;
    framework_done(c);
    arena_deinit(&s.scratch);
    if (best.node) {
        ret->nominated = best.node;
        ret->victims = best.victims;
        ret->n_victims = best.n;
        return;
    }
    ret->no_victims = true;
    if (not_helpful) {
        tally_add(&tally, STR("Preemption is not helpful for scheduling"), not_helpful);
    }
    if (no_victims) {
        tally_add(&tally, STR("No preemption victims found for incoming pod"), no_victims);
    }
    ret->message = arena_printf(c->arena, "%.*s preemption: %.*s", STR_ARG(ret->message),
                                STR_ARG(tally_message(c->arena, &tally, n_nodes)));
}
