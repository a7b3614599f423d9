#include "scheduler/cache.h"

#include <assert.h>
#include <stdlib.h>

void cache_init(struct cache *c)
{
    *c = (struct cache){ 0 };
    map_init(&c->by_name);
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
            LIST_ENTRY(n->pods.next, struct pod_info, on_node)->node = NULL;
            list_remove(n->pods.next);
        }
        break_promises(n);
        node_free(n);
    }
    map_deinit(&c->by_name);
    free(c->nodes);
}

struct node_info *cache_node(const struct cache *c, struct str name)
{
    return map_get(&c->by_name, name);
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
        map_put(&c->by_name, name, n);
    }
    return n;
}

static void drop_if_unused(struct cache *c, struct node_info *n)
{
    if (!n->node && list_empty(&n->pods)) {
        map_remove(&c->by_name, n->name);
        node_free(n);
    }
}

struct node_info *cache_put_node(struct cache *c, const struct core_v1_node *node)
{
    struct node_info *n = node_of(c, node->metadata.name);
    c->generation++;
    if (!n->node) {
        if (c->n_nodes == c->capacity) {
            c->capacity = c->capacity ? c->capacity * 2 : 16;
            c->nodes = reallocarray(c->nodes, c->capacity, sizeof(struct node_info *));
            if (!c->nodes) {
                abort();
            }
        }
        n->index = c->n_nodes;
        c->nodes[c->n_nodes++] = n;
    }
    n->node = node;
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
    c->generation++;
    n->node = NULL;
    struct node_info *last = c->nodes[--c->n_nodes];
    c->nodes[n->index] = last;
    last->index = n->index;
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
    c->generation++;
}

static void count_pod(struct cache *c, struct node_info *n, const struct pod_info *p, int sign)
{
    resources_add(&n->requested, &p->requests, sign);
    resources_add(&n->non_zero, &p->non_zero, sign);
    n->n_pods += (size_t)sign;
    if (p->has_affinity || p->has_anti_affinity) {
        n->n_affinity += (size_t)sign;
        c->n_affinity_pods += (size_t)sign;
    }
    if (p->has_required_anti_affinity) {
        n->n_required_anti_affinity += (size_t)sign;
        c->n_anti_affinity_pods += (size_t)sign;
    }
    c->generation++;
}

void cache_add_pod(struct cache *c, struct pod_info *p, struct str node_name)
{
    struct node_info *n = node_of(c, node_name);
    assert(!p->node);
    cache_promise(c, p, STR_NULL);
    p->node = n;
    list_push_back(&n->pods, &p->on_node);
    count_pod(c, n, p, 1);
}

void cache_remove_pod(struct cache *c, struct pod_info *p)
{
    struct node_info *n = p->node;
    if (n) {
        count_pod(c, n, p, -1);
        list_remove(&p->on_node);
        p->node = NULL;
        p->assumed = false;
        drop_if_unused(c, n);
    }
}
