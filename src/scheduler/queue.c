#include "scheduler/queue.h"

#include <assert.h>

/* kube-scheduler: podInitialBackoffSeconds, podMaxBackoffSeconds, and how long a pod may stay
 * unschedulable at most. */
#define INITIAL_BACKOFF_MS 1000
#define MAX_BACKOFF_MS 10000
#define UNSCHEDULABLE_MOST_MS 300000

void sched_queue_init(struct sched_queue *q)
{
    *q = (struct sched_queue){ .initial_backoff_ms = INITIAL_BACKOFF_MS,
                               .max_backoff_ms = MAX_BACKOFF_MS };
    heap_init(&q->active);
    heap_init(&q->backoff);
    heap_init(&q->errors);
    for (size_t i = 0; i < UNSCHEDULABLE_SETS; i++) {
        list_init(&q->unschedulable[i].pods);
    }
    q->unschedulable[0].events = EVENT_ANY;
    q->n_sets = 1;
    list_init(&q->gated);
}

void sched_queue_deinit(struct sched_queue *q)
{
    heap_deinit(&q->active);
    heap_deinit(&q->backoff);
    heap_deinit(&q->errors);
}

/* Higher priority first, then first come: one number, as heap keys are small first. Milliseconds
 * since boot fit 32 bits of 4096 ms; the heap keeps equal keys in order of arrival. */
static uint64_t rank_of(const struct pod_info *p)
{
    return (uint64_t)((int64_t)INT32_MAX - p->priority); /* 0 … 2^32 - 1 */
}

static uint64_t active_key(const struct pod_info *p)
{
    uint64_t age = MIN(p->added_ms >> 4, (uint64_t)UINT32_MAX);
    return rank_of(p) << 32 | age;
}

/* Whole seconds, then priority: of pods that may go early the most important one does. */
static uint64_t backoff_key(const struct pod_info *p, uint64_t due_ms)
{
    return MIN((due_ms + 999) / 1000, (uint64_t)UINT32_MAX) << 32 | rank_of(p);
}

static uint64_t backoff_due_ms(uint64_t key)
{
    return (key >> 32) * 1000;
}

static void leave(struct sched_queue *q, struct pod_info *p)
{
    switch ((enum queue_place)p->where) {
    case QUEUE_ACTIVE: heap_remove(&q->active, &p->queued); break;
    case QUEUE_BACKOFF: heap_remove(p->rejected_by ? &q->backoff : &q->errors, &p->queued); break;
    case QUEUE_UNSCHEDULABLE:
        list_remove(&p->unschedulable);
        q->n_unschedulable--;
        break;
    case QUEUE_GATED:
        list_remove(&p->unschedulable);
        q->n_gated--;
        break;
    case QUEUE_NOWHERE: break;
    }
    p->where = QUEUE_NOWHERE;
}

static void enter_active(struct sched_queue *q, struct pod_info *p)
{
    leave(q, p);
    p->where = QUEUE_ACTIVE;
    heap_push(&q->active, &p->queued, active_key(p));
}

static uint64_t backoff_ends(const struct sched_queue *q, const struct pod_info *p)
{
    uint64_t wait = q->initial_backoff_ms;
    for (unsigned i = 1; i < p->attempts && wait < q->max_backoff_ms; i++) {
        wait *= 2;
    }
    return p->attempted_ms + MIN(wait, q->max_backoff_ms);
}

/* Active, or back-off when its time is not up. */
static void enter_ready(struct sched_queue *q, struct pod_info *p, uint64_t now_ms)
{
    uint64_t due = p->attempts ? backoff_ends(q, p) : 0;
    if (due <= now_ms) {
        enter_active(q, p);
        return;
    }
    leave(q, p);
    p->where = QUEUE_BACKOFF;
    if (p->rejected_by) {
        heap_push(&q->backoff, &p->queued, backoff_key(p, due));
    } else {
        heap_push(&q->errors, &p->queued, due);
    }
}

static bool is_gated(const struct pod_info *p)
{
    return p->pod->spec.n_scheduling_gates > 0;
}

static void enter_gated(struct sched_queue *q, struct pod_info *p)
{
    leave(q, p);
    p->where = QUEUE_GATED;
    list_push_back(&q->gated, &p->unschedulable);
    q->n_gated++;
}

void sched_queue_add(struct sched_queue *q, struct pod_info *p, uint64_t now_ms)
{
    p->added_ms = now_ms;
    p->attempts = 0;
    if (is_gated(p)) {
        enter_gated(q, p);
    } else {
        enter_active(q, p);
    }
}

void sched_queue_update(struct sched_queue *q, struct pod_info *p, uint64_t now_ms)
{
    if (p->in_cycle) {
        p->moved_seq = ++q->event_seq;
        return;
    }
    if (is_gated(p)) {
        enter_gated(q, p);
    } else {
        enter_ready(q, p, now_ms);
    }
}

