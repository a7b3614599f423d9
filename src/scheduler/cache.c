#include "scheduler/cache.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"

void cache_init(struct cache *c)
{
    *c = (struct cache){ 0 };
    map_init(&c->by_name);
    map_init(&c->taints_by_text);
    index_init(&c->index);
    budgets_init(&c->budgets);
}

static void break_promises(struct node_info *n)
{
    LIST_FOREACH(&n->promised, struct pod_info, on_promised, p) {
        list_remove(&p->on_promised);
        p->promised = NULL;
    }
}

static void node_free(struct node_info *n)
{
    resources_deinit(&n->allocatable);
    resources_deinit(&n->requested);
    resources_deinit(&n->non_zero);
    free((void *)(uintptr_t)n->name.ptr);
    free(n);
}

void cache_deinit(struct cache *c)
{
    struct str name;
    void *value;
    for (size_t pos = 0; map_next(&c->by_name, &pos, &name, &value);) {
        struct node_info *n = value;
        while (!list_empty(&n->pods)) {
            struct pod_info *p = LIST_ENTRY(n->pods.next, struct pod_info, on_node);
            index_remove_pod(&c->index, p, n->slot);
            list_remove(&p->on_node);
            p->node = NULL;
        }
        break_promises(n);
        node_free(n);
    }
    index_deinit(&c->index);
    budgets_deinit(&c->budgets);
    map_deinit(&c->by_name);
    free(c->nodes);
    for (size_t i = 0; i < c->n_taint_sets; i++) {
        free((void *)(uintptr_t)c->taint_sets[i]->text.ptr);
        free(c->taint_sets[i]);
    }
    free(c->taint_sets);
    map_deinit(&c->taints_by_text);
    free(c->slots);
    free(c->priorities);
    free(c->free_slots);
}

struct node_info *cache_node(const struct cache *c, struct str name)
{
    return map_get(&c->by_name, name);
}

/* The index walks the nodes when something is asked for the first time. */
static void tell_index(struct cache *c)
{
    c->index.areas.nodes = c->nodes;
    c->index.areas.n_nodes = c->n_nodes;
    c->index.areas.slots = c->slots;
    c->index.areas.n_slots = c->n_slots;
}

static void take_slot(struct cache *c, struct node_info *n)
{
    if (c->n_free_slots) {
        n->slot = c->free_slots[--c->n_free_slots];
    } else {
        if (c->n_slots == c->slots_capacity) {
            c->slots_capacity = c->slots_capacity ? c->slots_capacity * 2 : 16;
            c->slots = reallocarray(c->slots, c->slots_capacity, sizeof(struct node_info *));
            c->free_slots = reallocarray(c->free_slots, c->slots_capacity, sizeof(*c->free_slots));
            if (!c->slots || !c->free_slots) {
                abort();
            }
        }
        n->slot = (uint32_t)c->n_slots++;
    }
    c->slots[n->slot] = n;
    tell_index(c);
}

static struct node_info *node_of(struct cache *c, struct str name)
{
    struct node_info *n = cache_node(c, name);
    if (!n) {
        n = calloc(1, sizeof(*n));
        char *copy = strndup(name.ptr ? name.ptr : "", name.len);
        if (!n || !copy) {
            abort();
        }
        n->name = str_n(copy, name.len);
        list_init(&n->pods);
        list_init(&n->promised);
        take_slot(c, n);
        map_put(&c->by_name, name, n);
    }
    return n;
}

static void drop_if_unused(struct cache *c, struct node_info *n)
{
    if (!n->node && list_empty(&n->pods)) {
        map_remove(&c->by_name, n->name);
        c->slots[n->slot] = NULL;
        c->free_slots[c->n_free_slots++] = n->slot;
        node_free(n);
    }
}

static bool same_labels(const struct core_v1_node *a, const struct core_v1_node *b)
{
    if (a->metadata.n_labels != b->metadata.n_labels) {
        return false;
    }
    for (size_t i = 0; i < a->metadata.n_labels; i++) {
        if (!str_eq(a->metadata.labels[i].key, b->metadata.labels[i].key) ||
            !str_eq(a->metadata.labels[i].value, b->metadata.labels[i].value)) {
            return false;
        }
    }
    return true;
}

