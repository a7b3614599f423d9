#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "net/loop.h"
#include "store/local-private.h"
#include "store/memory.h"
#include "store/sqlite.h"

/* ---- ops ---- */

struct op *op_new(enum op_kind kind, struct local_resource *r, struct str key, struct str value, struct str end)
{
    struct op *op = calloc(1, sizeof(*op) + key.len + value.len + end.len);
    if (!op) {
        abort();
    }
    atomic_init(&op->refs, 1);
    op->kind = kind;
    op->resource = r;
    list_init(&op->link);
    list_init(&op->ready);
    list_init(&op->order);
    struct str part[] = { key, value, end };
    struct str *to[] = { &op->key, &op->value, &op->end };
    char *at = op->bytes;
    for (size_t i = 0; i < ARRAY_SIZE(part); i++) {
        if (part[i].len) {
            memcpy(at, part[i].ptr, part[i].len);
        }
        *to[i] = part[i].ptr ? str_n(at, part[i].len) : STR_NULL;
        at += part[i].len;
    }
    return op;
}

struct op *op_ref(struct op *op)
{
    atomic_fetch_add_explicit(&op->refs, 1, memory_order_relaxed);
    return op;
}

void op_unref(struct op *op)
{
    if (op && atomic_fetch_sub_explicit(&op->refs, 1, memory_order_acq_rel) == 1) {
        object_unref(op->object);
        if (op->page) {
            buf_deinit(&op->page->bytes);
            free(op->page->items);
            free(op->page);
        }
        op_unref(op->blame);
        free(op->current);
        free(op);
    }
}

/* ---- towards the loop ---- */

static void deliver(struct local_store *s);

static void mailbox_unref(struct mailbox *m)
{
    if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1) {
        free(m);
    }
}

static void on_post(void *arg)
{
    struct mailbox *m = arg;
    if (m->store) {
        pthread_mutex_lock(&m->store->lock);
        m->queued = false;
        pthread_mutex_unlock(&m->store->lock);
        deliver(m->store);
    }
    mailbox_unref(m);
}

void local_post(struct local_store *s)
{
    if (s->posted || list_empty(&s->ready)) {
        return;
    }
    s->posted = true;
    if (s->mailbox->queued) {
        return; /* from before a delivery that did not wait for it */
    }
    s->mailbox->queued = true;
    s->post_due = true;
    atomic_fetch_add_explicit(&s->mailbox->refs, 1, memory_order_relaxed);
}

void local_unlock(struct local_store *s)
{
    bool post = s->post_due, sequencer = s->sequencer_due;
    s->post_due = s->sequencer_due = false;
    pthread_mutex_unlock(&s->lock);
    if (sequencer) {
        pthread_cond_signal(&s->seq_cond);
    }
    if (post && s->cfg.post) {
        s->cfg.post(s->cfg.executor, on_post, s->mailbox);
    } else if (post) {
        loop_post(s->cfg.loop, &s->mailbox->post);
    }
}

void local_answer(struct local_store *s, struct op *op)
{
    list_push_back(&s->ready, &op->ready);
    local_post(s);
}

void local_answer_ordered(struct local_store *s, struct op *op)
{
    if (s->committing) {
        list_push_back(&s->after_commit, &op->ready);
    } else {
        local_answer(s, op);
    }
}

void local_publish(struct local_store *s, struct local_resource *r)
{
    while (!list_empty(&r->waiting)) {
        struct op *op = LIST_ENTRY(r->waiting.next, struct op, order);
        if (!op->is_done) {
            break;
        }
        list_remove(&op->order);
        list_push_back(&r->published, &op->order);
        if (op->blame && op->blame->status != STORE_OK) {
            op->status = op->blame->status;
        }
        list_push_back(&s->ready, &op->ready);
        s->n_pending--;
    }
    local_post(s);
}

void local_fail(struct local_store *s, struct op *op, enum store_status status)
{
    op->status = status;
    op->is_done = true;
    list_remove(&op->order);
    s->n_pending--;
    s->stats.failed_writes++;
    if (op->resource) {
        local_answer(s, op);
        local_publish(s, op->resource);
    } else {
        op_unref(op);
    }
}

void local_fatal(struct local_store *s, const char *what, const char *reason)
{
    char line[512];
    snprintf(line, sizeof(line), "%s: %s", what, reason);
    if (s->cfg.on_fatal) {
        s->cfg.on_fatal(s->cfg.fatal_arg, line);
    } else {
        log_error("store: %s; the process ends, because what is on disk is not known", line);
        _exit(1);
    }
    pthread_mutex_lock(&s->lock);
    s->broken = true;
    pthread_mutex_unlock(&s->lock);
}