void sched_queue_remove(struct sched_queue *q, struct pod_info *p)
{
    leave(q, p);
    p->in_cycle = false;
}

static void wake(struct sched_queue *q, uint64_t now_ms)
{
    struct heap_node *n;
    while ((n = heap_peek(&q->backoff)) && backoff_due_ms(n->key) <= now_ms) {
        enter_active(q, CONTAINER_OF(n, struct pod_info, queued));
    }
    while ((n = heap_peek(&q->errors)) && n->key <= now_ms) {
        enter_active(q, CONTAINER_OF(n, struct pod_info, queued));
    }
    /* The lists are in order of entry: the oldest first. */
    for (size_t i = 0; i < q->n_sets; i++) {
        struct list *pods = &q->unschedulable[i].pods;
        while (!list_empty(pods)) {
            struct pod_info *p = LIST_ENTRY(pods->next, struct pod_info, unschedulable);
            if (p->attempted_ms + UNSCHEDULABLE_MOST_MS > now_ms) {
                break;
            }
            enter_active(q, p);
        }
    }
}

struct pod_info *sched_queue_pop(struct sched_queue *q, uint64_t now_ms)
{
    wake(q, now_ms);
    struct heap_node *n = heap_peek(&q->active);
    n = n ? n : heap_peek(&q->backoff);
    if (!n) {
        return NULL;
    }
    struct pod_info *p = CONTAINER_OF(n, struct pod_info, queued);
    leave(q, p);
    p->in_cycle = true;
    p->attempts++;
    p->moved_seq = 0;
    return p;
}

/* Which events may help a pod that these plugins rejected. */
static unsigned helpful(const struct sched_queue *q, uint64_t rejected_by)
{
    unsigned events = 0;
    for (; rejected_by; rejected_by &= rejected_by - 1) {
        events |= q->events[__builtin_ctzll(rejected_by)];
    }
    return events;
}

/* Where pods wait that these events may help. */
static struct list *set_of(struct sched_queue *q, unsigned events)
{
    for (size_t i = 0; i < q->n_sets; i++) {
        if (q->unschedulable[i].events == events) {
            return &q->unschedulable[i].pods;
        }
    }
    if (q->n_sets == UNSCHEDULABLE_SETS) {
        return &q->unschedulable[0].pods;
    }
    q->unschedulable[q->n_sets].events = events;
    return &q->unschedulable[q->n_sets++].pods;
}

void sched_queue_failed(struct sched_queue *q, struct pod_info *p, uint64_t rejected_by,
                        uint64_t now_ms)
{
    assert(p->in_cycle);
    p->in_cycle = false;
    p->attempted_ms = now_ms;
    p->rejected_by = rejected_by;
    if (is_gated(p)) {
        enter_gated(q, p);
    } else if (!rejected_by || p->moved_seq) {
        enter_ready(q, p, now_ms);
    } else {
        p->where = QUEUE_UNSCHEDULABLE;
        list_push_back(set_of(q, helpful(q, rejected_by)), &p->unschedulable);
        q->n_unschedulable++;
    }
}

void sched_queue_bound(struct sched_queue *q, struct pod_info *p)
{
    leave(q, p);
    p->in_cycle = false;
}

void sched_queue_event(struct sched_queue *q, const struct sched_change *change, uint64_t now_ms)
{
    q->event_seq++;
    for (size_t i = 0; i < q->n_sets; i++) {
        if (!(q->unschedulable[i].events & change->events)) {
            continue;
        }
        LIST_FOREACH(&q->unschedulable[i].pods, struct pod_info, unschedulable, p) {
            if ((helpful(q, p->rejected_by) & change->events) && (!q->hint || q->hint(q->hint_data, p, change))) {
                enter_ready(q, p, now_ms);
            }
        }
    }
}

uint64_t sched_queue_wait_ms(const struct sched_queue *q, uint64_t now_ms)
{
    if (q->active.n || q->backoff.n) {
        return 0;
    }
    struct heap_node *n = heap_peek(&q->errors);
    uint64_t due = n ? n->key : UINT64_MAX;
    for (size_t i = 0; i < q->n_sets; i++) {
        const struct list *pods = &q->unschedulable[i].pods;
        if (!list_empty(pods)) {
            const struct pod_info *p = LIST_ENTRY(pods->next, struct pod_info, unschedulable);
            due = MIN(due, p->attempted_ms + UNSCHEDULABLE_MOST_MS);
        }
    }
    return due == UINT64_MAX ? due : due > now_ms ? due - now_ms : 0;
}

size_t sched_queue_len(const struct sched_queue *q, enum queue_place place)
{
    switch (place) {
    case QUEUE_ACTIVE: return q->active.n;
    case QUEUE_BACKOFF: return q->backoff.n + q->errors.n;
    case QUEUE_UNSCHEDULABLE: return q->n_unschedulable;
    case QUEUE_GATED: return q->n_gated;
    case QUEUE_NOWHERE: return 0;
    }
    return 0;
}
