#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/failpoint.h"
#include "store/local-private.h"

/*
 * What is held back from the disk: the newest volatile value of each key, until it is superseded by a durable write or written
 * out; and the log in tmpfs that brings it back after kill -9. Belongs to the sequencer.
 */

struct str held_key(const struct held *h)
{
    return str_n(h->bytes, h->key_len);
}

struct str held_value(const struct held *h)
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

const struct tree_type held_tree = { .cmp = held_cmp, .ref = held_ref, .unref = held_unref };

static size_t held_cost(const struct held *h)
{
    return sizeof(*h) + h->key_len + h->value_len + 16;
}

struct held *held_get(const struct local_store *s, struct str key)
{
    return (struct held *)(uintptr_t)tree_get(&s->held, &key);
}

void held_drop(struct local_store *s, struct str key)
{
    struct held *h = (struct held *)(uintptr_t)tree_remove(&s->held, &key);
    if (h) {
        s->held_bytes -= held_cost(h);
        held_unref(h);
    }
}

void held_set(struct local_store *s, struct str key, struct str value, int64_t revision, int64_t db_revision,
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

int held_log(struct local_store *s, const struct held *h)
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

static int log_all_values(struct local_store *s)
{
    struct tree_iter it;
    const struct held *h;
    int r = 0;
    tree_iter_init(&it, &s->held, NULL, false);
    while (r == 0 && (h = tree_iter_next(&it))) {
        r = held_log(s, h);
    }
    return r;
}

/* Told to the log before a durable write of a key with a held-back value may be committed: see on_record(). */
int held_log_supersede(struct local_store *s, const struct op *op)
{
    struct volatile_record r = {
        .kind = op->value.ptr ? VOLATILE_SUPERSEDED : VOLATILE_DELETED,
        .key = op->key,
        .revision = op->revision,
    };
    int result = volatile_log_append(&s->vlog, &r);
    failpoint("superseded");
    return result;
}

/* What the log must hold: the held-back values, and which of them are about to be superseded. */
int held_log_all(struct local_store *s)
{
    size_t pos = 0;
    struct str key;
    void *op;
    int r = log_all_values(s);
    while (r == 0 && map_next(&s->pending, &pos, &key, &op)) {
        if (held_get(s, key)) {
            r = held_log_supersede(s, op);
        }
    }
    return r;
}

void held_rewrite_log(struct local_store *s)
{
    int r = volatile_log_rewrite_begin(&s->vlog);
    if (r == 0) {
        r = held_log_all(s);
        int e = volatile_log_rewrite_end(&s->vlog, r == 0);
        r = r ? r : e;
        failpoint("log-rewritten");
    }
    if (r < 0) {
        log_warning("store: cannot shorten the volatile log: %s; it goes on growing", strerror(-r));
    }
}

void held_shorten_log(struct local_store *s)
{
    if (s->vlog.fd >= 0 && s->vlog.bytes > STORE_VOLATILE_LOG_BYTES && s->vlog.bytes > 2 * s->held_bytes) {
        held_rewrite_log(s);
    }
}

bool held_forget_flush(struct local_store *s, struct op *op)
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

void held_flush(struct local_store *s)
{
    struct tree_iter it;
    const struct held *ch;
    struct list ops, *n;
    list_init(&ops);
    failpoint("flush-begun");
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
    while ((n = list_pop_front(&ops))) {
        list_push_back(&s->group, n);
        s->group_n++;
    }
    pthread_mutex_unlock(&s->lock);
}

/*
 * A durable write of a key with a held-back value was announced before it was committed; whether it was, nobody knows yet.
 *   VOLATILE_DELETED     dropped in any case: if the delete was not committed it was not acknowledged either, and is made now
 *   VOLATILE_SUPERSEDED  the row on disk tells (held_reconcile): a newer one wins
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
bool held_reconcile(struct local_store *s)
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

bool held_read_log(struct local_store *s, const char *dir)
{
    return volatile_log_read(dir, s->meta.id, s->meta.run, on_record, s);
}
