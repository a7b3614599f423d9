#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/local-private.h"

/*
 * The sequencer: decides each write against what the store will hold when everything before it is durable, gives it its
 * revision, and hands it to the committer; volatile ones it logs and publishes itself. It also reads pages.
 *
 * What a key holds is looked up in this order: 'pending' (writes not known to be durable), 'held' (volatile values newer than
 * the disk), the back end. An entry leaves 'pending' when the sequencer hears that its group is done, so a look into the back
 * end never misses what is not there yet.
 */

/* ---- held-back values ---- */

static struct str held_key(const struct held *h)
{
    return str_n(h->bytes, h->key_len);
}

static struct str held_value(const struct held *h)
{
    return h->deleted ? STR_NULL : str_n(h->bytes + h->key_len, h->value_len);
}

static int held_cmp(const void *item, const void *key)
{
    return str_cmp(held_key(item), *(const struct str *)key);
}

static void held_ref(const void *item)
{
    atomic_fetch_add_explicit(&((struct held *)(uintptr_t)item)->refs, 1, memory_order_relaxed);
}

static void held_unref(const void *item)
{
    struct held *h = (struct held *)(uintptr_t)item;
    if (h && atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1) {
        free(h);
    }
}

static const struct tree_type held_tree = { .cmp = held_cmp, .ref = held_ref, .unref = held_unref };

static size_t held_cost(const struct held *h)
{
    return sizeof(*h) + h->key_len + h->value_len + 16;
}

static struct held *held_get(const struct local_store *s, struct str key)
{
    return (struct held *)(uintptr_t)tree_get(&s->held, &key);
}

static void held_drop(struct local_store *s, struct str key)
{
    struct held *h = (struct held *)(uintptr_t)tree_remove(&s->held, &key);
    if (h) {
        s->held_bytes -= held_cost(h);
        held_unref(h);
    }
}

static void held_set(struct local_store *s, struct str key, struct str value, int64_t revision, int64_t db_revision,
                     int64_t expires)
{
    if (!value.ptr && !db_revision) {
        held_drop(s, key); /* came and went without the disk having heard of it */
        return;
    }
    struct held *h = malloc(sizeof(*h) + key.len + value.len);
    if (!h) {
        abort();
    }
    *h = (struct held){
        .deleted = !value.ptr,
        .revision = revision,
        .db_revision = db_revision,
        .expires = expires,
        .key_len = (uint32_t)key.len,
        .value_len = (uint32_t)value.len,
    };
    atomic_init(&h->refs, 1);
    memcpy(h->bytes, key.ptr, key.len);
    if (value.len) {
        memcpy(h->bytes + key.len, value.ptr, value.len);
    }
    struct str own = held_key(h);
    struct held *old = (struct held *)(uintptr_t)tree_put(&s->held, &own, h);
    s->held_bytes += held_cost(h);
    if (old) {
        s->held_bytes -= held_cost(old);
        held_unref(old);
    }
}

static int log_held(struct local_store *s, const struct held *h)
{
    struct volatile_record r = {
        .kind = h->deleted ? VOLATILE_DELETE : VOLATILE_PUT,
        .key = held_key(h),
        .value = held_value(h),
        .revision = h->revision,
        .db_revision = h->db_revision,
        .expires = h->expires,
    };
    return volatile_log_append(&s->vlog, &r);
}

static int log_all_held(struct local_store *s)
{
    struct tree_iter it;
    const struct held *h;
    int r = 0;
    tree_iter_init(&it, &s->held, NULL, false);
    while (r == 0 && (h = tree_iter_next(&it))) {
        r = log_held(s, h);
    }
    return r;
}

/* Told to the log before a durable write of a key with a held-back value may be committed: see on_record(). */
static int log_supersede(struct local_store *s, const struct op *op)
{
    struct volatile_record r = {
        .kind = op->value.ptr ? VOLATILE_SUPERSEDED : VOLATILE_DELETED,
        .key = op->key,
        .revision = op->revision,
    };
    return volatile_log_append(&s->vlog, &r);
}