static void deliver_write(struct op *op)
{
    struct local_resource *r = op->resource;
    if (op->status == STORE_OK) {
        if (op->object) {
            object_set_revision(op->object, op->revision);
        }
        if (r && !r->closed && r->cfg.on_event) {
            struct store_event ev = {
                .type = op->value.ptr ? STORE_EVENT_PUT : STORE_EVENT_DELETE,
                .key = op->key,
                .value = op->value,
                .revision = op->revision,
                .object = op->object,
            };
            r->cfg.on_event(r->cfg.arg, &ev);
        }
    }
    if (op->done.write) {
        struct store_result res = {
            .status = op->status,
            .revision = op->revision,
            .value = op->current ? str_n(op->current, op->current_len) : STR_NULL,
        };
        op->done.write(op->arg, &res);
    }
}

static void deliver_range(struct op *op)
{
    struct page *p = op->page;
    struct store_kv *items = p && p->n ? calloc(p->n, sizeof(*items)) : NULL;
    if (p && p->n && !items) {
        abort();
    }
    for (size_t i = 0; p && i < p->n; i++) {
        const struct page_item *it = &p->items[i];
        items[i] = (struct store_kv){
            .key = str_n(p->bytes.ptr + it->key, it->key_len),
            .value = str_n(p->bytes.ptr + it->value, it->value_len),
            .revision = it->revision,
        };
    }
    struct store_page page = {
        .status = op->status, .items = items, .n_items = p ? p->n : 0, .more = p && p->more, .revision = op->revision,
    };
    op->done.page(op->arg, &page);
    free(items);
}

static void resource_destroy(struct local_resource *r)
{
    free(r->prefix);
    free(r);
}

/* Under the lock. */
static void resource_release(struct local_resource *r)
{
    if (r && --r->n_ops == 0 && r->closed) {
        resource_destroy(r);
    }
}

static void call_progress(struct local_store *s)
{
    for (size_t i = 0; s->n_wants_progress && i < s->n_resources; i++) {
        struct local_resource *r = s->resources[i];
        if (r && r->want_progress && r->cfg.on_progress) {
            r->cfg.on_progress(r->cfg.arg);
        }
    }
}

static void deliver(struct local_store *s)
{
    struct list batch, *n;
    list_init(&batch);
    pthread_mutex_lock(&s->lock);
    while ((n = list_pop_front(&s->ready))) {
        list_push_back(&batch, n);
    }
    s->posted = false;
    pthread_mutex_unlock(&s->lock);
    LIST_FOREACH(&batch, struct op, ready, op) {
        switch (op->kind) {
        case OP_WRITE:
            deliver_write(op);
            break;
        case OP_RANGE:
            deliver_range(op);
            break;
        case OP_REVISION:
            op->done.revision(op->arg, op->status, op->revision);
            break;
        case OP_FLUSH:
            break;
        }
    }
    pthread_mutex_lock(&s->lock);
    while ((n = list_pop_front(&batch))) {
        struct op *op = LIST_ENTRY(n, struct op, ready);
        list_remove(&op->order); /* from here on the watermark may pass it */
        resource_release(op->resource);
        op_unref(op);
    }
    pthread_mutex_unlock(&s->lock);
    call_progress(s);
}

/* ---- towards the sequencer ---- */

/* Under the lock. */
static void receive(struct local_store *s, struct op *op)
{
    if (op->resource) {
        op->resource->n_ops++;
    }
    if (s->closing || s->broken) {
        op->status = s->broken ? STORE_E_IO : STORE_E_CLOSED;
        local_answer(s, op);
    } else if (op->kind == OP_WRITE && s->n_pending >= STORE_MAX_PENDING) {
        op->status = STORE_E_UNAVAILABLE;
        local_answer(s, op);
    } else {
        s->sequencer_due |= list_empty(&s->inbox);
        list_push_back(&s->inbox, &op->link);
    }
}

/* Under the lock: all that was gathered goes to the sequencer. */
static void hand_over(struct local_store *s)
{
    struct list *n;
    while ((n = list_pop_front(&s->outbox))) {
        receive(s, LIST_ENTRY(n, struct op, link));
    }
    s->n_outbox = 0;
}

static void on_hand_over(void *arg)
{
    struct local_store *s = arg;
    pthread_mutex_lock(&s->lock);
    hand_over(s);
    local_unlock(s);
}

/* ---- resources ---- */

struct local_resource *local_find_resource(struct local_store *s, struct str key)
{
    for (size_t i = 0; i < s->n_resources; i++) {
        if (s->resources[i] && str_starts(key, s->resources[i]->cfg.prefix)) {
            return s->resources[i];
        }
    }
    return NULL;
}