static struct taint_set *taints_join(struct cache *c, const struct core_v1_node *node)
{
    struct buf text;
    buf_init(&text, BUF_NO_MAX);
    for (size_t i = 0; i < node->spec.n_taints; i++) {
        const struct core_v1_taint *t = &node->spec.taints[i];
        /* None of these may hold a line break (validation). */
        buf_printf(&text, "%.*s\n%.*s\n%.*s\n", STR_ARG(t->key), STR_ARG(t->value), STR_ARG(t->effect));
    }
    struct taint_set *set = text.len ? map_get(&c->taints_by_text, buf_str(&text)) : NULL;
    if (text.len && !set) {
        if (c->n_taint_sets == c->taint_sets_capacity) {
            c->taint_sets_capacity = c->taint_sets_capacity ? c->taint_sets_capacity * 2 : 8;
            c->taint_sets = reallocarray(c->taint_sets, c->taint_sets_capacity, sizeof(struct taint_set *));
        }
        set = calloc(1, sizeof(*set));
        if (!set || !c->taint_sets) {
            abort();
        }
        set->text = str_n(str_dup(buf_str(&text)), text.len);
        set->number = (uint32_t)c->n_taint_sets;
        c->taint_sets[c->n_taint_sets++] = set;
        map_put(&c->taints_by_text, set->text, set);
    }
    if (set) {
        set->n_nodes++;
    }
    buf_deinit(&text);
    return set;
}

static void taints_leave(struct cache *c, struct taint_set *set)
{
    if (set && --set->n_nodes == 0) {
        struct taint_set *last = c->taint_sets[--c->n_taint_sets];
        c->taint_sets[set->number] = last;
        last->number = set->number;
        map_remove(&c->taints_by_text, set->text);
        free((void *)(uintptr_t)set->text.ptr);
        free(set);
    }
}

/* What filters ask of every node, and how many nodes there are of each sort. */
static void note_facts(struct cache *c, struct node_info *n, const struct core_v1_node *node)
{
    c->n_unschedulable -= n->unschedulable;
    c->n_taints_hard -= n->taints_hard;
    c->n_taints_soft -= n->taints_soft;
    n->unschedulable = node && node->spec.unschedulable;
    n->taints_hard = n->taints_soft = false;
    for (size_t i = 0; node && i < node->spec.n_taints; i++) {
        bool soft = str_eq(node->spec.taints[i].effect, STR("PreferNoSchedule"));
        n->taints_soft = n->taints_soft || soft;
        n->taints_hard = n->taints_hard || !soft;
    }
    taints_leave(c, n->taints);
    n->taints = node ? taints_join(c, node) : NULL;
    c->n_unschedulable += n->unschedulable;
    c->n_taints_hard += n->taints_hard;
    c->n_taints_soft += n->taints_soft;
}

struct node_info *cache_put_node(struct cache *c, const struct core_v1_node *node)
{
    struct node_info *n = node_of(c, node->metadata.name);
    const struct core_v1_node *old = n->node;
    if (!old) {
        if (c->n_nodes == c->capacity) {
            c->capacity = c->capacity ? c->capacity * 2 : 16;
            c->nodes = reallocarray(c->nodes, c->capacity, sizeof(struct node_info *));
            if (!c->nodes) {
                abort();
            }
        }
        n->index = c->n_nodes;
        c->nodes[c->n_nodes++] = n;
        tell_index(c);
    }
    if (!old || !same_labels(old, node)) {
        index_set_node(&c->index, n->slot, old, node, n->n_pods > 0);
    }
    n->node = node;
    note_facts(c, n, node);
    resources_deinit(&n->allocatable);
    resources_of_list(&n->allocatable, node->status.allocatable, node->status.n_allocatable);
    return n;
}