/* What the log must hold: the held-back values, and which of them are about to be superseded. */
static int log_all(struct local_store *s)
{
    size_t pos = 0;
    struct str key;
    void *op;
    int r = log_all_held(s);
    while (r == 0 && map_next(&s->pending, &pos, &key, &op)) {
        if (held_get(s, key)) {
            r = log_supersede(s, op);
        }
    }
    return r;
}

static void rewrite_log(struct local_store *s)
{
    int r = volatile_log_rewrite_begin(&s->vlog);
    if (r == 0) {
        r = log_all(s);
        int e = volatile_log_rewrite_end(&s->vlog, r == 0);
        r = r ? r : e;
    }
    if (r < 0) {
        log_warning("store: cannot shorten the volatile log: %s; it goes on growing", strerror(-r));
    }
}

static void shorten_log(struct local_store *s)
{
    if (s->vlog.fd >= 0 && s->vlog.bytes > STORE_VOLATILE_LOG_BYTES && s->vlog.bytes > 2 * s->held_bytes) {
        rewrite_log(s);
    }
}

/* ---- expiry ---- */

static void expiry_add(struct local_store *s, struct str key, int64_t revision, int64_t expires)
{
    struct expiry *e = calloc(1, sizeof(*e) + key.len);
    if (!e) {
        abort();
    }
    int64_t in_s = expires - clock_real_s();
    e->revision = revision;
    e->key_len = (uint32_t)key.len;
    memcpy(e->key, key.ptr, key.len);
    heap_push(&s->expiries, &e->node, clock_mono_ms() + (in_s > 0 ? (uint64_t)in_s * 1000 : 0));
}

/* ---- forgetting what is done ---- */

static void forget_write(struct local_store *s, struct op *op)
{
    if (map_get(&s->pending, op->key) == op) {
        map_remove(&s->pending, op->key);
        op_unref(op);
    }
    struct held *h = held_get(s, op->key);
    if (!h || h->revision > op->revision) {
        return;
    }
    if (op->status == STORE_OK) {
        struct volatile_record r = { .kind = VOLATILE_FORGET, .key = op->key, .revision = op->revision };
        held_drop(s, op->key);
        if (volatile_log_append(&s->vlog, &r) < 0) {
            rewrite_log(s);
        }
    } else {
        (void)!log_held(s, h); /* it was not superseded after all */
    }
}

static bool forget_flush(struct local_store *s, struct op *op)
{
    struct held *h = held_get(s, op->key);
    if (op->status != STORE_OK) {
        if (h) {
            h->db_revision = op->db_revision;
        }
        return false;
    }
    if (h && h->revision == op->revision) {
        held_drop(s, op->key);
    }
    return true;
}

/* Takes over the ops. */
static void forget(struct local_store *s, struct list *done)
{
    struct list *n;
    bool flushed = false;
    while ((n = list_pop_front(done))) {
        struct op *op = LIST_ENTRY(n, struct op, link);
        if (op->kind == OP_FLUSH) {
            flushed |= forget_flush(s, op);
        } else {
            forget_write(s, op);
        }
        op_unref(op);
    }
    if (flushed) {
        rewrite_log(s);
    }
}

/* With the lock held; returns with it held. Afterwards 'pending' knows of every failure so far. */
static void hear_of_groups(struct local_store *s)
{
    struct list done, *n;
    list_init(&done);
    while ((n = list_pop_front(&s->done_groups))) {
        list_push_back(&done, n);
    }
    s->n_done_groups = 0;
    s->fail_seen = s->failures;
    if (!list_empty(&done)) {
        pthread_mutex_unlock(&s->lock);
        forget(s, &done);
        pthread_mutex_lock(&s->lock);
    }
}

/* ---- looking up ---- */

struct key_state {
    int64_t revision;    /* 0: no such key */
    int64_t db_revision; /* of the row on disk that the next durable write replaces */
    struct op *pending;
    struct held *held;
};

