#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/failpoint.h"
#include "store/local-private.h"

/*
 * The sequencer: decides each write against what the store will hold when everything before it is durable, gives it its
 * revision, and hands it to the committer; volatile ones it logs and publishes itself. It also reads pages.
 *
 * What a key holds is looked up in this order: 'pending' (writes not known to be durable), 'held' (volatile values newer than
 * the disk), the back end. An entry leaves 'pending' when the sequencer hears that its group is done, so a look into the back
 * end never misses what is not there yet. What the back end showed is looked at anew in each batch, and when the sequencer hears
 * of groups within one.
 */

static void refresh(struct local_store *s)
{
    if (s->be->ops->refresh) {
        s->be->ops->refresh(s->be);
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
            held_rewrite_log(s);
        }
    } else {
        (void)!held_log(s, h); /* it was not superseded after all */
    }
}

/* Takes over the ops. */
static void forget(struct local_store *s, struct list *done)
{
    struct list *n;
    bool flushed = false;
    refresh(s);
    while ((n = list_pop_front(done))) {
        struct op *op = LIST_ENTRY(n, struct op, link);
        if (op->kind == OP_FLUSH) {
            flushed |= held_forget_flush(s, op);
        } else {
            forget_write(s, op);
        }
        op_unref(op);
    }
    if (flushed) {
        held_rewrite_log(s);
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
        local_unlock(s);
        refresh(s); /* the committer may need the log that we look into to start over */
        pthread_mutex_lock(&s->lock);
        pthread_cond_signal(&s->com_cond);
        if (s->revision >= s->reserved && !s->reserve_failed && !s->broken) {
            pthread_cond_wait(&s->reserve_cond, &s->lock);
        }
    }
    if (s->revision + STORE_REVISION_BLOCK / 2 > s->reserved && !s->want_reserve) {
        s->want_reserve = true;
        pthread_cond_signal(&s->com_cond);
    }
    return s->revision < s->reserved && !s->broken;
}

/* With the lock held. The committer is woken when the batch ends. */
static void join_group(struct local_store *s, struct op *op)
{
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
    failpoint("volatile-logged");
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
    held_shorten_log(s);
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
        if (held_get(s, op->key) && held_log_supersede(s, op) < 0) {
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

/* ---- the thread ---- */

static void do_op(struct local_store *s, struct op *op)
{
    switch (op->kind) {
    case OP_WRITE:
        do_write(s, op);
        break;
    case OP_RANGE:
        pages_range(s, op);
        refresh(s); /* a page takes long, and many may be asked for at once: the log must be able to start over */
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
        if (s->held_bytes > s->cfg.held_back_bytes) {
            held_flush(s);
        }
        refresh(s);
        pthread_mutex_lock(&s->lock);
        bool wake = s->group_n && !s->committing; /* it looks for the next group itself when it has done one */
        local_unlock(s);
        if (wake) {
            pthread_cond_signal(&s->com_cond);
        }
        pthread_mutex_lock(&s->lock);
        /* A group that is full enough: let the committer catch up. */
        while ((s->group_bytes > STORE_GROUP_BYTES || s->group_n > STORE_GROUP_WRITES) && !s->broken) {
            pthread_cond_wait(&s->reserve_cond, &s->lock);
        }
    }
    s->flush_failed = false;
    pthread_mutex_unlock(&s->lock);
    held_flush(s);
    pthread_mutex_lock(&s->lock);
    s->sequencer_ended = true;
    pthread_cond_signal(&s->com_cond);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- start and end ---- */

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
        int r = held_log_all(s);
        if (r < 0) {
            return err_set_errno(err, -r, "cannot write the volatile log in %s", dir);
        }
    }
    failpoint("open-log-made");
    char reason[256] = "";
    s->reserved = s->revision + STORE_REVISION_BLOCK;
    struct backend_commit c = { .begin_run = s->meta.run + 1, .reserve = s->reserved };
    if (s->be->ops->commit(s->be, &c, reason) != BACKEND_OK) {
        return err_set(err, ERR_IO, "cannot write to store %s: %s", s->cfg.path, reason);
    }
    failpoint("open-begun");
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
        if (dir && held_read_log(s, dir)) {
            if (!held_reconcile(s)) {
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
    failpoint("open-checked");
    if (!load_expiries(s)) {
        return err_set(err, ERR_IO, "cannot read store %s", s->cfg.path);
    }
    refresh(s);
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
