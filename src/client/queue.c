#include "client/queue.h"

#include <stdlib.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"

/* client-go's ItemExponentialFailureRateLimiter. */
#define BACKOFF_FIRST_MS 5
#define BACKOFF_MOST_MS 1000000
/* client-go's BucketRateLimiter over all keys: 10 a second, a burst of 100. */
#define BUCKET_PER_S 10
#define BUCKET_BURST 100

struct item {
    struct heap_node due; /* in queue.delayed while waiting for its time */
    struct list ready;    /* in queue.ready while it can be taken */
    struct str key;       /* owned */
    uint64_t due_ms;
    unsigned failures;
    bool busy;  /* taken and not done */
    bool again; /* added while busy: 'due_ms' says when */
};

struct queue {
    struct map items;
    struct heap delayed;
    struct list ready;
    size_t n_waiting;
    /* The bucket as the time at which it was, or will be, full: one token is 1/BUCKET_PER_S
     * seconds. */
    uint64_t bucket_full_ms;
};

struct queue *queue_new(void)
{
    struct queue *q = calloc(1, sizeof(*q));
    if (!q) {
        abort();
    }
    map_init(&q->items);
    heap_init(&q->delayed);
    list_init(&q->ready);
    return q;
}

struct queue *queue_free(struct queue *q)
{
    if (!q) {
        return NULL;
    }
    struct str key;
    void *v;
    for (size_t pos = 0; map_next(&q->items, &pos, &key, &v);) {
        struct item *it = v;
        free((void *)(uintptr_t)it->key.ptr);
        free(it);
    }
    map_deinit(&q->items);
    heap_deinit(&q->delayed);
    free(q);
    return NULL;
}

static struct item *item_of(struct queue *q, struct str key)
{
    struct item *it = map_get(&q->items, key);
    if (it) {
        return it;
    }
    it = calloc(1, sizeof(*it));
    char *copy = malloc(key.len + 1);
    if (!it || !copy) {
        abort();
    }
    if (key.len) {
        memcpy(copy, key.ptr, key.len);
    }
    it->key = str_n(copy, key.len);
    list_init(&it->ready);
    map_put(&q->items, key, it);
    return it;
}

static bool item_waits(const struct item *it)
{
    return !list_empty(&it->ready) || heap_contains(&it->due);
}

/* Forgets an item that carries no state any more. */
static void item_drop_idle(struct queue *q, struct item *it)
{
    if (!it->busy && !it->failures && !item_waits(it)) {
        map_remove(&q->items, it->key);
        free((void *)(uintptr_t)it->key.ptr);
        free(it);
    }
}

static void item_schedule(struct queue *q, struct item *it, uint64_t now_ms, uint64_t due_ms)
{
    if (it->busy) {
        it->due_ms = it->again ? MIN(it->due_ms, due_ms) : due_ms;
        it->again = true;
        return;
    }
    if (!list_empty(&it->ready)) {
        return;
    }
    if (heap_contains(&it->due)) {
        if (it->due_ms <= due_ms) {
            return;
        }
        heap_remove(&q->delayed, &it->due);
        q->n_waiting--;
    }
    it->due_ms = due_ms;
    q->n_waiting++;
    if (due_ms <= now_ms) {
        list_push_back(&q->ready, &it->ready);
    } else {
        heap_push(&q->delayed, &it->due, due_ms);
    }
}

void queue_add(struct queue *q, struct str key, uint64_t now_ms, uint64_t delay_ms)
{
    item_schedule(q, item_of(q, key), now_ms, now_ms + delay_ms);
}

/* Takes a token; returns how long to wait for it. */
static uint64_t bucket_wait_ms(struct queue *q, uint64_t now_ms)
{
    const uint64_t token_ms = 1000 / BUCKET_PER_S, burst_ms = token_ms * BUCKET_BURST;
    q->bucket_full_ms = MAX(q->bucket_full_ms, now_ms) + token_ms;
    uint64_t debt = q->bucket_full_ms - now_ms;
    return debt > burst_ms ? debt - burst_ms : 0;
}

void queue_add_backoff(struct queue *q, struct str key, uint64_t now_ms)
{
    struct item *it = item_of(q, key);
    uint64_t delay = it->failures >= 28 ? BACKOFF_MOST_MS
                                        : MIN((uint64_t)BACKOFF_FIRST_MS << it->failures,
                                              (uint64_t)BACKOFF_MOST_MS);
    it->failures++;
    item_schedule(q, it, now_ms, now_ms + MAX(delay, bucket_wait_ms(q, now_ms)));
}

void queue_forget(struct queue *q, struct str key)
{
    struct item *it = map_get(&q->items, key);
    if (it) {
        it->failures = 0;
        item_drop_idle(q, it);
    }
}

static void wake_due(struct queue *q, uint64_t now_ms)
{
    struct heap_node *n;
    while ((n = heap_peek(&q->delayed)) && n->key <= now_ms) {
        heap_pop(&q->delayed);
        list_push_back(&q->ready, &CONTAINER_OF(n, struct item, due)->ready);
    }
}

bool queue_take(struct queue *q, uint64_t now_ms, struct str *ret_key)
{
    wake_due(q, now_ms);
    struct list *n = list_pop_front(&q->ready);
    if (!n) {
        return false;
    }
    struct item *it = LIST_ENTRY(n, struct item, ready);
    it->busy = true;
    it->again = false;
    q->n_waiting--;
    *ret_key = it->key;
    return true;
}

void queue_done(struct queue *q, struct str key, uint64_t now_ms)
{
    struct item *it = map_get(&q->items, key);
    if (!it || !it->busy) {
        return;
    }
    it->busy = false;
    if (it->again) {
        it->again = false;
        item_schedule(q, it, now_ms, it->due_ms);
    } else {
        item_drop_idle(q, it);
    }
}

uint64_t queue_wait_ms(const struct queue *q, uint64_t now_ms)
{
    if (!list_empty(&q->ready)) {
        return 0;
    }
    struct heap_node *n = heap_peek(&q->delayed);
    if (!n) {
        return UINT64_MAX;
    }
    return n->key > now_ms ? n->key - now_ms : 0;
}

size_t queue_len(const struct queue *q)
{
    return q->n_waiting;
}