static bool look_up(struct local_store *s, struct str key, struct key_state *ret)
{
    *ret = (struct key_state){ .pending = map_get(&s->pending, key) };
    if (ret->pending) {
        ret->revision = ret->db_revision = ret->pending->value.ptr ? ret->pending->revision : 0;
        return true;
    }
    ret->held = held_get(s, key);
    if (ret->held) {
        ret->revision = ret->held->deleted ? 0 : ret->held->revision;
        ret->db_revision = ret->held->db_revision;
        return true;
    }
    if (s->be->ops->get(s->be, key, NULL, &ret->revision) != BACKEND_OK) {
        char reason[256];
        s->be->ops->reader_error(s->be, reason);
        local_fatal(s, "cannot read the store", reason);
        return false;
    }
    ret->db_revision = ret->revision;
    return true;
}

static void set_current(struct local_store *s, struct op *op, const struct key_state *st)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 2 * STORE_MAX_VALUE);
    if (st->revision == 0) {
        return;
    }
    if (st->pending) {
        buf_append(&b, st->pending->value);
    } else if (st->held) {
        buf_append(&b, held_value(st->held));
    } else {
        int64_t revision;
        (void)!s->be->ops->get(s->be, op->key, &b, &revision);
    }
    buf_append_char(&b, '\0');
    size_t len;
    op->current = buf_take(&b, &len);
    op->current_len = len ? len - 1 : 0;
}

/* ---- writes ---- */

static bool expected(const struct op *op, const struct key_state *st)
{
    if (!op->value.ptr && st->revision == 0) {
        return false; /* nothing to delete */
    }
    return op->expect == STORE_ANY || op->expect == st->revision;
}

/* An answer that is no write, or one that failed before it was sequenced. */
static void answer(struct local_store *s, struct op *op, enum store_status status)
{
    pthread_mutex_lock(&s->lock);
    op->status = status;
    local_answer(s, op);
    pthread_mutex_unlock(&s->lock);
}

/* The loser hears of it after everything before it in the resource has been published, and what the winner hears if that fails. */
static void answer_conflict(struct local_store *s, struct op *op, const struct key_state *st)
{
    set_current(s, op, st);
    op->status = STORE_E_CONFLICT;
    op->revision = st->revision;
    op->blame = st->pending ? op_ref(st->pending) : NULL;
    pthread_mutex_lock(&s->lock);
    s->stats.conflicts++;
    op->is_done = true;
    if (op->resource) {
        op->order_revision = s->revision + 1;
        list_push_back(&op->resource->waiting, &op->order);
        s->n_pending++;
        local_publish(s, op->resource);
    } else {
        local_answer(s, op);
    }
    pthread_mutex_unlock(&s->lock);
}

/* With the lock held: waits until revisions are reserved. False when that failed. */
static bool wait_for_revision(struct local_store *s)
{
    s->reserve_failed = false;
    while (s->revision >= s->reserved && !s->reserve_failed && !s->broken) {
        s->want_reserve = true;
        pthread_cond_signal(&s->com_cond);
        pthread_cond_wait(&s->reserve_cond, &s->lock);
    }
    if (s->revision + STORE_REVISION_BLOCK / 2 > s->reserved && !s->want_reserve) {
        s->want_reserve = true;
        pthread_cond_signal(&s->com_cond);
    }
    return s->revision < s->reserved && !s->broken;
}

/* With the lock held. */
static void join_group(struct local_store *s, struct op *op)
{
    if (s->group_n == 0) {
        pthread_cond_signal(&s->com_cond);
    }
    list_push_back(&s->group, &op_ref(op)->link);
    s->group_n++;
    s->group_bytes += op->key.len + op->value.len;
}

static void join_pending(struct local_store *s, struct op *op)
{
    op_unref(map_put(&s->pending, op->key, op_ref(op)));
}

/* Gives the op its revision and its place in the resource's order. With the lock held. */
static void sequence(struct local_store *s, struct op *op)
{
    op->revision = op->order_revision = ++s->revision;
    op->sequenced = true;
    if (op->resource) {
        list_push_back(&op->resource->waiting, &op->order);
    }
    s->n_pending++;
}

