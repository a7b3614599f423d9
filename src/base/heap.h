/* A binary min-heap of intrusive nodes ordered by a 64-bit key (timers, priority queues). Nodes know their place. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include "base/macros.h"
#include <stdbool.h>

struct heap_node {
    uint64_t key;
    uint64_t seq;   /* first in, first out among equal keys; set by heap_push() */
    size_t index;   /* place in the heap plus one; 0: in no heap */
};

struct heap {
    struct heap_node **nodes;
    size_t n, capacity;
    uint64_t next_seq;
};

void heap_init(struct heap *h);
void heap_deinit(struct heap *h);
static inline bool heap_contains(const struct heap_node *n)
{
    return n->index != 0;
}
/* Adds a node (which is in no heap). Aborts when out of memory. */
void heap_push(struct heap *h, struct heap_node *n, uint64_t key);
/* The smallest node, or NULL. */
struct heap_node *heap_peek(const struct heap *h);
struct heap_node *heap_pop(struct heap *h);
/* Removes a node wherever it is; does nothing when it is in no heap. */
void heap_remove(struct heap *h, struct heap_node *n);

#endif