static struct store_resource *local_resource_open(struct store *base, const struct store_resource_config *cfg)
{
    struct local_store *s = local_of(base);
    struct local_resource *r = calloc(1, sizeof(*r));
    if (!r || !(r->prefix = malloc(cfg->prefix.len + 1))) {
        abort();
    }
    memcpy(r->prefix, cfg->prefix.ptr, cfg->prefix.len);
    r->prefix[cfg->prefix.len] = '\0';
    r->base.store = base;
    r->base.floor = cfg->has_volatile ? s->power_loss_floor : 0;
    r->cfg = *cfg;
    r->cfg.prefix = str_n(r->prefix, cfg->prefix.len);
    list_init(&r->waiting);
    list_init(&r->published);
    pthread_mutex_lock(&s->lock);
    size_t i = 0;
    while (i < s->n_resources && s->resources[i]) {
        i++;
    }
    if (i == s->n_resources) {
        if (s->n_resources == s->resources_size) {
            s->resources_size = s->resources_size ? s->resources_size * 2 : 64;
            s->resources = reallocarray(s->resources, s->resources_size, sizeof(struct local_resource *));
            if (!s->resources) {
                abort();
            }
        }
        s->n_resources++;
    }
    s->resources[i] = r;
    pthread_mutex_unlock(&s->lock);
    return &r->base;
}

static void local_want_progress(struct store_resource *base, bool on)
{
    struct local_resource *r = CONTAINER_OF(base, struct local_resource, base);
    struct local_store *s = local_of(base->store);
    if (r->want_progress != on) {
        r->want_progress = on;
        s->n_wants_progress += on ? 1 : (size_t)-1;
    }
}

static void local_resource_close(struct store_resource *base)
{
    struct local_resource *r = CONTAINER_OF(base, struct local_resource, base);
    struct local_store *s = local_of(base->store);
    local_want_progress(base, false);
    pthread_mutex_lock(&s->lock);
    hand_over(s); /* what is on its way counts */
    for (size_t i = 0; i < s->n_resources; i++) {
        if (s->resources[i] == r) {
            s->resources[i] = NULL;
        }
    }
    r->closed = true;
    bool last = r->n_ops == 0;
    local_unlock(s);
    if (last) {
        resource_destroy(r);
    }
}

static int64_t local_watermark(struct store_resource *base)
{
    struct local_resource *r = CONTAINER_OF(base, struct local_resource, base);
    struct local_store *s = local_of(base->store);
    pthread_mutex_lock(&s->lock);
    int64_t w = s->revision;
    if (!list_empty(&r->published)) {
        w = LIST_ENTRY(r->published.next, struct op, order)->order_revision - 1;
    } else if (!list_empty(&r->waiting)) {
        w = LIST_ENTRY(r->waiting.next, struct op, order)->order_revision - 1;
    }
    r->watermark = MAX(r->watermark, w);
    w = r->watermark;
    pthread_mutex_unlock(&s->lock);
    return w;
}

/* ---- calls ---- */

/*
 * What one turn of the loop brings is handed over together. While a commit is under way nothing is lost by that, since a write that
 * came earlier would only wait for the same next commit. When there is none, the disk need not wait for the whole turn: a few
 * writes are worth a commit.
 */
static void submit(struct local_store *s, struct op *op)
{
    bool at_once = !s->cfg.loop || s->closing;
    list_push_back(&s->outbox, &op->link);
    s->n_outbox++;
    if (!at_once) {
        loop_task_defer(&s->hand_over);
    }
    if (at_once || s->n_outbox % STORE_HAND_OVER == 0) {
        pthread_mutex_lock(&s->lock);
        if (at_once || !(s->committing || s->group_n || !list_empty(&s->inbox))) {
            hand_over(s);
        }
        local_unlock(s);
    }
}

static void local_write(struct store *base, const struct store_write *w)
{
    struct local_store *s = local_of(base);
    struct local_resource *r = CONTAINER_OF(w->resource, struct local_resource, base);
    assert(str_starts(w->key, r->cfg.prefix));
    struct op *op = op_new(OP_WRITE, r, w->key, w->value, STR_NULL);
    op->expect = w->expect;
    op->flags = w->flags;
    op->ttl_s = w->ttl_s;
    op->object = w->object ? object_ref(w->object) : NULL;
    op->done.write = w->done;
    op->arg = w->arg;
    if (w->value.len > STORE_MAX_VALUE || w->key.len > STORE_MAX_KEY) {
        op->status = STORE_E_TOO_LARGE;
        pthread_mutex_lock(&s->lock);
        r->n_ops++;
        local_answer(s, op);
        local_unlock(s);
        return;
    }
    submit(s, op);
}

static void local_range(struct store *base, struct str start, struct str end, uint32_t limit, store_page_fn *done, void *arg)
{
    struct op *op = op_new(OP_RANGE, NULL, start, STR_NULL, end);
    op->limit = limit;
    op->done.page = done;
    op->arg = arg;
    submit(local_of(base), op);
}