static void write_volatile(struct local_store *s, struct op *op, const struct key_state *st)
{
    struct volatile_record r = {
        .kind = op->value.ptr ? VOLATILE_PUT : VOLATILE_DELETE,
        .key = op->key,
        .value = op->value,
        .revision = op->revision,
        .db_revision = st->db_revision,
        .expires = op->expires,
    };
    int e = volatile_log_append(&s->vlog, &r);
    if (e < 0) {
        /* No room in tmpfs: then it is durable instead. */
        log_debug("store: volatile log: %s; %.*s is written to disk", strerror(-e), STR_ARG(op->key));
        join_pending(s, op);
        pthread_mutex_lock(&s->lock);
        join_group(s, op);
        pthread_mutex_unlock(&s->lock);
        return;
    }
    held_set(s, op->key, op->value, op->revision, st->db_revision, op->expires);
    pthread_mutex_lock(&s->lock);
    op->is_done = true;
    s->stats.volatile_writes++;
    if (op->resource) {
        local_publish(s, op->resource);
    } else {
        s->n_pending--;
        op_unref(op);
    }
    pthread_mutex_unlock(&s->lock);
    shorten_log(s);
}

/* Takes over the op. */
static void do_write(struct local_store *s, struct op *op)
{
    struct key_state st;
    bool is_volatile;
    for (;;) {
        if (!look_up(s, op->key, &st)) {
            answer(s, op, STORE_E_IO);
            return;
        }
        if (!expected(op, &st)) {
            answer_conflict(s, op, &st);
            return;
        }
        is_volatile = (op->flags & STORE_VOLATILE) && !st.pending;
        pthread_mutex_lock(&s->lock);
        if (!wait_for_revision(s)) {
            op->status = s->broken ? STORE_E_IO : STORE_E_FULL;
            local_answer(s, op);
            pthread_mutex_unlock(&s->lock);
            return;
        }
        if (s->failures == s->fail_seen) {
            break;
        }
        /* What was looked up may have failed since. */
        hear_of_groups(s);
        pthread_mutex_unlock(&s->lock);
    }
    sequence(s, op);
    op->db_revision = st.db_revision;
    op->expires = op->ttl_s ? clock_real_s() + op->ttl_s : 0;
    if (!is_volatile) {
        if (held_get(s, op->key) && log_supersede(s, op) < 0) {
            log_warning("store: the volatile log has no room: after a crash %.*s may roll back", STR_ARG(op->key));
        }
        join_group(s, op);
    }
    pthread_mutex_unlock(&s->lock);
    if (op->expires) {
        expiry_add(s, op->key, op->revision, op->expires);
    }
    if (is_volatile) {
        write_volatile(s, op, &st);
    } else {
        join_pending(s, op);
    }
}

