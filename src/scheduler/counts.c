#include "scheduler/counts.h"

#include <assert.h>
#include <stdlib.h>

void counts_deinit(struct counts *c)
{
    free(c->slots);
    *c = (struct counts){ 0 };
}

static void resize(struct counts *c, uint32_t capacity)
{
    struct counts old = *c;
    c->slots = calloc(capacity, sizeof(*c->slots));
    if (!c->slots) {
        abort();
    }
    c->capacity = capacity;
    for (uint32_t k = 0; k < old.capacity; k++) {
        if (old.slots[k].key) {
            uint32_t i = counts_home(old.slots[k].key - 1, capacity);
            while (c->slots[i].key) {
                i = (i + 1) & (capacity - 1);
            }
            c->slots[i] = old.slots[k];
        }
    }
    free(old.slots);
}

/* Frees the slot and moves up what was pushed past it, so that a look-up may stop at a free slot. */
static void take_out(struct counts *c, uint32_t at)
{
    uint32_t mask = c->capacity - 1;
    for (uint32_t i = (at + 1) & mask; c->slots[i].key; i = (i + 1) & mask) {
        uint32_t home = counts_home(c->slots[i].key - 1, c->capacity);
        if (((i - home) & mask) >= ((i - at) & mask)) {
            c->slots[at] = c->slots[i];
            at = i;
        }
    }
    c->slots[at] = (struct counts_slot){ 0 };
    c->n--;
}

void counts_add(struct counts *c, uint32_t key, int64_t by)
{
    if (!by) {
        return;
    }
    if ((uint64_t)(c->n + 1) * 4 > (uint64_t)c->capacity * 3) {
        resize(c, c->capacity ? c->capacity * 2 : 4);
    }
    uint32_t i = counts_home(key, c->capacity);
    while (c->slots[i].key && c->slots[i].key != key + 1) {
        i = (i + 1) & (c->capacity - 1);
    }
    if (!c->slots[i].key) {
        c->slots[i].key = key + 1;
        c->n++;
    }
    assert((int64_t)c->slots[i].n + by >= 0);
    c->slots[i].n = (uint32_t)((int64_t)c->slots[i].n + by);
    if (!c->slots[i].n) {
        take_out(c, i);
    }
}
