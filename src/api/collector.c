#include "api/collector.h"

#include <stdlib.h>

void collector_pop(struct collector *c, struct chunk *top, size_t used)
{
    while (c->top != top) {
        struct chunk *below = c->top->below;

        free(c->top);
        c->top = below;
    }
    c->used = used;
}

bool collector_grow(struct collector *c, struct collected *l)
{
    size_t have = l->n * l->item_size, size = MAX(have * 2 + l->item_size, (size_t)65536);
    struct chunk *next = malloc(sizeof(*next) + size);

    if (!next) {
        return false;
    }
    *next = (struct chunk){ .below = c->top, .size = size, .bytes = (char *)(next + 1) };
    memcpy(next->bytes, l->items, have);
    c->top = next;
    c->used = have;
    l->items = next->bytes;
    return true;
}

bool collector_end(struct collector *c, struct arena *a, struct collected *l, void **ret_items, size_t *ret_n)
{
    void *p = arena_alloc(a, l->n * l->item_size);

    if (!p) {
        return false;
    }
    if (l->n) {
        memcpy(p, l->items, l->n * l->item_size);
    }
    collector_pop(c, l->mark_top, l->mark_used);
    *ret_items = p;
    *ret_n = l->n;
    return true;
}
