#include "scheduler/census.h"

#include <stdlib.h>

void census_deinit(struct areas *a, struct census *c)
{
    while (c->views) {
        struct view *v = c->views;
        c->views = v->next;
        counts_deinit(&v->by_domain);
        areas_partition_unref(a, v->partition);
        free(v);
    }
    counts_deinit(&c->by_node);
}

static void add_to_view(struct view *v, uint32_t slot, int64_t by)
{
    uint32_t at = partition_at(v->partition, slot);
    if (at) {
        counts_add(&v->by_domain, at - 1, by);
    }
}

static void add_to_views(struct census *c, uint32_t slot, int64_t by)
{
    for (struct view *v = c->views; v; v = v->next) {
        add_to_view(v, slot, by);
    }
}

void census_add(struct census *c, uint32_t slot, int64_t by)
{
    counts_add(&c->by_node, slot, by);
    add_to_views(c, slot, by);
}

void census_move(struct census *c, uint32_t slot, int sign)
{
    int64_t n = c->views ? counts_get(&c->by_node, slot) : 0;
    if (n) {
        add_to_views(c, slot, sign * n);
    }
}

const struct view *census_view(struct areas *a, struct census *c, struct partition *p)
{
    for (struct view *v = c->views; v; v = v->next) {
        if (v->partition == p) {
            areas_partition_unref(a, p);
            return v;
        }
    }
    struct view *v = calloc(1, sizeof(*v));
    if (!v) {
        abort();
    }
    v->partition = p;
    v->next = c->views;
    c->views = v;
    uint32_t slot, n;
    for (uint32_t pos = 0; counts_next(&c->by_node, &pos, &slot, &n);) {
        add_to_view(v, slot, n);
    }
    return v;
}
