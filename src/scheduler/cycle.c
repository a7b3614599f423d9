#include "scheduler/cycle.h"

#include <stdlib.h>

/* kube-scheduler: minFeasibleNodesToFind, and the adaptive percentage. */
#define FEASIBLE_LEAST 100
#define PERCENTAGE_LEAST 5

static size_t feasible_wanted(size_t n_nodes, unsigned percentage)
{
    if (n_nodes < FEASIBLE_LEAST) {
        return n_nodes;
    }
    size_t adaptive = n_nodes / 125 < 50 ? 50 - n_nodes / 125 : 0;
    size_t p = percentage ? percentage : MAX(adaptive, (size_t)PERCENTAGE_LEAST);
    return p >= 100 ? n_nodes : MAX(n_nodes * p / 100, (size_t)FEASIBLE_LEAST);
}

void tally_add(struct tally *t, struct str reason, size_t n)
{
    for (size_t i = 0; i < t->n; i++) {
        /* Most reasons are literals: the same text is the same pointer. */
        if (t->items[i].reason.ptr == reason.ptr || str_eq(t->items[i].reason, reason)) {
            t->items[i].n += n;
            return;
        }
    }
    if (t->n < ARRAY_SIZE(t->items)) {
        t->items[t->n].reason = reason;
        t->items[t->n++].n = n;
    }
}

struct str tally_message(struct arena *a, const struct tally *t, size_t n_nodes)
{
    struct str lines[ARRAY_SIZE(t->items)];
    struct str text = arena_printf(a, "0/%zu nodes are available", n_nodes);
    for (size_t i = 0; i < t->n; i++) {
        lines[i] = arena_printf(a, "%zu %.*s", t->items[i].n, STR_ARG(t->items[i].reason));
    }
    qsort(lines, t->n, sizeof(lines[0]), str_cmp_qsort);
    for (size_t i = 0; i < t->n; i++) {
        text = arena_printf(a, "%.*s%s%.*s", STR_ARG(text), i ? ", " : ": ", STR_ARG(lines[i]));
    }
    return arena_printf(a, "%.*s.", STR_ARG(text));
}

/* The best of the nodes; among equals one at random would do, the rotation of the start makes the
 * first fair. */
static struct node_info *choose(struct cycle *c, struct node_info *const *nodes, size_t n)
{
    if (n == 1) {
        return nodes[0];
    }
    int64_t *totals = arena_new_n(c->arena, int64_t, n);
    if (!totals) {
        abort();
    }
    framework_score(c, nodes, n, totals);
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (totals[i] > totals[best]) {
            best = i;
        }
    }
    return nodes[best];
}

/* Filters one node. */
static void filter_node(struct cycle *c, struct node_info *n, uint8_t *verdicts, struct node_info **fit, struct tally *tally,
                        struct cycle_result *ret)
{
    struct rejection *r = &tally->last; /* not one on the stack: it would be zeroed for every node */
    size_t plugin;
    r->n = 0;
    verdicts[n->index] = (uint8_t)framework_filter(c, n, r, &plugin);
    ret->n_evaluated++;
    if (verdicts[n->index] == SCHED_OK) {
        fit[ret->n_feasible++] = n;
        return;
    }
    ret->rejected_by |= 1ULL << plugin;
    for (size_t i = 0; i < r->n; i++) {
        tally_add(tally, r->reasons[i], 1);
    }
}

/* "[NodeAffinity]" */
static struct str narrowed_by(struct cycle *c)
{
    struct str names = STR("");
    for (size_t i = 0; i < sched_n_plugins; i++) {
        if (c->only_by >> i & 1) {
            names = arena_printf(c->arena, "%.*s%s%s", STR_ARG(names), names.len ? " " : "", sched_plugins[i]->name);
        }
    }
    return names;
}

/* Filters the few nodes that come into question; the others are told as one. */
static void filter_only(struct cycle *c, uint8_t *verdicts, struct node_info **fit, struct tally *tally, struct cycle_result *ret)
{
    for (size_t i = 0; i < c->n_only; i++) {
        filter_node(c, c->only[i], verdicts, fit, tally, ret);
    }
    if (!ret->n_feasible && c->cache->n_nodes > c->n_only) {
        tally_add(tally, arena_printf(c->arena, "node(s) didn't satisfy plugin(s) [%.*s]", STR_ARG(narrowed_by(c))),
                  c->cache->n_nodes - c->n_only);
    }
    ret->rejected_by |= c->only_by;
}

/* Filters nodes in rotation until enough fit. 'verdicts' and 'fit' have room for all. */
static void filter_nodes(struct cycle *c, const struct cycle_options *o, uint8_t *verdicts,
                         struct node_info **fit, struct tally *tally, struct cycle_result *ret)
{
    struct cache *cache = c->cache;
    size_t wanted = feasible_wanted(cache->n_nodes, cycle_profile(c)->percentage_of_nodes ? cycle_profile(c)->percentage_of_nodes
                                                                                            : o->percentage_of_nodes);
    size_t start = cache->n_nodes ? cache->next_start % cache->n_nodes : 0;
    for (size_t k = 0; k < cache->n_nodes && ret->n_feasible < wanted; k++) {
        size_t at = start + k < cache->n_nodes ? start + k : start + k - cache->n_nodes;
        filter_node(c, cache->nodes[at], verdicts, fit, tally, ret);
    }
    cache->next_start = start + MAX(ret->n_evaluated, (size_t)1);
}

/* A pod for which preemption cleared a node looks there first. */
static struct node_info *nominated_fits(struct cycle *c)
{
    struct node_info *n = c->pod->nominated.len ? cache_node(c->cache, c->pod->nominated) : NULL;
    struct rejection r = { .n = 0 };
    size_t plugin;
    return n && n->node && framework_filter(c, n, &r, &plugin) == SCHED_OK ? n : NULL;
}

void cycle_run(struct cycle *c, const struct cycle_options *o, struct cycle_result *ret)
{
    struct tally tally = { .n = 0 };
    struct rejection r = { .n = 0 };
    size_t n_nodes = c->cache->n_nodes, plugin = 0;
    *ret = (struct cycle_result){ 0 };
    index_trim(&c->cache->index);
    if (!n_nodes) {
        ret->message = STR("no nodes available to schedule pods");
        ret->rejected_by = 1ULL << 0 | 1ULL << 1; /* any plugin that waits for nodes */
        return;
    }
    uint8_t *verdicts = arena_new_n(c->arena, uint8_t, n_nodes);
    struct node_info **fit = arena_new_n(c->arena, struct node_info *, n_nodes);
    if (!verdicts || !fit) {
        abort();
    }
    if (!framework_pre_filter(c, &r, &plugin)) {
        ret->rejected_by = 1ULL << plugin;
        for (size_t i = 0; i < r.n; i++) {
            tally_add(&tally, r.reasons[i], n_nodes);
        }
        memset(verdicts, SCHED_UNRESOLVABLE, n_nodes);
    } else if (!(ret->node = nominated_fits(c))) {
        if (c->only) {
            memset(verdicts, SCHED_UNRESOLVABLE, n_nodes);
            filter_only(c, verdicts, fit, &tally, ret);
        } else {
            filter_nodes(c, o, verdicts, fit, &tally, ret);
        }
        if (ret->n_feasible) {
            ret->node = choose(c, fit, ret->n_feasible);
        }
    }
    framework_done(c);
    if (!ret->node) {
        ret->message = tally_message(c->arena, &tally, n_nodes);
        if (!o->no_preemption && !cycle_profile(c)->no_preemption) {
            preemption_run(c, verdicts, ret);
        }
    }
}
