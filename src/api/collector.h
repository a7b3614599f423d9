/*
 * List items are collected on a stack of chunks that never move, and copied to the arena in one piece when the list ends: so
 * arrays have exactly the size they need. Lists inside an item begin above it and end before the next item begins, so the items
 * of one list lie in a row.
 */
#ifndef API_COLLECTOR_H
#define API_COLLECTOR_H

#include "base/arena.h"

struct chunk {
    struct chunk *below;
    size_t size;
    char *bytes;
};

struct collector {
    struct chunk *top;
    size_t used; /* of top */
    struct chunk first;
    char first_bytes[16384] __attribute__((aligned(16)));
};

struct collected {
    size_t item_size, n, capacity;
    char *items;
    struct chunk *mark_top;
    size_t mark_used;
};

static inline void collector_init(struct collector *c)
{
    c->first = (struct chunk){ .size = sizeof(c->first_bytes), .bytes = c->first_bytes };
    c->top = &c->first;
    c->used = 0;
}

/* Gives back what was collected since. */
void collector_pop(struct collector *c, struct chunk *top, size_t used);
/* Another chunk, with the list's items at its beginning. */
bool collector_grow(struct collector *c, struct collected *l);

/* A list begins. */
static inline struct collected collector_begin(const struct collector *c, size_t item_size)
{
    return (struct collected){ .item_size = item_size, .mark_top = c->top, .mark_used = c->used };
}

/* A zeroed item behind the others, which may move; NULL without memory. */
static inline void *collector_push(struct collector *c, struct collected *l)
{
    char *p;

    if (l->n == 0) {
        c->used = (c->used + 15) & ~(size_t)15; /* a chunk's start is aligned, items are as tight as in the arena */
        l->items = c->top->bytes + c->used;
    }
    if (c->top->size - MIN(c->used, c->top->size) < l->item_size && !collector_grow(c, l)) {
        return NULL;
    }
    p = c->top->bytes + c->used;
    c->used += l->item_size;
    l->n++;
    memset(p, 0, l->item_size);
    return p;
}

/* Takes the last item back. */
static inline void collector_unpush(struct collector *c, struct collected *l)
{
    c->used -= l->item_size;
    l->n--;
}

/* The list ends: its items in the arena, their memory given back. False past the budget. */
MUST_CHECK bool collector_end(struct collector *c, struct arena *a, struct collected *l, void **ret_items, size_t *ret_n);

#endif
