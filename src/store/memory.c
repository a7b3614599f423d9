#include "store/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/rand.h"
#include "store/tree.h"

/* Rows in a copy-on-write tree: a reader pins it and reads beside the writer. */

struct mem_row {
    atomic_uint refs;
    int64_t revision, expires;
    uint32_t key_len, value_len;
    char bytes[];
};

struct memory {
    struct backend base;
    struct backend_meta meta;
    pthread_mutex_t lock; /* guards what follows */
    struct tree live;
};

static struct memory *memory_of(struct backend *be)
{
    return CONTAINER_OF(be, struct memory, base);
}

static struct str row_key(const struct mem_row *r)
{
    return str_n(r->bytes, r->key_len);
}

static struct str row_value(const struct mem_row *r)
{
    return str_n(r->bytes + r->key_len, r->value_len);
}

static int row_cmp(const void *item, const void *key)
{
    return str_cmp(row_key(item), *(const struct str *)key);
}

static void row_ref(const void *item)
{
    atomic_fetch_add_explicit(&((struct mem_row *)(uintptr_t)item)->refs, 1, memory_order_relaxed);
}

static void row_unref(const void *item)
{
    struct mem_row *r = (struct mem_row *)(uintptr_t)item;
    if (r && atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1) {
        free(r);
    }
}

static const struct tree_type row_tree = { .cmp = row_cmp, .ref = row_ref, .unref = row_unref };

static struct mem_row *row_new(const struct backend_row *from)
{
    struct mem_row *r = malloc(sizeof(*r) + from->key.len + from->value.len);
    if (!r) {
        abort();
    }
    atomic_init(&r->refs, 1);
    r->revision = from->revision;
    r->expires = from->expires;
    r->key_len = (uint32_t)from->key.len;
    r->value_len = (uint32_t)from->value.len;
    memcpy(r->bytes, from->key.ptr, from->key.len);
    if (from->value.len) {
        memcpy(r->bytes + from->key.len, from->value.ptr, from->value.len);
    }
    return r;
}

static void memory_close(struct backend *be)
{
    struct memory *m = memory_of(be);
    tree_deinit(&m->live);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static void memory_meta(struct backend *be, struct backend_meta *ret)
{
    *ret = memory_of(be)->meta;
}

static enum backend_result memory_get(struct backend *be, struct str key, struct buf *value, int64_t *ret_revision)
{
    struct memory *m = memory_of(be);
    pthread_mutex_lock(&m->lock);
    const struct mem_row *r = tree_get(&m->live, &key);
    *ret_revision = r ? r->revision : 0;
    if (r && value) {
        buf_append(value, row_value(r));
    }
    pthread_mutex_unlock(&m->lock);
    return BACKEND_OK;
}

static struct tree pin(struct memory *m)
{
    pthread_mutex_lock(&m->lock);
    struct tree t = tree_pin(&m->live);
    pthread_mutex_unlock(&m->lock);
    return t;
}

static enum backend_result memory_range(struct backend *be, struct str start, struct str end, backend_row_fn *fn, void *arg)
{
    struct tree t = pin(memory_of(be));
    struct tree_iter it;
    const struct mem_row *r;
    tree_iter_init(&it, &t, &start, false);
    while ((r = tree_iter_next(&it)) && (!end.ptr || str_cmp(row_key(r), end) < 0)) {
        if (!fn(arg, row_key(r), row_value(r), r->revision)) {
            break;
        }
    }
    tree_deinit(&t);
    return BACKEND_OK;
}

static enum backend_result memory_expiring(struct backend *be, backend_expiry_fn *fn, void *arg)
{
    struct tree t = pin(memory_of(be));
    struct tree_iter it;
    const struct mem_row *r;
    tree_iter_init(&it, &t, NULL, false);
    while ((r = tree_iter_next(&it))) {
        if (r->expires) {
            fn(arg, row_key(r), r->revision, r->expires);
        }
    }
    tree_deinit(&t);
    return BACKEND_OK;
}

static enum backend_result memory_commit(struct backend *be, const struct backend_commit *c, char reason[256] UNUSED)
{
    struct memory *m = memory_of(be);
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < c->n_rows; i++) {
        const struct backend_row *from = &c->rows[i];
        row_unref(from->value.ptr ? tree_put(&m->live, &from->key, row_new(from)) : tree_remove(&m->live, &from->key));
    }
    pthread_mutex_unlock(&m->lock);
    return BACKEND_OK;
}

static void memory_stats(struct backend *be, bool with_sizes UNUSED, struct backend_stats *ret)
{
    struct memory *m = memory_of(be);
    pthread_mutex_lock(&m->lock);
    *ret = (struct backend_stats){ .keys = tree_count(&m->live) };
    pthread_mutex_unlock(&m->lock);
}

static void memory_reader_error(struct backend *be UNUSED, char reason[256])
{
    reason[0] = '\0';
}

static const struct backend_ops memory_ops = {
    .name = "memory",
    .close = memory_close,
    .meta = memory_meta,
    .get = memory_get,
    .range = memory_range,
    .expiring = memory_expiring,
    .commit = memory_commit,
    .stats = memory_stats,
    .reader_error = memory_reader_error,
};

struct backend *memory_open(void)
{
    struct memory *m = calloc(1, sizeof(*m));
    if (!m) {
        abort();
    }
    m->base.ops = &memory_ops;
    m->meta = (struct backend_meta){ .clean = true, .fresh = true };
    rand_bytes(m->meta.id, sizeof(m->meta.id));
    pthread_mutex_init(&m->lock, NULL);
    tree_init(&m->live, &row_tree);
    return &m->base;
}