static void flush_held(struct local_store *s)
{
    struct tree_iter it;
    const struct held *ch;
    struct list ops, *n;
    list_init(&ops);
    tree_iter_init(&it, &s->held, NULL, false);
    while ((ch = tree_iter_next(&it))) {
        struct held *h = (struct held *)(uintptr_t)ch;
        int64_t then = h->deleted ? 0 : h->revision;
        if (h->db_revision == then) {
            continue; /* on its way already */
        }
        struct op *op = op_new(OP_FLUSH, NULL, held_key(h), held_value(h), STR_NULL);
        op->sequenced = true;
        op->revision = h->revision;
        op->db_revision = h->db_revision;
        op->expires = h->expires;
        h->db_revision = then;
        list_push_back(&ops, &op->link);
    }
    pthread_mutex_lock(&s->lock);
    if (s->group_n == 0) {
        pthread_cond_signal(&s->com_cond);
    }
    while ((n = list_pop_front(&ops))) {
        list_push_back(&s->group, n);
        s->group_n++;
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- pages ---- */

struct page_reader {
    struct local_store *s;
    struct page *page;
    struct str end;
    uint32_t limit;
    struct tree_iter held;
    const struct held *next_held; /* not yet given */
};

static struct page *page_new(void)
{
    struct page *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    buf_init(&p->bytes, 4 * (size_t)STORE_MAX_VALUE + STORE_PAGE_BYTES);
    return p;
}

static struct page_item *page_add(struct page *p, struct str key, uint32_t limit)
{
    if (p->n >= (limit ? MIN(limit, STORE_PAGE_ITEMS) : STORE_PAGE_ITEMS) || p->bytes.len >= STORE_PAGE_BYTES) {
        p->more = true;
        return NULL;
    }
    if (p->n == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 16;
        p->items = reallocarray(p->items, p->capacity, sizeof(*p->items));
        if (!p->items) {
            abort();
        }
    }
    struct page_item *it = &p->items[p->n++];
    *it = (struct page_item){ .key = p->bytes.len, .key_len = key.len };
    buf_append(&p->bytes, key);
    return it;
}

static void page_text(struct page *p, struct str s, size_t *ret_at, size_t *ret_len)
{
    *ret_at = p->bytes.len;
    *ret_len = s.len;
    buf_append(&p->bytes, s);
}

static bool page_row(struct page_reader *r, struct str key, struct str value, int64_t revision)
{
    struct page_item *it = page_add(r->page, key, r->limit);
    if (!it) {
        return false;
    }
    it->revision = revision;
    page_text(r->page, value, &it->value, &it->value_len);
    return true;
}

static void next_held(struct page_reader *r)
{
    r->next_held = tree_iter_next(&r->held);
    if (r->next_held && r->end.ptr && str_cmp(held_key(r->next_held), r->end) >= 0) {
        r->next_held = NULL;
    }
}

/* Gives what is held back of keys before 'key' (absent: all). False when the page is full. */
static bool give_held_before(struct page_reader *r, struct str key)
{
    while (r->next_held && (!key.ptr || str_cmp(held_key(r->next_held), key) < 0)) {
        const struct held *h = r->next_held;
        if (!h->deleted && !page_row(r, held_key(h), held_value(h), h->revision)) {
            return false;
        }
        next_held(r);
    }
    return true;
}

static bool on_row(void *arg, struct str key, struct str value, int64_t revision)
{
    struct page_reader *r = arg;
    if (!give_held_before(r, key)) {
        return false;
    }
    const struct held *h = r->next_held;
    if (!h || !str_eq(held_key(h), key)) {
        return page_row(r, key, value, revision);
    }
    bool ok = h->revision < revision ? page_row(r, key, value, revision)
                                     : h->deleted || page_row(r, key, held_value(h), h->revision);
    if (ok) {
        next_held(r);
    }
    return ok;
}

static void do_range(struct local_store *s, struct op *op)
{
    struct page_reader r = { .s = s, .page = page_new(), .end = op->end, .limit = op->limit };
    pthread_mutex_lock(&s->lock);
    op->revision = s->revision;
    pthread_mutex_unlock(&s->lock);
    tree_iter_init(&r.held, &s->held, &op->key, false);
    next_held(&r);
    op->page = r.page;
    if (s->be->ops->range(s->be, op->key, op->end, on_row, &r) != BACKEND_OK || buf_failed(&r.page->bytes)) {
        op->status = STORE_E_IO;
    } else if (!r.page->more) {
        (void)!give_held_before(&r, STR_NULL);
    }
    pthread_mutex_lock(&s->lock);
    local_answer_ordered(s, op);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the thread ---- */

static void do_op(struct local_store *s, struct op *op)
{
    switch (op->kind) {
    case OP_WRITE:
        do_write(s, op);
        break;
    case OP_RANGE:
        do_range(s, op);
        break;
    case OP_REVISION:
    case OP_FLUSH:
        answer(s, op, STORE_OK);
        break;
    }
}

/* Deletes what is due, unless it was written anew. */
static void expire(struct local_store *s)
{
    struct heap_node *n;
    uint64_t now = clock_mono_ms();
    for (unsigned i = 0; i < 256 && (n = heap_peek(&s->expiries)) && n->key <= now; i++) {
        heap_pop(&s->expiries);
        struct expiry *e = CONTAINER_OF(n, struct expiry, node);
        struct str key = str_n(e->key, e->key_len);
        struct key_state st;
        if (look_up(s, key, &st) && st.revision == e->revision) {
            pthread_mutex_lock(&s->lock);
            struct local_resource *r = local_find_resource(s, key);
            if (r) {
                r->n_ops++;
            }
            pthread_mutex_unlock(&s->lock);
            struct op *op = op_new(OP_WRITE, r, key, STR_NULL, STR_NULL);
            op->expect = e->revision;
            op->flags = !r || r->cfg.has_volatile ? STORE_VOLATILE : 0;
            do_write(s, op);
        }
        free(e);
    }
}

static void wait_for_work(struct local_store *s)
{
    struct heap_node *n = heap_peek(&s->expiries);
    if (!n) {
        pthread_cond_wait(&s->seq_cond, &s->lock);
        return;
    }
    /* Not more than once a second: many events of one burst expire one by one. */
    uint64_t at = MAX(n->key, clock_mono_ms() + 1000);
    struct timespec ts = { .tv_sec = (time_t)(at / 1000), .tv_nsec = (long)(at % 1000) * 1000000 };
    pthread_cond_timedwait(&s->seq_cond, &s->lock, &ts);
}

static bool expiry_is_due(const struct local_store *s)
{
    struct heap_node *n = heap_peek(&s->expiries);
    return n && n->key <= clock_mono_ms();
}

void *sequencer_main(void *arg)
{
    struct local_store *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct list batch, *n;
        list_init(&batch);
        hear_of_groups(s);
        while ((n = list_pop_front(&s->inbox))) {
            list_push_back(&batch, n);
        }
        bool closing = s->closing;
        s->stats.held_back_bytes = s->held_bytes;
        if (list_empty(&batch) && !expiry_is_due(s)) {
            if (closing) {
                break;
            }
            if (s->n_done_groups <= 256) {
                wait_for_work(s);
            }
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        while ((n = list_pop_front(&batch))) {
            do_op(s, LIST_ENTRY(n, struct op, link));
        }
        expire(s);
        if (s->held_bytes > STORE_HELD_BACK_BYTES) {
            flush_held(s);
        }
        pthread_mutex_lock(&s->lock);
        /* A group that is full enough: let the committer catch up. */
        while ((s->group_bytes > STORE_GROUP_BYTES || s->group_n > STORE_GROUP_WRITES) && !s->broken) {
            pthread_cond_wait(&s->reserve_cond, &s->lock);
        }
    }
    s->flush_failed = false;
    pthread_mutex_unlock(&s->lock);
    flush_held(s);
    pthread_mutex_lock(&s->lock);
    s->sequencer_ended = true;
    pthread_cond_signal(&s->com_cond);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- start and end ---- */

/*
 * A durable write of a key with a held-back value was announced before it was committed; whether it was, nobody knows yet.
 *   VOLATILE_DELETED     dropped in any case: if the delete was not committed it was not acknowledged either, and is made now
 *   VOLATILE_SUPERSEDED  the row on disk tells (reconcile_held): a newer one wins
 *   VOLATILE_FORGET      it was committed
 */
static void on_record(void *arg, const struct volatile_record *r)
{
    struct local_store *s = arg;
    struct held *h = held_get(s, r->key);
    if (r->kind == VOLATILE_SUPERSEDED) {
        return;
    }
    if (r->kind == VOLATILE_FORGET) {
        held_drop(s, r->key);
        return;
    }
    if (r->kind == VOLATILE_DELETED) {
        if (h) {
            held_set(s, r->key, STR_NULL, r->revision, h->db_revision, 0);
        }
        return;
    }
    held_set(s, r->key, r->kind == VOLATILE_PUT ? r->value : STR_NULL, r->revision, r->db_revision, r->expires);
}

/* What is on disk may be newer than what was held back, and be gone when it was deleted durably. */
static bool reconcile_held(struct local_store *s)
{
    struct tree all = tree_pin(&s->held);
    struct tree_iter it;
    const struct held *h;
    bool ok = true;
    tree_iter_init(&it, &all, NULL, false);
    while (ok && (h = tree_iter_next(&it))) {
        int64_t on_disk;
        ok = s->be->ops->get(s->be, held_key(h), NULL, &on_disk) == BACKEND_OK;
        if (on_disk >= h->revision || (on_disk == 0 && h->db_revision != 0)) {
            held_drop(s, held_key(h));
        } else if (ok && on_disk != h->db_revision) {
            held_set(s, held_key(h), held_value(h), h->revision, on_disk, h->expires);
        }
    }
    tree_deinit(&all);
    return ok;
}

static void on_expiring(void *arg, struct str key, int64_t revision, int64_t expires)
{
    struct local_store *s = arg;
    if (!held_get(s, key)) {
        expiry_add(s, key, revision, expires);
    }
}

static bool load_expiries(struct local_store *s)
{
    if (s->be->ops->expiring(s->be, on_expiring, s) != BACKEND_OK) {
        return false;
    }
    struct tree_iter it;
    const struct held *h;
    tree_iter_init(&it, &s->held, NULL, false);
    while ((h = tree_iter_next(&it))) {
        if (h->expires && !h->deleted) {
            expiry_add(s, held_key(h), h->revision, h->expires);
        }
    }
    return true;
}

/* The next run's log is there before the run begins, so that one of the two always holds what was held back. */
static bool begin_run(struct local_store *s, struct err *err)
{
    const char *dir = s->cfg.volatile_dir;
    if (dir) {
        if (!volatile_log_create(&s->vlog, dir, s->meta.id, s->meta.run + 1, err)) {
            return false;
        }
        int r = log_all_held(s);
        if (r < 0) {
            return err_set_errno(err, -r, "cannot write the volatile log in %s", dir);
        }
    }
    char reason[256] = "";
    s->reserved = s->revision + STORE_REVISION_BLOCK;
    struct backend_commit c = { .begin_run = s->meta.run + 1, .reserve = s->reserved };
    if (s->be->ops->commit(s->be, &c, reason) != BACKEND_OK) {
        return err_set(err, ERR_IO, "cannot write to store %s: %s", s->cfg.path, reason);
    }
    if (dir) {
        volatile_log_remove(dir, s->meta.run);
    }
    return true;
}

bool sequencer_recover(struct local_store *s, struct err *err)
{
    map_init(&s->pending);
    tree_init(&s->held, &held_tree);
    heap_init(&s->expiries);
    volatile_log_init(&s->vlog);
    if (!s->be->ops->durable) {
        s->reserved = INT64_MAX;
        return true;
    }
    /* After a crash the rest of the block is skipped: any of its revisions may have been seen. */
    s->revision = s->meta.clean ? s->meta.reserved : s->meta.reserved + 1;
    if (!s->meta.clean) {
        const char *dir = s->cfg.volatile_dir;
        if (dir && volatile_log_read(dir, s->meta.id, s->meta.run, on_record, s)) {
            if (!reconcile_held(s)) {
                return err_set(err, ERR_IO, "cannot read store %s", s->cfg.path);
            }
            log_info("store: %s was not closed; %zu volatile values were brought back from %s", s->cfg.path,
                     tree_count(&s->held), dir);
        } else {
            s->power_loss_floor = s->revision;
            log_info("store: %s was not closed and its volatile log is gone; leases, events and node heartbeats may have "
                     "rolled back", s->cfg.path);
        }
    }
    if (!load_expiries(s)) {
        return err_set(err, ERR_IO, "cannot read store %s", s->cfg.path);
    }
    return begin_run(s, err);
}

void sequencer_deinit(struct local_store *s, bool remove_log)
{
    struct list *n;
    struct str key;
    void *value;
    size_t pos = 0;
    while ((n = list_pop_front(&s->done_groups))) {
        op_unref(LIST_ENTRY(n, struct op, link));
    }
    while (map_next(&s->pending, &pos, &key, &value)) {
        op_unref(value);
    }
    map_deinit(&s->pending);
    tree_deinit(&s->held);
    struct heap_node *e;
    while ((e = heap_pop(&s->expiries))) {
        free(CONTAINER_OF(e, struct expiry, node));
    }
    heap_deinit(&s->expiries);
    volatile_log_deinit(&s->vlog, remove_log);
}
