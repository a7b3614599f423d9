#include "base/heap.h"

#include <stdlib.h>

void heap_init(struct heap *h)
{
    *h = (struct heap){ 0 };
}

void heap_deinit(struct heap *h)
{
    free(h->nodes);
    *h = (struct heap){ 0 };
}

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

static void place(struct heap *h, size_t i, struct heap_node *n)
{
    h->nodes[i] = n;
    n->index = i + 1;
}

static void sift_up(struct heap *h, size_t i)
{
    struct heap_node *n = h->nodes[i];
    while (i > 0 && before(n, h->nodes[(i - 1) / 2])) {
        place(h, i, h->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, n);
}

static void sift_down(struct heap *h, size_t i)
{
    struct heap_node *n = h->nodes[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n) {
            break;
        }
        if (child + 1 < h->n && before(h->nodes[child + 1], h->nodes[child])) {
            child++;
        }
        if (!before(h->nodes[child], n)) {
            break;
        }
        place(h, i, h->nodes[child]);
        i = child;
    }
    place(h, i, n);
}

void heap_push(struct heap *h, struct heap_node *n, uint64_t key)
{
    if (h->n == h->capacity) {
        h->capacity = h->capacity ? h->capacity * 2 : 16;
        h->nodes = reallocarray(h->nodes, h->capacity, sizeof(struct heap_node *));
        if (!h->nodes) {
            abort();
        }
    }
    n->key = key;
    n->seq = h->next_seq++;
    h->n++;
    place(h, h->n - 1, n);
    sift_up(h, h->n - 1);
}

struct heap_node *heap_peek(const struct heap *h)
{
    return h->n ? h->nodes[0] : NULL;
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    if (!n->index) {
        return;
    }
    size_t i = n->index - 1;
    struct heap_node *last = h->nodes[--h->n];
    n->index = 0;
    if (last != n) {
        place(h, i, last);
        sift_up(h, i);
        sift_down(h, last->index - 1);
    }
}

struct heap_node *heap_pop(struct heap *h)
{
    struct heap_node *n = heap_peek(h);
    if (n) {
        heap_remove(h, n);
    }
    return n;
}