static int64_t local_revision_seen(struct store *base)
{
    struct local_store *s = local_of(base);
    pthread_mutex_lock(&s->lock);
    int64_t revision = s->revision;
    pthread_mutex_unlock(&s->lock);
    return revision;
}

static void local_revision(struct store *base, store_revision_fn *done, void *arg)
{
    done(arg, STORE_OK, local_revision_seen(base));
}

static void local_stats(struct store *base, struct store_stats *ret)
{
    struct local_store *s = local_of(base);
    struct backend_stats b;
    s->be->ops->stats(s->be, true, &b);
    pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    ret->revision = s->revision;
    pthread_mutex_unlock(&s->lock);
    ret->keys = b.keys;
    ret->file_bytes = b.file_bytes;
    ret->wal_bytes = b.wal_bytes;
}

/* ---- life ---- */

static void local_free(struct local_store *s)
{
    s->mailbox->store = NULL;
    if (s->mailbox->queued && !s->cfg.post) {
        loop_post_cancel(s->cfg.loop, &s->mailbox->post); /* the loop may have ended, and would never let go of it */
        mailbox_unref(s->mailbox);
    }
    mailbox_unref(s->mailbox);
    if (s->be) {
        s->be->ops->close(s->be);
    }
    for (size_t i = 0; i < s->n_resources; i++) {
        if (s->resources[i]) {
            resource_destroy(s->resources[i]);
        }
    }
    free(s->resources);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->seq_cond);
    pthread_cond_destroy(&s->com_cond);
    pthread_cond_destroy(&s->reserve_cond);
    free(s);
}

static void local_close(struct store *base)
{
    struct local_store *s = local_of(base);
    pthread_mutex_lock(&s->lock);
    hand_over(s);
    s->closing = true;
    s->sequencer_due = true;
    local_unlock(s);
    loop_task_cancel(&s->hand_over);
    if (s->threads_run) {
        pthread_join(s->sequencer, NULL);
        pthread_join(s->committer, NULL);
    }
    bool more = true;
    while (more) {
        deliver(s);
        pthread_mutex_lock(&s->lock);
        more = !list_empty(&s->ready);
        pthread_mutex_unlock(&s->lock);
    }
    sequencer_deinit(s, !s->broken && !s->flush_failed);
    local_free(s);
}

static const struct store_ops local_ops = {
    .name = "local",
    .close = local_close,
    .resource_open = local_resource_open,
    .resource_close = local_resource_close,
    .watermark = local_watermark,
    .want_progress = local_want_progress,
    .write = local_write,
    .range = local_range,
    .revision = local_revision,
    .revision_seen = local_revision_seen,
    .stats = local_stats,
};

/* Takes over the back end. */
static struct store *local_open(const struct store_config *cfg, struct backend *be, struct err *err)
{
    struct local_store *s = calloc(1, sizeof(*s));
    struct mailbox *m = calloc(1, sizeof(*m));
    if (!s || !m) {
        abort();
    }
    atomic_init(&m->refs, 1);
    list_init(&m->post.link);
    m->post.fn = on_post;
    m->post.arg = m;
    m->store = s;
    s->mailbox = m;
    s->base = (struct store){ .ops = &local_ops, .sole_writer = true };
    s->cfg = *cfg;
    s->cfg.held_back_bytes = cfg->held_back_bytes ? cfg->held_back_bytes : STORE_HELD_BACK_BYTES;
    s->be = be;
    be->ops->meta(be, &s->meta);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&s->seq_cond, &mono);
    pthread_cond_init(&s->com_cond, &mono);
    pthread_cond_init(&s->reserve_cond, &mono);
    pthread_condattr_destroy(&mono);
    list_init(&s->inbox);
    list_init(&s->outbox);
    loop_task_init(&s->hand_over, s->cfg.loop, on_hand_over, s);
    list_init(&s->group);
    list_init(&s->done_groups);
    list_init(&s->after_commit);
    list_init(&s->ready);
    if (!sequencer_recover(s, err)) {
        sequencer_deinit(s, false);
        local_free(s);
        return NULL;
    }
    if (pthread_create(&s->sequencer, NULL, sequencer_main, s) != 0 ||
        pthread_create(&s->committer, NULL, committer_main, s) != 0) {
        abort();
    }
    s->threads_run = true;
    return &s->base;
}

struct store *store_open_memory(const struct store_config *cfg, struct err *err)
{
    return local_open(cfg, memory_open(), err);
}

struct store *store_open_sqlite(const struct store_config *cfg, struct err *err)
{
    struct backend *be = sqlite_open(cfg->path, cfg->no_sync, err);
    return be ? local_open(cfg, be, err) : NULL;
}