void cache_remove_node(struct cache *c, struct str name)
{
    struct node_info *n = cache_node(c, name);
    if (!n || !n->node) {
        return;
    }
    index_set_node(&c->index, n->slot, n->node, NULL, n->n_pods > 0);
    note_facts(c, n, NULL);
    n->node = NULL;
    struct node_info *last = c->nodes[--c->n_nodes];
    c->nodes[n->index] = last;
    last->index = n->index;
    tell_index(c);
    resources_deinit(&n->allocatable);
    break_promises(n);
    drop_if_unused(c, n);
}

void cache_promise(struct cache *c, struct pod_info *p, struct str node_name)
{
    struct node_info *n = node_name.len ? cache_node(c, node_name) : NULL;
    list_remove(&p->on_promised);
    p->promised = n && n->node ? n : NULL;
    if (p->promised) {
        list_push_back(&n->promised, &p->on_promised);
    }
}

static void count_pod(struct node_info *n, const struct pod_info *p, int sign)
{
    resources_add(&n->requested, &p->requests, sign);
    resources_add(&n->non_zero, &p->non_zero, sign);
    n->n_pods += (size_t)sign;
}

/* Few: priorities are those of PriorityClasses. */
static void count_priority(struct cache *c, int32_t priority, int sign)
{
    size_t i = 0;
    while (i < c->n_priorities && c->priorities[i].priority < priority) {
        i++;
    }
    if (i == c->n_priorities || c->priorities[i].priority != priority) {
        if (c->n_priorities == c->priorities_capacity) {
            c->priorities_capacity = c->priorities_capacity ? c->priorities_capacity * 2 : 8;
            c->priorities = reallocarray(c->priorities, c->priorities_capacity, sizeof(*c->priorities));
            if (!c->priorities) {
                abort();
            }
        }
        memmove(&c->priorities[i + 1], &c->priorities[i], (c->n_priorities++ - i) * sizeof(*c->priorities));
        c->priorities[i] = (struct priority_count){ .priority = priority };
    }
    c->priorities[i].n += (size_t)sign;
    if (!c->priorities[i].n) {
        memmove(&c->priorities[i], &c->priorities[i + 1], (--c->n_priorities - i) * sizeof(*c->priorities));
    }
}

bool cache_has_lower(const struct cache *c, int32_t priority)
{
    return c->n_priorities && c->priorities[0].priority < priority;
}

void cache_add_pod(struct cache *c, struct pod_info *p, struct str node_name)
{
    struct node_info *n = node_of(c, node_name);
    assert(!p->node);
    cache_promise(c, p, STR_NULL);
    p->node = n;
    struct list *before = &n->pods;
    while (before->prev != &n->pods && LIST_ENTRY(before->prev, struct pod_info, on_node)->priority > p->priority) {
        before = before->prev;
    }
    list_insert_before(before, &p->on_node);
    count_pod(n, p, 1);
    count_priority(c, p->priority, 1);
    index_add_pod(&c->index, p, n->slot);
}

void cache_remove_pod(struct cache *c, struct pod_info *p)
{
    struct node_info *n = p->node;
    if (n) {
        index_remove_pod(&c->index, p, n->slot);
        count_pod(n, p, -1);
        count_priority(c, p->priority, -1);
        list_remove(&p->on_node);
        p->node = NULL;
        p->assumed = false;
        drop_if_unused(c, n);
    }
}

void cache_lift_pod(struct cache *c, struct pod_info *p, bool indexed)
{
    assert(p->node && !p->lifted);
    p->lifted = true;
    resources_add(&p->node->requested, &p->requests, -1);
    if (indexed) {
        index_count_pod(&c->index, p, p->node->slot, -1);
    }
}

void cache_settle_pod(struct cache *c, struct pod_info *p, bool indexed)
{
    assert(p->lifted);
    p->lifted = false;
    resources_add(&p->node->requested, &p->requests, 1);
    if (indexed) {
        index_count_pod(&c->index, p, p->node->slot, 1);
    }
}
