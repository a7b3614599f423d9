/*
 * Small numbers by small number: how many pods are on a node, or in a domain. Sparse, because most sets of pods touch few
 * nodes; what is counted down to 0 takes no room. Open addressing, no tombstones.
 */
#ifndef SCHEDULER_COUNTS_H
#define SCHEDULER_COUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct counts_slot {
    uint32_t key; /* plus one; 0: free */
    uint32_t n;
};

/* Zero-initialised is empty. */
struct counts {
    struct counts_slot *slots;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t n;        /* keys that are not 0 */
};

void counts_deinit(struct counts *c);
/* A count never falls below 0, and never passes 2^32 - 1: there are no more pods than that. Aborts when out of memory. */
void counts_add(struct counts *c, uint32_t key, int64_t by);

static inline uint32_t counts_home(uint32_t key, uint32_t capacity)
{
    return (key * 2654435769u >> 7) & (capacity - 1); /* Fibonacci hashing; keys are our own numbers */
}

static inline uint32_t counts_get(const struct counts *c, uint32_t key)
{
    if (!c->n) {
        return 0;
    }
    for (uint32_t i = counts_home(key, c->capacity);; i = (i + 1) & (c->capacity - 1)) {
        if (c->slots[i].key == key + 1) {
            return c->slots[i].n;
        }
        if (!c->slots[i].key) {
            return 0;
        }
    }
}

/* The next key from '*pos' (0 to begin) with its count; false at the end. */
static inline bool counts_next(const struct counts *c, uint32_t *pos, uint32_t *ret_key, uint32_t *ret_n)
{
    for (; *pos < c->capacity; (*pos)++) {
        if (c->slots[*pos].key) {
            *ret_key = c->slots[*pos].key - 1;
            *ret_n = c->slots[(*pos)++].n;
            return true;
        }
    }
    return false;
}

#endif
